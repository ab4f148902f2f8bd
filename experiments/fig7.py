"""LAMeTA Fig. 7: error in reading intents against the number of samples that IoKD learns from.

    lameta reproduce fig7             # or python experiments/fig7.py [--seeds 10] [--out DIR]

A seed draws which samples of D_IoKD are used, and the raw E-LAM; a larger set holds the smaller ones. The encoder is
frozen, so that the whole figure takes minutes.
"""

import numpy as np
from common import arguments, finish, interval
from figures import learning_curves
from iokd_study import TITLES, Cell, Study, subset

from lameta_jax.distillation.methods import METHODS
from lameta_jax.elam.model import ELAM_LAYERS

COUNTS = (0, 30, 60, 120, 240, 480)


def main() -> None:
    options = arguments("fig7", 10, __doc__)
    study, seeds = Study(options.runs), list(range(options.seeds))
    curves: dict[str, dict[str, list]] = {}
    for name, part in study.data.applications.items():
        for size in ELAM_LAYERS:
            points = curves.setdefault(name, {}).setdefault(size, [])
            for count in (*COUNTS, len(part.training.records)):
                errors = [measure(study, Cell(seed, size, name, f"{count} samples"), count) for seed in seeds]
                points.append({"samples": count, "mse": interval(errors)})
    learning_curves(options.out / "fig7.png", curves, TITLES)
    finish("fig7", {"curves": curves}, seeds=seeds, started=study.started, folder=options.out)


def measure(study: Study, cell: Cell, count: int) -> float:
    """Test MSE after IoKD on `count` samples; the raw model's for none."""
    if not count:
        return study.measure(cell, lambda: study.raw(cell.seed, cell.size))["mse"]
    part = study.data.applications[cell.application]
    order = np.random.default_rng(cell.seed).permutation(len(part.training.records))
    few = subset(part, np.sort(order[:count]))
    return study.measure(cell, lambda: study.frozen(cell, METHODS["iokd"], few))["mse"]


if __name__ == "__main__":
    main()
