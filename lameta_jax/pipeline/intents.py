"""Stage 1 end to end: from the corpus and a teacher to distilled E-LAMs and their errors (LAMeTA Sec. IV)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from lameta_jax.distillation.train import IoKDConfig, Metrics, PreferenceData, TrainerConfig, distil, pretrain
from lameta_jax.elam.model import (
    ELAM_LAYERS,
    Distilled,
    answer_percents,
    fit_scaling,
    log_prob_function,
    new_decoder,
    scale_features,
)
from lameta_jax.elam.sentence_encoder import SentenceEncoder, sentence_embeddings
from lameta_jax.intents.augmentation import contrastive_indices
from lameta_jax.intents.corpus import Record, load_benchmark, load_history, preferences_of
from lameta_jax.intents.dataset import DatasetConfig, build_dataset
from lameta_jax.intents.preference import parse_answer, whole_percents
from lameta_jax.intents.teacher import RecordedTeacher, Teacher

Levels = Float[np.ndarray, "prompts levels hidden"]


@dataclass(frozen=True, kw_only=True)
class IntentConfig:
    """How the E-LAMs of an application are made; chosen by cross-validation on history and synthetic prompts."""

    min_similarity: dict[str, float] = field(  # tau_min of (20), per application
        default_factory=lambda: {"multimedia": 0.35, "qa": 0.30}
    )
    # Size of D_IoKD; the teacher adds what real samples leave open. The recorded one has 500 samples per
    # application, and cross-validation wants them all (experiments/select_distillation.py).
    target: int = 1000
    pretraining: TrainerConfig = TrainerConfig()
    iokd: IoKDConfig = IoKDConfig()


class Labelled(NamedTuple):
    """Records with the encoder's levels for their prompts."""

    records: tuple[Record, ...]
    levels: Levels

    @property
    def preferences(self) -> Float[np.ndarray, "prompts 4"]:
        return preferences_of(self.records)


class ApplicationData(NamedTuple):
    """Everything stage 1 knows about one application."""

    application: str
    training: Labelled  # D_IoKD of (26)
    test: Labelled
    num_relevant: int  # |D_rel| of (20)
    num_synthetic: int  # N_aug of (23), after validation
    rejects: dict[str, int]  # synthetic samples left out, by reason


class IntentData(NamedTuple):
    """The corpus, encoded once for all sizes, applications and seeds."""

    history: Labelled  # D_h
    applications: dict[str, ApplicationData]


def prepare_intents(
    encoder: SentenceEncoder,
    teacher: Teacher,
    applications: Sequence[str],
    config: IntentConfig,
    progress: Callable[[int, int], None] | None = None,
) -> IntentData:
    """Build the data sets of all applications: filter, augment, validate (LAMeTA eqs. (19)-(23)).

    Whoever the teacher is, it is asked for samples what the shipped transcript records: the draw of demonstrations and
    settings is part of the corpus, and another teacher's samples then differ by the teacher alone.
    """
    history = load_history()
    benchmarks = {name: load_benchmark(name) for name in applications}
    encoded = _EncodedPrompts(encoder, progress)
    encoded.levels([record.prompt for group in (history, *sum(benchmarks.values(), ())) for record in group])
    data = {}
    for name, (demonstrations, test) in benchmarks.items():
        asked = DatasetConfig(min_similarity=config.min_similarity[name], target=config.target)
        requests = RecordedTeacher().requests("augment", name)
        built = build_dataset(demonstrations, history, teacher, encoded.embed, asked, requests=requests)
        counts = built.statistics
        data[name] = ApplicationData(
            application=name,
            training=encoded.label(built.records),
            test=encoded.label(test),
            num_relevant=counts.num_relevant,
            num_synthetic=counts.num_kept,
            rejects=dict(counts.rejects),
        )
    return IntentData(encoded.label(history), data)


class _EncodedPrompts:
    """The encoder's levels of every prompt asked for, each encoded once."""

    def __init__(self, encoder: SentenceEncoder, progress: Callable[[int, int], None] | None):
        self._encoder, self._progress = encoder, progress
        self._levels: dict[str, np.ndarray] = {}

    def levels(self, prompts: Sequence[str]) -> Levels:
        new = list(dict.fromkeys(prompt for prompt in prompts if prompt not in self._levels))
        if new:
            self._levels.update(zip(new, self._encoder.levels(new, self._progress), strict=True))
        return np.stack([self._levels[prompt] for prompt in prompts])

    def embed(self, prompts: Sequence[str]) -> Float[np.ndarray, "prompts hidden"]:
        return sentence_embeddings(self.levels(prompts))

    def label(self, records: Sequence[Record]) -> Labelled:
        return Labelled(tuple(records), self.levels([record.prompt for record in records]))


def _take(group: Labelled, indices: np.ndarray) -> Labelled:
    return Labelled(tuple(group.records[index] for index in indices), group.levels[indices])


def distil_raw(key: Array, name: str, history: Labelled, config: IntentConfig) -> Distilled:
    """The E-LAM before distillation: its decoder has learned the task from the history of all applications."""
    levels = history.levels[:, : ELAM_LAYERS[name] + 1]
    scaling = fit_scaling(levels)
    _, params = new_decoder(key, name)
    features = jnp.asarray(scale_features(levels, scaling))
    answers = jnp.asarray(whole_percents(history.preferences))
    params, _ = pretrain(log_prob_function(name), params, features, answers, config.pretraining)
    return Distilled(name, "", params, scaling, history.preferences.mean(axis=0), _centroid(history))


def distil_iokd(
    raw: Distilled, application: ApplicationData, history: Labelled, config: IntentConfig
) -> tuple[Distilled, Metrics]:
    """Weighted preference distillation of a raw E-LAM for one application."""
    training = application.training
    farthest = contrastive_indices(training.preferences, history.preferences, config.iokd.num_rejected)
    data = PreferenceData(
        features=jnp.asarray(features_of(raw, training.levels)),
        preferences=jnp.asarray(training.preferences, dtype=float),
        chosen=jnp.asarray(whole_percents(training.preferences)),
        rejected=jnp.asarray(whole_percents(history.preferences)[farthest]),
    )
    params, metrics = distil(log_prob_function(raw.name), raw.params, data, config.iokd)
    mean, centroid = training.preferences.mean(axis=0), _centroid(training)
    return Distilled(raw.name, application.application, params, raw.scaling, mean, centroid), metrics


def features_of(distilled: Distilled, levels: Levels) -> Float[np.ndarray, "prompts features"]:
    """Decoder input of an E-LAM, from the levels of the largest encoder."""
    return scale_features(levels[:, : len(distilled.scaling.scale)], distilled.scaling)


def _centroid(group: Labelled) -> Float[np.ndarray, " hidden"]:
    return sentence_embeddings(group.levels).mean(axis=0)


class Predictions(NamedTuple):
    """Preferences that an E-LAM reads from prompts."""

    preferences: Float[np.ndarray, "prompts 4"]
    failed: np.ndarray


def read_intents(distilled: Distilled, levels: Levels) -> Predictions:
    """Translate prompts whose levels are known; failures fall back to the mean vector."""
    percents = answer_percents(distilled, levels[:, : len(distilled.scaling.scale)])
    parsed = [parse_answer(" ".join(map(str, row))) for row in percents]
    failed = np.array([answer is None for answer in parsed])
    fallback = tuple(distilled.mean_preference)
    return Predictions(np.array([fallback if answer is None else answer for answer in parsed]), failed)


def cross_translate(
    raw: Distilled, application: ApplicationData, history: Labelled, config: IntentConfig, folds: int = 2
) -> Float[np.ndarray, "prompts 4"]:
    """Translations of an application's own training prompts, each by a model distilled without that prompt.

    A composer trained on what an E-LAM says of prompts it was distilled on would learn to trust it too much.
    """
    training = application.training
    fold = np.arange(len(training.records)) % folds
    translated = np.zeros((len(training.records), 4))
    for index in range(folds):
        rest = application._replace(training=_take(training, np.flatnonzero(fold != index)))
        model, _ = distil_iokd(raw, rest, history, config)
        unseen = fold == index
        translated[unseen] = read_intents(model, training.levels[unseen]).preferences
    return translated
