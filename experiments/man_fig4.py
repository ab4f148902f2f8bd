"""MAN Fig. 4: both errors by the number of collaborating agents, of steps of adaptation, and by their size.

    lameta reproduce man-fig4           # or python experiments/man_fig4.py [--preset reduced] [--seeds 5] [--out DIR]

MAN on the digits (with --preset paper: on MNIST). E is varied in training, where it is the number of gradients that an
agent takes per round, and in the adaptation before the test alike; so is beta. Errors as in man_fig2.py. Rounds are
fewer than in table1, see `rounds` in the results.
"""

import time
from dataclasses import replace
from pathlib import Path

from common import arguments, finish, series
from man_figures import errors_by_size
from man_study import (
    PRESETS,
    STEPS,
    TITLES,
    local_optima,
    run_of,
    sweep_rounds,
    trained,
    tuned_rates,
    two_errors,
)

from lameta_jax.meta.problems import DataName, ProblemConfig

COLLABORATORS, STEP_COUNTS, SIZES = (1, 2, 5, 10), (2, 10, 30, 60), (0.001, 0.003, 0.01, 0.03)
ERRORS = ("personalisation", "generalisation", "test loss")


def main() -> None:
    options = arguments("man_fig4", 5, __doc__, runs="man", presets=tuple(PRESETS))
    started, seeds = time.time(), list(range(options.seeds))
    data, rounds = sweep_rounds(options.preset)
    optimum_rounds = PRESETS[options.preset][data]
    rows = [one_seed(data, rounds, optimum_rounds, seed, options.runs) for seed in seeds]
    sweeps = {
        variable: {"values": [value for value, _ in rows[0][variable]]}
        | {
            name: series([[errors[name] for _, errors in row[variable]] for row in rows])
            for name in (*ERRORS, "accuracy")
        }
        for variable in rows[0]
    }
    title = f"Fig. 4: errors of the seen agents, {TITLES[data]}, {rounds} rounds; 95% intervals over seeds"
    errors_by_size(options.out / "man_fig4.png", sweeps, ERRORS, title)
    results = {"preset": options.preset, "data": data, "rounds": rounds, "sweeps": sweeps}
    finish("man_fig4", results, seeds=seeds, started=started, folder=options.out)


def one_seed(data: DataName, rounds: int, optimum_rounds: int, seed: int, folder: Path) -> dict[str, list]:
    """Errors by what is varied and its value; the others are those of table1."""
    rates, test_rate = tuned_rates(data, "man", "adapted")
    problem, optimum = ProblemConfig(data=data), local_optima(data, optimum_rounds, seed, folder)

    def errors(collaborators: int = 10, steps: int = STEPS, size: float | None = None) -> dict[str, float]:
        own = rates if size is None else replace(rates, adaptation=size)
        run = run_of(problem, "man", rounds, own, seed, collaborators=collaborators, steps=steps)
        return two_errors(run, trained(run, folder)[0].params, size or test_rate, optimum)

    return {
        "collaborating agents S": [(count, errors(collaborators=count)) for count in COLLABORATORS],
        "steps E": [(count, errors(steps=count)) for count in STEP_COUNTS],
        "step size beta": [(size, errors(size=size)) for size in SIZES],
    }


if __name__ == "__main__":
    main()
