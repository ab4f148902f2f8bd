"""MAN Table I: accuracy of agents in environments seen in training, and of agents that join later in others.

    lameta reproduce table1           # or python experiments/table1.py [--preset reduced] [--seeds 5] [--out DIR]

A seed draws environments, initial weights and batches, the same for all methods. All methods take the same number of
rounds and of gradients per round, but for "MAN, twice the gradients", which makes as many meta-updates as FedAvg makes
steps. Their rates were chosen on other agents by man_tuning.py; that row has those of MAN. "MAN, printed rates" is
(6) to the letter at the rates of the paper's experiments.
"""

import time
from pathlib import Path

import jax
import numpy as np
from common import arguments, finish, interval, mean_rows
from man_figures import accuracy_bars
from man_study import PAPER_RATES, PRESETS, STEPS, problem_of, run_of, trained, tuned_rates

from lameta_jax.meta.federated import Rates
from lameta_jax.meta.problems import DataName, ProblemConfig
from lameta_jax.meta.training import outcome

ROWS = {
    "local training": ("local", "as it is"),
    "joint training (FedAvg)": ("fedavg", "as it is"),
    "FedAvg, fine-tuned": ("fedavg", "adapted"),
    "Reptile": ("reptile", "adapted"),
    "Per-FedAvg, first order": ("per-fedavg", "adapted"),
    "MAN": ("man", "adapted"),
    "MAN, twice the gradients": ("man-steps", "adapted"),
    "MAN, one update per round": ("man-first-order", "adapted"),
    "MAN, printed rates": ("man-first-order", "printed"),
}
"""Name of a row, method, and what its agents are tested with."""
LONG_ROWS = ("MAN, twice the gradients", "MAN, one update per round", "MAN, printed rates")
LONG = 1000  # rounds of the paper
PAPER = {
    "mnist": {
        "local training": {"seen": [96.17, 98.39]},
        "joint training (FedAvg)": {"seen": [95.59, 97.88], "unseen": [93.52, 96.85]},
        "MAN": {"seen": [97.28, 99.33], "unseen": [96.43, 97.98]},
    },
    "widar": {
        "local training": {"seen": [81.03, 96.22]},
        "joint training (FedAvg)": {"seen": [68.06, 84.50], "unseen": [83.25, 84.51]},
        "MAN": {"seen": [85.06, 95.11], "unseen": [82.79, 86.69]},
    },
}
"""Accuracies in the paper in percent, of the worst and of the best agent."""


def main() -> None:
    options = arguments("table1", 5, __doc__, runs="man", presets=tuple(PRESETS))
    started, seeds = time.time(), list(range(options.seeds))
    found = {
        data: table(data, rounds, rows_of(data, options.preset), seeds, options.runs)
        for data, rounds in PRESETS[options.preset].items()
    }
    if "digits" in found:
        found["digits"]["printed_long"] = printed_for(LONG, seeds, options.runs)
    accuracy_bars(options.out / "table1.png", {data: found[data]["rows"] for data in found}, PAPER)
    finish(
        "table1", {"preset": options.preset, "data": found}, seeds=seeds, started=started, folder=options.out
    )


def printed_for(rounds: int, seeds: list[int], folder: Path) -> dict:
    """The printed algorithm at its printed rates for the paper's number of rounds, on the digits."""
    rows = [row("digits", rounds, "man-first-order", "printed", seed, folder)[0] for seed in seeds]
    return {"rounds": rounds, "row": mean_rows(rows)}


def rows_of(data: DataName, preset: str) -> list[str]:
    """Rows for a data set; "reduced" leaves those that take longest, or need many rounds, to the digits."""
    if preset == "reduced" and data != "digits":
        return [label for label in ROWS if label not in LONG_ROWS]
    return list(ROWS)


def table(data: DataName, rounds: int, labels: list[str], seeds: list[int], folder: Path) -> dict:
    """Rows for a data set: intervals over seeds."""
    accuracies = {
        label: [row(data, rounds, *ROWS[label], seed, folder) for seed in seeds] for label in labels
    }
    rows = {label: mean_rows([found for found, _ in each]) for label, each in accuracies.items()}
    against = {
        label: mean_rows(
            [less(man, other) for (man, _), (other, _) in zip(accuracies["MAN"], each, strict=True)]
        )
        for label, each in accuracies.items()
        if label != "MAN"
    }
    seconds = {label: interval([time for _, time in each]) for label, each in accuracies.items()}
    return {
        "rounds": rounds,
        "rates": {label: rates_row(data, *ROWS[label]) for label in labels},
        "rows": rows,
        "man_minus": against,
        "seconds": seconds,
        "paper_percent": PAPER.get(data, {}),
    }


def rates_row(data: DataName, method: str, test: str) -> dict[str, float]:
    """The rates of a row."""
    rates, test_rate = rates_for(data, method, test)
    names = {
        "training": rates.meta,
        "adaptation": rates.adaptation,
        "server": rates.server,
        "test": test_rate,
    }
    return {name: float(value) for name, value in names.items()}


def rates_for(data: DataName, method: str, test: str) -> tuple[Rates, float]:
    """The rates of a training, and that of the adaptation before the test: the paper's, or the tuned ones."""
    if test == "printed":
        return PAPER_RATES, float(PAPER_RATES.adaptation)
    return tuned_rates(data, method, test)


def row(data: DataName, rounds: int, method: str, test: str, seed: int, folder: Path) -> tuple[dict, float]:
    """Accuracies of one training, by group of agents, and its seconds."""
    rates, test_rate = rates_for(data, method, test)
    run = run_of(ProblemConfig(data=data), method, rounds, rates, seed)
    found, seconds = trained(run, folder)
    steps = STEPS if test_rate else 0
    groups = outcome(
        problem_of(run.problem, seed), run.training, found.params, jax.random.key(seed), test_rate, steps
    )
    named = {name: np.asarray(group.accuracy) for name, group in groups.items()}
    parts = {"worst": np.min, "mean": np.mean, "best": np.max}
    return {
        f"{name} ({part})": float(of(group)) for name, group in named.items() for part, of in parts.items()
    }, seconds


def less(man: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    return {name: man[name] - other[name] for name in other}


if __name__ == "__main__":
    main()
