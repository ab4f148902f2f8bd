"""MAN Fig. 3: accuracy by the number of collaborating agents, for environments that differ more and less.

    lameta reproduce man-fig3           # or python experiments/man_fig3.py [--preset reduced] [--seeds 5] [--out DIR]

MAN on the digits (with --preset paper: on MNIST), S of the 10 seen agents per round. The concentration p of the
Dirichlet split runs from few classes per agent to equal environments (p = 1000; the paper calls p = 1 identical).
Rounds are fewer than in table1, see `rounds` in the results.
"""

import time
from pathlib import Path

import jax
import numpy as np
from common import arguments, finish, series
from man_figures import accuracy_by_collaborators
from man_study import PRESETS, STEPS, TITLES, problem_of, run_of, sweep_rounds, trained, tuned_rates

from lameta_jax.meta.problems import DataName, ProblemConfig
from lameta_jax.meta.training import outcome

COLLABORATORS = (2, 5, 10)
CONCENTRATIONS = (0.1, 0.5, 1000.0)


def main() -> None:
    options = arguments("man_fig3", 5, __doc__, runs="man", presets=tuple(PRESETS))
    started, seeds = time.time(), list(range(options.seeds))
    data, rounds = sweep_rounds(options.preset)
    rows = {seed: one_seed(data, rounds, seed, options.runs) for seed in seeds}
    curves = {
        f"{concentration:g}": {"collaborators": list(COLLABORATORS)}
        | {
            group: series(
                [[rows[seed][concentration, count][group] for count in COLLABORATORS] for seed in seeds]
            )
            for group in ("seen", "unseen")
        }
        for concentration in CONCENTRATIONS
    }
    title = (
        f"Fig. 3: accuracy by collaborating agents, {TITLES[data]}, {rounds} rounds; 95% intervals over seeds"
    )
    accuracy_by_collaborators(options.out / "man_fig3.png", curves, title)
    results = {"preset": options.preset, "data": data, "rounds": rounds, "curves": curves}
    finish("man_fig3", results, seeds=seeds, started=started, folder=options.out)


def one_seed(data: DataName, rounds: int, seed: int, folder: Path) -> dict:
    """Mean accuracy of both groups of agents, by concentration and collaborators."""
    rates, test_rate = tuned_rates(data, "man", "adapted")
    found = {}
    for concentration in CONCENTRATIONS:
        for count in COLLABORATORS:
            problem = ProblemConfig(data=data, concentration=concentration)
            run = run_of(problem, "man", rounds, rates, seed, collaborators=count)
            params = trained(run, folder)[0].params
            environments = problem_of(problem, seed)
            groups = outcome(environments, run.training, params, jax.random.key(seed), test_rate, STEPS)
            found[concentration, count] = {
                name: float(np.mean(np.asarray(group.accuracy))) for name, group in groups.items()
            }
    return found


if __name__ == "__main__":
    main()
