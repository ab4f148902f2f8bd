"""The rates of MAN and of what it is compared with, chosen on agents and samples that no result is measured on.

    python experiments/man_tuning.py [--preset reduced]      # writes man_tuning.json, or man_tuning_quick.json

Test samples are not touched: a fifth of the training samples takes their place, on environments of a seed of its own.
Every method gets the same number of trials, of the same length. A trial is scored by the mean accuracy of seen agents,
and, for methods with a shared model, of agents that join later, each after adaptation if the method adapts.
"""

import time
from pathlib import Path

import jax
import numpy as np
from common import arguments, finish
from man_study import PRESETS, STEPS, Run, problem_of, trained

from lameta_jax.meta.federated import Rates
from lameta_jax.meta.problems import DataName, ProblemConfig
from lameta_jax.meta.training import METHODS, TrainingConfig, outcome

SEED = 1000
SHARE = 2 / 3  # of the rounds of a preset
TRAINING_RATES = (0.05, 0.1, 0.2)
TRIALS = {
    "local": [Rates(meta=rate) for rate in TRAINING_RATES],
    "fedavg": [Rates(meta=rate) for rate in TRAINING_RATES],
    "reptile": [Rates(meta=rate, server=0.5) for rate in TRAINING_RATES],
    "per-fedavg": [Rates(meta=rate, adaptation=0.02) for rate in TRAINING_RATES],
    "man": [Rates(meta=rate, adaptation=0.02) for rate in TRAINING_RATES],
    # One update per round: larger ones.
    "man-first-order": [Rates(meta=rate, adaptation=0.02) for rate in (0.1, 0.3, 1.0)],
}
ADAPTATION_RATES = (0.005, 0.02)  # of the steps before an agent is tested


def main() -> None:
    options = arguments("man_tuning", 1, __doc__, runs="man", presets=tuple(PRESETS))
    started = time.time()
    found = {
        data: tuned(data, rounds, options.runs)
        for data, rounds in PRESETS[options.preset].items()
        if data != "digits" or options.preset == "quick"  # tuned apart
    }
    name = "man_tuning_quick" if options.preset == "quick" else "man_tuning"
    finish(name, {"data": found}, seeds=[SEED], started=started, folder=options.out)


def tuned(data: DataName, rounds: int, folder: Path) -> dict:
    """All trials of all methods with a data set, and the best one of each method."""
    problem = ProblemConfig(data=data, tuning=True)
    found = {}
    for method, trials in TRIALS.items():
        rows = []
        for rates in trials:
            config = TrainingConfig(method=method, rounds=round(SHARE * rounds), rates=rates, seed=SEED)
            rows += scored(Run(problem=problem, training=config), folder)
        plain = [row for row in rows if row["test_rate"] == 0]
        adapted = [row for row in rows if row["test_rate"] > 0]
        best = {
            label: max(group, key=lambda row: row["score"])
            for label, group in (("as it is", plain), ("adapted", adapted))
            if group
        }
        found[method] = {"trials": rows, "best": best}
    return found


def scored(run: Run, folder: Path) -> list[dict]:
    """The scores of one training, by the rate of adaptation before the test."""
    problem, (found, _) = problem_of(run.problem, SEED), trained(run, folder)
    rows = []
    for rate in (0.0, *(ADAPTATION_RATES if METHODS[run.training.method].collaborates else ())):
        groups = outcome(problem, run.training, found.params, jax.random.key(1), rate, STEPS if rate else 0)
        accuracies = [np.mean(np.asarray(group.accuracy)) for group in groups.values()]
        rates = run.training.rates
        rows.append(
            {
                "rate": rates.meta,
                "adaptation_rate": rates.adaptation,
                "server_rate": rates.server,
                "test_rate": rate,
                "score": float(np.mean(accuracies)),
            }
        )
    return rows


if __name__ == "__main__":
    main()
