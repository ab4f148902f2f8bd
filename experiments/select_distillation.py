"""Choose the E-LAM hyperparameters on prompts of the history; no benchmark test prompt is read.

An application's validation prompts are those of its own records in the history that its filter (20) leaves out: D_IoKD
does not hold them, and the teacher was shown none of them when it wrote the synthetic samples. The raw model trains on
the history, so it is trained five times, each time without a fifth of them. Options are listed by how little they
depart from the paper and our defaults; the first one wins that the best does not beat by more than a standard error.
Writes experiments/results/select_distillation.json.
"""

import time
from dataclasses import replace

import jax
import numpy as np
from common import report, write_results

from lameta_jax.distillation.train import IoKDConfig, TrainerConfig
from lameta_jax.elam.model import ELAM_LAYERS, Distilled
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.intents import (
    IntentConfig,
    IntentData,
    Labelled,
    distil_iokd,
    distil_raw,
    prepare_intents,
    read_intents,
)

FOLDS = 5
TARGETS = (500, 1000)
PRETRAINING = {
    f"steps={steps} weight_decay={decay}": TrainerConfig(num_steps=steps, weight_decay=decay)
    for steps, decay in [(200, 1.0), (100, 1.0), (200, 2.0)]
}
IOKD = {
    f"beta={beta} slope={slope} anchor={anchor} steps={steps} weight_decay={decay}": IoKDConfig(
        beta_base=beta,
        beta_slope=slope,
        anchor_weight=anchor,
        trainer=TrainerConfig(num_steps=steps, weight_decay=decay),
    )
    for beta, slope, anchor, steps, decay in [
        (0.1, 1.0, 0.0, 200, 1.0),
        (0.1, 1.0, 0.03, 200, 1.0),
        (0.1, 1.0, 0.1, 200, 1.0),
        (0.1, 1.0, 1.0, 200, 1.0),
        (0.1, 1.0, 0.03, 200, 2.0),
        (0.1, 1.0, 0.03, 400, 1.0),
        (0.1, 0.0, 0.03, 200, 1.0),
    ]
}

Errors = dict[str, np.ndarray]  # per application, the squared error on every validation prompt
Raw = dict[tuple[str, str, int], Distilled]  # by application, size and fold


def split(group: Labelled, keep: np.ndarray) -> Labelled:
    return Labelled(tuple(np.array(group.records, dtype=object)[keep]), group.levels[keep])


def validation_folds(data: IntentData) -> dict[str, np.ndarray]:
    """Per application, the fold of every record of the history; -1 where it is not for validation."""
    folds = {}
    for name, application in data.applications.items():
        used = {record.id for record in application.training.records}
        own = [record.application == name and record.id not in used for record in data.history.records]
        places = np.flatnonzero(own)
        folds[name] = np.full(len(own), -1)
        folds[name][places] = np.random.default_rng(0).permutation(len(places)) % FOLDS
        report(f"{name}: {len(places)} validation prompts")
    return folds


def train_raw(data: IntentData, folds: dict[str, np.ndarray], size: str, config: IntentConfig) -> Raw:
    return {
        (name, size, fold): distil_raw(
            jax.random.key(fold), size, split(data.history, folds[name] != fold), config
        )
        for name in data.applications
        for fold in range(FOLDS)
    }


def errors(
    data: IntentData, folds: dict[str, np.ndarray], raw: Raw, size: str, config: IntentConfig | None = None
) -> Errors:
    """Of the raw models, or of what IoKD makes of them."""
    found = {}
    for name, application in data.applications.items():
        values = []
        for fold in range(FOLDS):
            held_out, history = (
                split(data.history, keep) for keep in (folds[name] == fold, folds[name] != fold)
            )
            model = raw[name, size, fold]
            if config is not None:
                model, _ = distil_iokd(model, application, history, config)
            predicted = read_intents(model, held_out.levels).preferences
            values.append(np.square(predicted - held_out.preferences).mean(axis=1))
        found[name] = np.concatenate(values)
    return found


def choose(results: dict[str, Errors]) -> str:
    """The first option that the best does not beat by more than a standard error, prompt by prompt."""

    def mean(errors: Errors) -> float:
        return sum(float(values.mean()) for values in errors.values())

    best = min(results.values(), key=mean)
    for label, option in results.items():
        excess = {name: values - best[name] for name, values in option.items()}
        variance = sum(values.var(ddof=1) / len(values) for values in excess.values())
        if mean(excess) <= variance**0.5:
            return label
    raise AssertionError("the best option beats itself")


def means(results: dict[str, Errors]) -> dict[str, dict[str, float]]:
    return {
        label: {name: round(float(values.mean()), 6) for name, values in option.items()}
        for label, option in results.items()
    }


def main() -> None:
    started, config = time.time(), IntentConfig()
    report("encoding the corpus")
    encoder = SentenceEncoder()
    prepared = {
        target: prepare_intents(encoder, RecordedTeacher(), BENCHMARKS, replace(config, target=target))
        for target in TARGETS
    }
    data = prepared[config.target]
    folds = validation_folds(data)
    results: dict[str, dict[str, Errors]] = {"raw, large": {}, "iokd, large": {}}
    trained = {}
    for label, trainer in PRETRAINING.items():
        trained[label] = train_raw(data, folds, "large", replace(config, pretraining=trainer))
        results["raw, large"][label] = errors(data, folds, trained[label], "large")
        report(f"raw {label}: {means(results['raw, large'])[label]}")
    pretraining = choose(results["raw, large"])
    raw = trained[pretraining]
    for label, iokd in IOKD.items():
        chosen = replace(config, iokd=iokd)
        results["iokd, large"][label] = errors(data, folds, raw, "large", chosen)
        report(f"iokd {label}: {means(results['iokd, large'])[label]}")
    iokd = choose(results["iokd, large"])
    config = replace(config, pretraining=PRETRAINING[pretraining], iokd=IOKD[iokd])
    for size in ELAM_LAYERS:
        known = raw if size == "large" else train_raw(data, folds, size, config)
        results[f"target, {size}"] = {
            str(target): errors(prepared[target], folds, known, size, config) for target in TARGETS
        }
        report(f"target, {size}: {means(results[f'target, {size}'])}")
    chosen = {"raw": pretraining, "iokd": iokd} | {
        f"target, {size}": choose(results[f"target, {size}"]) for size in ELAM_LAYERS
    }
    validation = {part: means(options) for part, options in results.items()}
    summary = {"folds": FOLDS, "validation_mse": validation, "chosen": chosen}
    report(
        f"wrote {write_results('select_distillation', summary, seeds=list(range(FOLDS)), started=started)}"
    )


if __name__ == "__main__":
    main()
