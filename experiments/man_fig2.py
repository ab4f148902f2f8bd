"""MAN Fig. 2: personalisation and generalisation error while the meta-model is trained.

    lameta reproduce man-fig2           # or python experiments/man_fig2.py [--preset reduced] [--seeds 5] [--out DIR]

Shares the trainings of table1. Both errors are those of the seen agents after adaptation, in units of the loss:
generalisation, (1), the loss on test samples less that on the agent's own; personalisation, (2), the loss on the
agent's own samples less that of its local optimum, for which stands its model by local training, whose loss is stated.
"""

import time
from pathlib import Path

import numpy as np
from common import arguments, finish, interval, members, series
from man_figures import errors_while_training
from man_study import PRESETS, local_optima, run_of, trained, tuned_rates, two_errors

from lameta_jax.meta.problems import DataName, ProblemConfig

POINTS = 5  # from the first report to the end


def main() -> None:
    options = arguments("man_fig2", 5, __doc__, runs="man", presets=tuple(PRESETS))
    started, seeds = time.time(), list(range(options.seeds))
    found = {
        data: curves(data, rounds, seeds, options.runs) for data, rounds in PRESETS[options.preset].items()
    }
    errors_while_training(options.out / "man_fig2.png", found)
    results = {"preset": options.preset, "data": found}
    finish("man_fig2", results, seeds=seeds, started=started, folder=options.out)


def curves(data: DataName, rounds: int, seeds: list[int], folder: Path) -> dict:
    """Both errors at some points of MAN's training."""
    rates, test_rate = tuned_rates(data, "man", "adapted")
    rows, optima, done = [], [], []
    for seed in seeds:
        run = run_of(ProblemConfig(data=data), "man", rounds, rates, seed)
        snapshots, optimum = trained(run, folder)[0].snapshots, local_optima(data, rounds, seed, folder)
        models = members(snapshots)
        places = np.unique(np.linspace(0, len(models) - 1, POINTS).round().astype(int))
        done = [min((int(place) + 1) * run.training.rounds_per_report, rounds) for place in places]
        rows.append([two_errors(run, models[place], test_rate, optimum) for place in places])
        optima.append(float(optimum.mean()))
    names = ("personalisation", "generalisation")
    return {"rounds": done, "test_rate": test_rate, "loss_of_local_optima": interval(optima)} | {
        name: series([[point[name] for point in row] for row in rows]) for name in names
    }


if __name__ == "__main__":
    main()
