"""The training of stage 1: from encoded data sets to distilled E-LAMs and what they read (LAMeTA Sec. IV-B)."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lameta_jax.distillation.methods import METHODS, DistillationConfig
from lameta_jax.distillation.train import ADAPTERS, Metrics, PreferenceData, distil
from lameta_jax.elam.model import (
    ELAM_LAYERS,
    Distilled,
    Frozen,
    answer_percents,
    directions,
    encoder_params,
    fit_scaling,
    log_probs_function,
    new_adapters,
    new_decoder,
    scale_features,
    trunk_depth,
)
from lameta_jax.elam.sentence_encoder import SentenceEncoder, TrunkStates
from lameta_jax.intents.augmentation import contrastive_indices
from lameta_jax.intents.corpus import prompts_of
from lameta_jax.intents.preference import format_percents, whole_percents
from lameta_jax.intents.translator import read_answer
from lameta_jax.pipeline.intents import ApplicationData, IntentConfig, Labelled, Levels

MAX_TRAINING_TOKENS = 64  # of a prompt; one in a hundred is longer and is cut, in training only
EVALUATION_TOKENS = 128  # longer than any prompt of the corpus

Train = Callable[..., tuple[PyTree, Metrics]]
"""Who trains: `distil`, or what takes and gives the same, such as a trainer that can be interrupted."""


def distil_raw(
    key: Array, name: str, history: Labelled, config: IntentConfig, train: Train = distil
) -> Distilled:
    """The E-LAM before distillation: its decoder has learned the task from the history of all applications."""
    levels = history.levels[:, : ELAM_LAYERS[name] + 1]
    scaling = fit_scaling(levels)
    _, decoder = new_decoder(key, name)
    data = PreferenceData(
        inputs=jnp.asarray(scale_features(levels, scaling)),
        preferences=jnp.asarray(history.preferences, dtype=float),
        chosen=jnp.asarray(whole_percents(history.preferences)),
        rejected=jnp.zeros((len(levels), 0, 4), dtype=int),
    )
    method = METHODS["sft"].with_trainer(config.pretraining)
    params, _ = train(log_probs_function(name), key, {"decoder": decoder}, None, data, method)
    raw = Distilled(name, "", params["decoder"], {}, scaling, history.preferences.mean(axis=0), np.zeros(0))
    return raw._replace(centroid=_centroid(raw, history))


def distil_decoder(
    key: Array,
    raw: Distilled,
    application: ApplicationData,
    history: Labelled,
    method: DistillationConfig,
    train: Train = distil,
) -> tuple[Distilled, Metrics]:
    """Distil a raw E-LAM for one application by any method; its encoder stays frozen."""
    features = jnp.asarray(features_of(raw, application.training.levels))
    data = preference_data(key, features, application.training.preferences, history.preferences, method)
    method = method.with_trainer(method.decoder_trainer)
    params, metrics = train(log_probs_function(raw.name), key, {"decoder": raw.params}, None, data, method)
    return _distilled(raw, application, params), metrics


def training_states(encoder: SentenceEncoder, name: str, application: ApplicationData) -> TrunkStates:
    """The application's training prompts after the layers that fine-tuning leaves alone."""
    prompts = prompts_of(application.training.records)
    return encoder.trunk_states(prompts, trunk_depth(name), MAX_TRAINING_TOKENS)


def elam_trunk(encoder: SentenceEncoder, name: str, group: Labelled) -> TrunkStates:
    """Prompts after the layers that fine-tuning leaves alone, uncut unless the encoder cuts them."""
    prompts = prompts_of(group.records)
    return encoder.trunk_states(prompts, trunk_depth(name), EVALUATION_TOKENS)


def fine_tune(
    key: Array,
    raw: Distilled,
    application: ApplicationData,
    history: Labelled,
    method: DistillationConfig,
    encoder: SentenceEncoder,
    states: TrunkStates,
    train: Train = distil,
) -> tuple[Distilled, Metrics]:
    """Distil a raw E-LAM for one application by any method, fine-tuning its encoder's last layer too.

    Low-rank adapters learn together with the decoder, which has learned alone before: fine-tuning the encoder under a
    raw decoder would unlearn what it knows.

    Args:
      states: of the training prompts, see `training_states`.
    """
    key_decoder, key_adapters, key_data = jax.random.split(key, 3)
    decoder, _ = distil_decoder(key_decoder, raw, application, history, method, train)
    adapters = new_adapters(key_adapters, raw.name, encoder)
    preferences = application.training.preferences
    data = preference_data(key_data, states, preferences, history.preferences, method)
    reference, begin = ({"decoder": model.params, ADAPTERS: adapters} for model in (raw, decoder))
    frozen = Frozen(encoder_params(encoder, raw.name), jax.tree.map(jnp.asarray, raw.scaling))
    params, metrics = train(log_probs_function(raw.name), key, reference, frozen, data, method, begin)
    return _distilled(raw, application, params), metrics


def preference_data(
    key: Array,
    inputs: PyTree,
    training: Float[np.ndarray, "samples 4"],
    history: Float[np.ndarray, "history 4"],
    method: DistillationConfig,
) -> PreferenceData:
    """D_IoKD (26): samples with their contrastive answers, taken from the history."""
    if method.negatives == "farthest":
        rejected = contrastive_indices(training, history, method.num_rejected)
    else:
        shape = (len(training), method.num_rejected)
        rejected = np.asarray(jax.random.randint(key, shape, 0, len(history)))
    return PreferenceData(
        inputs=inputs,
        preferences=jnp.asarray(training, dtype=float),
        chosen=jnp.asarray(whole_percents(training)),
        rejected=jnp.asarray(whole_percents(history)[rejected]),
    )


def features_of(distilled: Distilled, levels: Levels) -> Float[np.ndarray, "prompts features"]:
    """Decoder input of an E-LAM, from the levels of the largest encoder."""
    return np.asarray(scale_features(levels[:, : len(distilled.scaling.scale)], distilled.scaling))


def _distilled(raw: Distilled, application: ApplicationData, params: PyTree) -> Distilled:
    training = application.training
    return raw._replace(
        application=application.application,
        params=params["decoder"],
        adapters=params.get(ADAPTERS, {}),
        mean_preference=training.preferences.mean(axis=0),
        centroid=_centroid(raw, training),
    )


def _centroid(raw: Distilled, group: Labelled) -> Float[np.ndarray, " hidden"]:
    seen = directions(group.levels[:, : trunk_depth(raw.name) + 1], raw.scaling)
    return np.asarray(seen).mean(axis=0)


class Predictions(NamedTuple):
    """Preferences that an E-LAM reads from prompts."""

    preferences: Float[np.ndarray, "prompts 4"]
    failed: np.ndarray


def predictions_of(answers: Iterable[str], mean_preference: Iterable) -> Predictions:
    """What answers mean; the mean preference where they cannot be read."""
    fallback = tuple(mean_preference)
    read = [read_answer(answer, fallback) for answer in answers]
    return Predictions(np.array([one.preference for one in read]), np.array([one.failed for one in read]))


def read_intents(distilled: Distilled, levels: Levels) -> Predictions:
    """Translate prompts whose levels are known; failures fall back to the mean vector."""
    percents = answer_percents(distilled, levels[:, : len(distilled.scaling.scale)])
    return predictions_of(map(format_percents, percents), distilled.mean_preference)


def cross_translate(
    key: Array,
    raw: Distilled,
    application: ApplicationData,
    history: Labelled,
    method: DistillationConfig,
    folds: int = 2,
) -> Float[np.ndarray, "prompts 4"]:
    """Translations of an application's own training prompts, each by a model distilled without that prompt.

    A composer trained on what an E-LAM says of prompts it was distilled on would learn to trust it too much.
    """
    training = application.training
    fold = np.arange(len(training.records)) % folds
    translated = np.zeros((len(training.records), 4))
    for index in range(folds):
        rest = application._replace(training=training.take(np.flatnonzero(fold != index)))
        model, _ = distil_decoder(key, raw, rest, history, method)
        unseen = fold == index
        translated[unseen] = read_intents(model, training.levels[unseen]).preferences
    return translated
