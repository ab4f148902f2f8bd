"""Choose how E-LAMs are distilled, on prompts of the history; no benchmark test prompt is read.

An application's validation prompts are those of its own records in the history that its filter (20) leaves out: D_IoKD
does not hold them, and the teacher was shown none of them when it wrote the synthetic samples. The raw model trains on
the rest of the history. Every method that trains is tuned, each from the options that an earlier part has chosen;
options are listed by how little they depart from the paper and our defaults, and the first one wins that the best does
not beat by more than a standard error. Finished trainings are kept in runs/select_distillation and not done again.
Writes experiments/results/select_distillation.json.
"""

import json
import time
from dataclasses import dataclass, replace

import jax
import numpy as np
from common import RUNS, report, write_results

from lameta_jax.distillation.methods import DECODER_ALONE, METHODS, DistillationConfig
from lameta_jax.elam.model import Distilled, adapted_levels
from lameta_jax.elam.sentence_encoder import SentenceEncoder, TrunkStates
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.distillation import (
    distil_decoder,
    distil_raw,
    elam_trunk,
    fine_tune,
    read_intents,
    training_states,
)
from lameta_jax.pipeline.intents import ApplicationData, IntentConfig, Labelled, prepare_intents

SEEDS = [0, 1]
SIZE = "large"
FOLDER = RUNS / "select_distillation"

Errors = dict[
    str, np.ndarray
]  # per application, the squared error on every validation prompt, averaged over seeds


@dataclass(frozen=True)
class Split:
    """One application: what trains, and what validates."""

    application: ApplicationData
    history: Labelled  # without the validation prompts
    validation: Labelled
    states: TrunkStates  # of the training prompts
    trunk: TrunkStates  # of the validation prompts
    raw: dict[int, Distilled]


def make_split(encoder: SentenceEncoder, history: Labelled, application: ApplicationData) -> Split:
    used = {record.id for record in application.training.records}
    own = np.array(
        [
            record.application == application.application and record.id not in used
            for record in history.records
        ]
    )
    rest, validation = history.take(np.flatnonzero(~own)), history.take(np.flatnonzero(own))
    report(f"{application.application}: {len(validation.records)} validation prompts")
    return Split(
        application,
        rest,
        validation,
        training_states(encoder, SIZE, application),
        elam_trunk(encoder, SIZE, validation),
        {seed: distil_raw(jax.random.key(seed), SIZE, rest, IntentConfig()) for seed in SEEDS},
    )


def squared_error(model: Distilled, levels, split: Split) -> np.ndarray:
    predicted = read_intents(model, np.asarray(levels)).preferences
    return np.square(predicted - split.validation.preferences).mean(axis=1)


class Validation:
    """Errors of options on the validation prompts of all applications."""

    def __init__(self, encoder: SentenceEncoder, config: IntentConfig):
        report(f"encoding the corpus, target of (23): {config.target}")
        self.encoder = encoder
        data = prepare_intents(encoder, RecordedTeacher(), BENCHMARKS, config)
        self.splits = {
            name: make_split(self.encoder, data.history, part) for name, part in data.applications.items()
        }

    def raw_errors(self) -> Errors:
        return {
            name: np.mean(
                [squared_error(m, split.validation.levels, split) for m in split.raw.values()], axis=0
            )
            for name, split in self.splits.items()
        }

    def errors(self, label: str, method: DistillationConfig, adapted: bool) -> Errors:
        return {name: self._errors(name, label, method, adapted) for name in self.splits}

    def _errors(self, name: str, label: str, method: DistillationConfig, adapted: bool) -> np.ndarray:
        path = FOLDER / f"{name} {label}.json"
        if not path.exists():
            values = [self._train(self.splits[name], seed, method, adapted) for seed in SEEDS]
            path.write_text(json.dumps(np.mean(values, axis=0).tolist()))
        return np.array(json.loads(path.read_text()))

    def _train(self, split: Split, seed: int, method: DistillationConfig, adapted: bool) -> np.ndarray:
        raw, key, encoder = split.raw[seed], jax.random.key(seed), self.encoder
        if not adapted:
            model, _ = distil_decoder(key, raw, split.application, split.history, method)
            return squared_error(model, split.validation.levels, split)
        model, _ = fine_tune(key, raw, split.application, split.history, method, encoder, split.states)
        return squared_error(model, adapted_levels(model, encoder, split.trunk), split)


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


def losses() -> dict[str, dict[str, DistillationConfig]]:
    """Per method what it is tuned over, over a frozen encoder; IoKD without anchor takes what is best for DPO."""

    def options(
        method: DistillationConfig, values: list[tuple[float, float, float]]
    ) -> dict[str, DistillationConfig]:
        return {
            f"anchor={anchor} beta={beta} rate={rate}": replace(
                method,
                anchor_weight=anchor,
                beta_base=beta,
                decoder_trainer=replace(DECODER_ALONE, learning_rate=rate),
            )
            for anchor, beta, rate in values
        }

    dpo = [(0.0, 0.1, 1e-2), (0.0, 0.1, 1e-3), (0.0, 0.3, 1e-3), (0.0, 1.0, 1e-3), (0.0, 0.1, 3e-4)]
    iokd = [(anchor, 0.1, 1e-2) for anchor in (0.03, 0.1, 1.0)]
    iokd += [(0.1, 0.1, 3e-3), (1.0, 0.1, 3e-3), (0.1, 0.3, 3e-3)]
    return {
        "sft": options(METHODS["sft"], [(1.0, 0.1, 1e-2), (1.0, 0.1, 3e-3)]),
        "dpo": options(METHODS["dpo"], dpo),
        "iokd": options(METHODS["iokd"], iokd),
    }


def trainers(method: DistillationConfig) -> dict[str, DistillationConfig]:
    """How the encoder is fine-tuned."""
    options = {
        "3 epochs": {},
        "3 epochs, 2 x adapter rate": {"adapter_learning_rate": 1e-3},
        "3 epochs, a fifth of both rates": {"learning_rate": 2e-4, "adapter_learning_rate": 1e-4},
    }
    return {
        label: method.with_trainer(replace(method.trainer, **change)) for label, change in options.items()
    }


def main() -> None:
    started = time.time()
    FOLDER.mkdir(parents=True, exist_ok=True)
    encoder, config = SentenceEncoder(), IntentConfig()
    validation = Validation(encoder, config)
    results: dict[str, dict[str, Errors]] = {"raw": {"as it is": validation.raw_errors()}}
    report(f"raw: {means(results['raw']['as it is'])}")
    chosen = {}

    def compare(part: str, candidates: dict[str, DistillationConfig], adapted: bool) -> DistillationConfig:
        results[part] = {}
        for label, method in candidates.items():
            results[part][label] = validation.errors(f"{part} {label}", method, adapted)
            report(f"{part} {label}: {means(results[part][label])} after {time.time() - started:.0f} s")
        chosen[part] = choose(results[part])
        return candidates[chosen[part]]

    best = {name: compare(name, candidates, False) for name, candidates in losses().items()}
    for name in ("iokd", "dpo"):
        compare(f"{name}, fine-tuned", trainers(best[name]), True)
    # The paper stops at 500 samples in all; our default takes all that the teacher wrote.
    validations = {500: Validation(encoder, replace(config, target=500)), config.target: validation}
    results["target of (23)"] = {
        str(target): other.errors(f"target {target}", best["iokd"], False)
        for target, other in validations.items()
    }
    chosen["target of (23)"] = choose(results["target of (23)"])
    summary = {
        "validation_mse": {
            part: {label: means(errors) for label, errors in options.items()}
            for part, options in results.items()
        },
        "validation_prompts": {
            name: len(split.validation.records) for name, split in validation.splits.items()
        },
        "chosen": chosen,
        "elam": SIZE,
    }
    report(f"wrote {write_results('select_distillation', summary, seeds=SEEDS, started=started)}")


def means(errors: Errors) -> dict[str, float]:
    return {name: round(float(values.mean()), 6) for name, values in errors.items()}


if __name__ == "__main__":
    main()
