"""Ablations of IoKD: temperature (32), contrastive answers (25), similarity filter (20), reasoning (22), anchor.

    lameta reproduce iokd_ablations   # or python experiments/iokd_ablations.py [--seeds 5] [--out DIR]

Each option changes one thing of the default; differences of the test MSE are paired by seed. The encoder is frozen, the
E-LAM the large one. Options are compared here, not chosen: experiments/select_distillation.py chooses on validation
prompts. "With reasoning" also trains on the explanations of the C-LAM, each as a prompt with what it explains. What
cannot be ablated is reasoning in the C-LAM's own writing: all of the recorded samples were written with it.
"""

from dataclasses import replace

import numpy as np
from common import arguments, finish, interval
from figures import ablation_bars
from iokd_study import Cell, Study

from lameta_jax.distillation.methods import METHODS, DistillationConfig
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.pipeline.intents import ApplicationData, IntentConfig, Labelled

SIZE = "large"
IOKD = METHODS["iokd"]
LOSSES: dict[str, dict[str, DistillationConfig]] = {
    "lambda of (32)": {f"{value}": replace(IOKD, beta_slope=value) for value in (0.0, 0.5, 1.5, 1.9)},
    "beta_base of (32)": {f"{value}": replace(IOKD, beta_base=value) for value in (0.03, 0.3, 1.0)},
    "k of (25)": {f"{value}": replace(IOKD, num_rejected=value) for value in (1, 2, 8)},
    "contrastive answers": {"random": replace(IOKD, negatives="random")},
    "weight of the likelihood": {f"{value}": replace(IOKD, anchor_weight=value) for value in (0.0, 0.1, 1.0)},
    "label smoothing": {f"{value}": replace(IOKD, label_smoothing=value) for value in (0.1, 0.3)},
}
SIMILARITIES = {"all of the history": -1.0, "+0.1": 0.1, "none of the history": 2.0}


def with_reasoning(study: Study, part: ApplicationData) -> ApplicationData:
    """The application with every explanation as one more prompt."""
    explained = [record for record in part.training.records if record.rationale]
    levels = study.encoder.levels([record.rationale for record in explained])
    training = Labelled((*part.training.records, *explained), np.concatenate([part.training.levels, levels]))
    return part._replace(training=training)


def filtered(study: Study, option: float) -> dict[str, ApplicationData]:
    """The applications with another threshold tau_min of (20)."""
    default = study.config.min_similarity
    shifted = {name: value + option if 0 < option < 1 else option for name, value in default.items()}
    other = Study(study.folder, replace(study.config, min_similarity=shifted))
    return other.data.applications


def main() -> None:
    options = arguments("iokd_ablations", 5, __doc__)
    study, seeds = Study(options.runs, IntentConfig()), list(range(options.seeds))
    parts = study.data.applications

    def errors(
        label: str, method: DistillationConfig, changed: dict[str, ApplicationData]
    ) -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in BENCHMARKS}
        for name in BENCHMARKS:
            for seed in seeds:
                cell = Cell(seed, SIZE, name, label)
                make = lambda cell=cell, part=changed[name]: study.frozen(cell, method, part)
                found[name].append(study.measure(cell, make)["mse"])
        return found

    default = errors("default", IOKD, parts)
    studies: dict[str, dict[str, dict]] = {}

    def compare(title: str, label: str, found: dict[str, list[float]]) -> None:
        studies.setdefault(title, {})[label] = {
            name: {
                "mse": interval(found[name]),
                "difference": interval(np.subtract(found[name], default[name])),
            }
            for name in BENCHMARKS
        }

    for title, variants in LOSSES.items():
        for label, method in variants.items():
            compare(title, label, errors(f"{title} {label}", method, parts))
    for label, option in SIMILARITIES.items():
        changed = filtered(study, option)
        compare("tau_min of (20)", label, errors(f"tau_min {label}", IOKD, changed))
    explained = {name: with_reasoning(study, part) for name, part in parts.items()}
    compare("reasoning (22) as prompts", "with", errors("with reasoning", IOKD, explained))
    results = {"default": {name: interval(values) for name, values in default.items()}, "ablations": studies}
    ablation_bars(options.out / "iokd_ablations.png", studies, BENCHMARKS)
    finish("iokd_ablations", results, seeds=seeds, started=study.started, folder=options.out)


if __name__ == "__main__":
    main()
