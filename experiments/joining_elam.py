"""The part of `joining.py` that meta-learns the decoder of the small E-LAM over applications."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import report

from lameta_jax.distillation.methods import METHODS
from lameta_jax.distillation.train import PreferenceData, distil
from lameta_jax.elam.model import fit_scaling, log_probs_function, new_decoder, scale_features
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.preference import whole_percents
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.intents import IntentConfig, prepare_intents
from lameta_jax.pipeline.meta_learned import (
    LabelledFeatures,
    MetaConfig,
    answer_loss,
    fine_tune,
    meta_train,
    read_features,
)
from lameta_jax.scale.checkpoint import read_checkpoint, write_checkpoint

SIZE, LEVELS = "small", 4
PAIRS = (("multimedia", "qa"), ("report", "rendering"), ("coding", "translation"), ("medical", "industrial"))
COUNTS = (5, 10, 20, 40)  # samples of the application never seen; the rest of its records test
STEPS = (5, 20, 80)
OPTIMISERS = {"sgd": (0.003, 0.01, 0.03, 0.1), "adamw": (0.003, 0.01)}
SETTINGS = [(kind, rate, steps) for kind, rates in OPTIMISERS.items() for rate in rates for steps in STEPS]
SECOND, FIRST = (MetaConfig(num_rounds=150, order=order) for order in ("second_order", "first_order"))
# The settings of every way to an initialisation, (config, beta); the validation application picks one.
MODELS = {
    "from scratch": [None],
    "joint, then fine-tuned": [(MetaConfig(num_rounds=rounds, inner_steps=0), 0.0) for rounds in (75, 150)],
    "MAN, second order": [(SECOND, beta) for beta in (0.03, 0.1)],
    "MAN, first order": [(FIRST, beta) for beta in (0.003, 0.03)],
}
TRIVIAL = "mean of its samples"
PER_COUNT = "chosen for each number of samples"
ONCE = "chosen once for all numbers of samples"
PLAIN = "chosen once, plain descent alone"  # as (MAN 5) has it


class Labelled(NamedTuple):
    """What is known of an application: levels of the encoder and preferences; the first ones may be adapted to."""

    levels: np.ndarray
    preferences: np.ndarray


def corpus(folder: Path) -> dict[str, Labelled]:
    """History of eight applications, and `benchmark NAME`: demonstrations, synthetic samples, 40 test prompts."""
    path = folder / "levels.npz"
    if not path.exists():
        report("encoding the corpus")
        data = prepare_intents(SentenceEncoder(), RecordedTeacher(), BENCHMARKS, IntentConfig())
        past = {record.id for record in data.history.records}
        groups = {
            name: data.history.take(
                np.flatnonzero([record.application == name for record in data.history.records])
            )
            for pair in PAIRS
            for name in pair
        }
        for name, part in data.applications.items():
            own = np.flatnonzero([record.id not in past for record in part.training.records])
            groups |= {f"own {name}": part.training.take(own), f"test {name}": part.test}
        arrays = {}
        for name, group in groups.items():
            arrays |= {f"{name}/levels": group.levels[:, :LEVELS], f"{name}/preferences": group.preferences}
        np.savez(path, **arrays)
    kept = np.load(path)
    names = dict.fromkeys(name.partition("/")[0] for name in kept.files)
    return {name: Labelled(kept[f"{name}/levels"], kept[f"{name}/preferences"]) for name in names}


def splits(data: dict[str, Labelled], name: str, seed: int) -> tuple[Labelled, Labelled]:
    """Samples to adapt to, in order, and those that test; of a benchmark its demonstrations come first."""
    rng = np.random.default_rng([seed, 7])
    if name.startswith("benchmark"):
        own, test = (data[f"{group} {name.split()[1]}"] for group in ("own", "test"))
        order = np.concatenate([rng.permutation(10), 10 + rng.permutation(len(own.preferences) - 10)])
        return Labelled(*(values[order] for values in own)), test
    order = rng.permutation(len(data[name].preferences))
    most = max(COUNTS)
    own, test = (Labelled(*(values[rows] for values in data[name])) for rows in (order[:most], order[most:]))
    return own, test


def labelled(group: Labelled, scaling) -> LabelledFeatures:
    features = scale_features(group.levels, scaling)
    return LabelledFeatures(jnp.asarray(features), jnp.asarray(whole_percents(group.preferences)))


@partial(jax.jit, static_argnames=("kind", "steps"))
def adapted_error(params, rate, batch, features, wanted, kind: str, steps: int):
    """Test error of a decoder adapted to a batch."""
    optimiser = optax.sgd(rate) if kind == "sgd" else optax.adamw(rate, weight_decay=1.0)
    params = fine_tune(answer_loss(SIZE), params, batch, optimiser, steps)
    return jnp.mean(
        (read_features(SIZE, params, features, jnp.mean(batch.answers, axis=0) / 100) - wanted) ** 2
    )


def kept(path: Path, purpose: Mapping[str, object], make: Callable[[], dict[str, np.ndarray]]) -> dict:
    """What `make` gives, made once; a file that was made with another purpose is refused."""
    words = {name: str(value) for name, value in purpose.items()}
    found = read_checkpoint(path, words)
    if found is None:
        begun = time.time()
        found = make()
        write_checkpoint(path, words, found)
        report(f"{path.name}: {time.time() - begun:.0f} s")
    return found


def cell(data: dict[str, Labelled], pair: tuple[str, str], seed: int, folder: Path) -> dict[str, np.ndarray]:
    """Errors of everything that is trained without a pair of applications, for each of the two; kept."""
    purpose = {"pairs": PAIRS, "models": MODELS, "adaptation": SETTINGS, "samples": COUNTS}
    path = folder / f"elam_{'-'.join(pair)}_{seed}.msgpack"
    return kept(path, purpose, lambda: without(data, pair, seed))


def without(data: dict[str, Labelled], pair: tuple[str, str], seed: int) -> dict[str, np.ndarray]:
    """Test errors by target and contender, axes [models, adaptations, samples], and what they are held against."""
    others = [data[name] for names in PAIRS if names != pair for name in names]
    scaling = fit_scaling(np.concatenate([one.levels for one in others]))
    seen = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(labelled(one, scaling) for one in others))
    fallback = jnp.asarray(np.concatenate([one.preferences for one in others]).mean(axis=0), float)
    key_decoder, key = jax.random.split(jax.random.key(seed))
    start = new_decoder(key_decoder, SIZE)[1]
    targets = [*pair, *(f"benchmark {name}" for name in pair if name in BENCHMARKS)]
    found = {}
    for label, settings in MODELS.items():
        models = [
            start if how is None else meta_train(answer_loss(SIZE), start, seen, how[1], key, how[0])[0]
            for how in settings
        ]
        for name in targets:
            rows = [errors(model, splits(data, name, seed), scaling, fallback) for model in models]
            found[f"{name}/{label}"] = np.stack([adapted for _, adapted in rows])
            found[f"{name}/{label}/unadapted"] = np.array([unadapted for unadapted, _ in rows])
    for name in targets:
        own, test = splits(data, name, seed)
        means = [own.preferences[:count].mean(axis=0) for count in (*COUNTS, len(own.preferences))]
        found[f"{name}/{TRIVIAL}"] = np.array([((mean - test.preferences) ** 2).mean() for mean in means])
        found[f"{name}/plateau"] = plateau(start, own, test, scaling, key)
    return found


def errors(params, split: tuple[Labelled, Labelled], scaling, fallback) -> tuple[float, np.ndarray]:
    """Test error as the model is, and adapted, axes [settings, counts]."""
    own, test = (labelled(group, scaling) for group in split)
    wanted = jnp.asarray(split[1].preferences, float)
    unadapted = jnp.mean((read_features(SIZE, params, test.features, fallback) - wanted) ** 2)
    found = [
        [
            adapted_error(
                params, rate, jax.tree.map(lambda x, n=n: x[:n], own), test.features, wanted, kind, steps
            )
            for n in COUNTS
        ]
        for kind, rate, steps in SETTINGS
    ]
    return float(unadapted), np.array(found, dtype=float)


def plateau(start, own: Labelled, test: Labelled, scaling, key) -> np.ndarray:
    """Test error of a decoder trained from scratch on all samples by the package's own trainer."""
    batch = labelled(own, scaling)
    preferences = jnp.asarray(own.preferences, float)
    samples = PreferenceData(
        batch.features, preferences, batch.answers, jnp.zeros((len(preferences), 0, 4), int)
    )
    method = METHODS["sft"].with_trainer(METHODS["sft"].decoder_trainer)
    params, _ = distil(log_probs_function(SIZE), key, {"decoder": start}, None, samples, method)
    read = read_features(SIZE, params["decoder"], labelled(test, scaling).features, preferences.mean(axis=0))
    return np.asarray(jnp.mean((read - jnp.asarray(test.preferences, float)) ** 2))
