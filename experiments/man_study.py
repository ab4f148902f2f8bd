"""What the studies of MAN share: settings, trainings that are kept and shared, and the errors of (1) and (2).

A training is identified by all that its result depends on, and is kept under --runs, so that every study goes on where
it was stopped, and trains nothing that another study has trained.
"""

import hashlib
import json
import time
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, report

from lameta_jax.functional import Params
from lameta_jax.meta.classification import Errors
from lameta_jax.meta.errors import generalisation_error, personalisation_error
from lameta_jax.meta.federated import Federated, Rates
from lameta_jax.meta.problems import DataName, Problem, ProblemConfig, make_problem
from lameta_jax.meta.training import (
    Report,
    Trained,
    TrainingConfig,
    initial_params,
    make_method,
    outcome,
    train,
)
from lameta_jax.scale.checkpoint import packed, read_checkpoint, unpacked, write_checkpoint

PRESETS: dict[str, dict[DataName, int]] = {
    "quick": {"digits": 100},
    "reduced": {"digits": 100, "mnist": 60, "widar": 40},
    "paper": {"mnist": 1000, "widar": 200},
}
"""Rounds T by data set. "quick" takes minutes, "reduced" hours on two cores, "paper" wants a GPU."""
PAPER_RATES = Rates(adaptation=0.001, meta=0.005)
STEPS = 30  # E
TITLES = {"digits": "Digits", "mnist": "MNIST", "widar": "Widar3.0"}


@dataclass(frozen=True, kw_only=True)
class Run:
    """All that a training depends on."""

    problem: ProblemConfig
    training: TrainingConfig

    @property
    def name(self) -> str:
        content = json.dumps(asdict(self), sort_keys=True, default=float)
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        return f"{self.problem.data}-{self.training.method}-{self.training.seed}-{digest}"


@lru_cache(maxsize=2)
def problem_of(config: ProblemConfig, seed: int) -> Problem:
    return make_problem(config, seed)


@lru_cache(maxsize=16)
def _method(data: DataName, config: TrainingConfig) -> Federated:
    return make_method(problem_of(ProblemConfig(data=data), 0), config)


def method_of(run: Run) -> Federated:
    """The program; seeds, rates and splits share it where shapes agree."""
    config = run.training
    sizes = {"steps": config.steps, "batch_size": config.batch_size, "collaborators": config.collaborators}
    return _method(run.problem.data, TrainingConfig(method=config.method, **sizes))


def run_of(
    problem: ProblemConfig, method: str, rounds: int, rates: Rates, seed: int, **sizes: int | None
) -> Run:
    """A training of the studies; `sizes` are further fields of its config."""
    config = TrainingConfig(
        method=method,
        rounds=rounds,
        rates=rates,
        seed=seed,
        rounds_per_report=max(rounds // 12, 1),
        **{"steps": STEPS, **sizes},
    )
    return Run(problem=problem, training=config)


@cache
def _tuning(data: DataName) -> dict:
    name = "man_tuning_quick" if data == "digits" else "man_tuning"
    return json.loads((RESULTS / f"{name}.json").read_text())["data"][data]


def tuned_rates(data: DataName, method: str, test: str) -> tuple[Rates, float]:
    """What man_tuning.py chose for a method: its rates, and that of the adaptation before the test.

    Args:
      test: "as it is" or "adapted". Fine-tuned FedAvg is FedAvg as it was chosen, then adapted.
    """
    found = _tuning(data)["man" if method == "man-steps" else method]
    best = found["best"][test]
    if method == "fedavg" and test == "adapted":
        rate = found["best"]["as it is"]["rate"]
        rows = [row for row in found["trials"] if row["rate"] == rate and row["test_rate"] > 0]
        best = max(rows, key=lambda row: row["score"])
    rates = Rates(meta=best["rate"], adaptation=best["adaptation_rate"], server=best["server_rate"])
    return rates, best["test_rate"]


def trained(run: Run, folder: Path) -> tuple[Trained, float]:
    """Train, or take what was trained before; the seconds are those of the process that ended it."""
    folder.mkdir(parents=True, exist_ok=True)
    done, unfinished = folder / f"{run.name}.done", folder / f"{run.name}.partial"
    problem = problem_of(run.problem, run.training.seed)
    kept = read_checkpoint(done, {})
    if kept is None:
        begun = time.perf_counter()

        def tell(told: Report) -> None:
            seconds = time.perf_counter() - begun
            report(f"{run.name}: round {told.done}, loss {told.losses[-1]:.4f}, {seconds:.0f} s")

        found = train(problem, run.training, unfinished, {"run": run.name}, tell, method_of(run))
        kept = {"trained": packed(found), "seconds": time.perf_counter() - begun}
        write_checkpoint(done, {}, kept)
        unfinished.unlink(missing_ok=True)
    params = initial_params(problem, run.training, jax.random.key(0))
    return unpacked(Trained(params, params, np.zeros(0)), kept["trained"]), float(kept["seconds"])


def local_optima(data: DataName, rounds: int, seed: int, folder: Path) -> jax.Array:
    """Loss of each seen agent's local optimum on all that the agent holds: that of local training."""
    rates, _ = tuned_rates(data, "local", "as it is")
    run = run_of(ProblemConfig(data=data), "local", rounds, rates, seed)
    return jnp.asarray(seen_errors(run, trained(run, folder)[0].params, 0.0, 0).training_loss)


def seen_errors(run: Run, params: Params, test_rate: float, steps: int) -> Errors:
    """Losses of the seen agents, on their own samples too, after these steps of adaptation."""
    seed = run.training.seed
    problem, key = problem_of(run.problem, seed), jax.random.key(seed)
    return outcome(problem, run.training, params, key, test_rate, steps, True, ("seen",))["seen"]


def two_errors(run: Run, params: Params, test_rate: float, optimum: jax.Array) -> dict[str, float]:
    """(1) and (2) of the seen agents after adaptation, with the losses that they are made of."""
    found = seen_errors(run, params, test_rate, run.training.steps)
    own_loss = jnp.asarray(found.training_loss)
    means = {
        "personalisation": personalisation_error(own_loss, optimum),
        "generalisation": generalisation_error(found.test_loss, own_loss),
        "test loss": found.test_loss,
        "accuracy": found.accuracy,
    }
    return {name: float(values.mean()) for name, values in means.items()}


def sweep_rounds(preset: str) -> tuple[DataName, int]:
    """The data set of the studies with many trainings, the first of the preset, and their rounds, two thirds of its."""
    data = next(iter(PRESETS[preset]))
    return data, 2 * PRESETS[preset][data] // 3
