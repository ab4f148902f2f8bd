"""`lameta meta`: an initialisation that agents adapt to their environments, in steps that can be interrupted."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro

from lameta_jax import __version__
from lameta_jax.cli.common import (
    BadInputError,
    check_counts,
    check_output,
    check_seed,
    refusing,
    say,
    write_json,
    write_table,
)
from lameta_jax.meta.classification import Errors
from lameta_jax.meta.datasets import DatasetError
from lameta_jax.meta.federated import Rates
from lameta_jax.meta.model_files import save_initialisation
from lameta_jax.meta.problems import Problem, ProblemConfig, make_problem
from lameta_jax.meta.training import Report, TrainingConfig, outcome, train
from lameta_jax.scale.checkpoint import CheckpointError, write_whole
from lameta_jax.scale.cores import cores_as_devices


@dataclass(frozen=True, kw_only=True)
class Preset:
    """What is run unless an option says otherwise."""

    data: Literal["digits", "mnist", "widar"]
    rounds: int
    rates: Rates


PRESETS = {
    "quick": Preset(data="digits", rounds=100, rates=Rates(adaptation=0.02, meta=0.1)),
    "mnist": Preset(data="mnist", rounds=60, rates=Rates(adaptation=0.02, meta=0.1)),
    "widar": Preset(data="widar", rounds=40, rates=Rates(adaptation=0.02, meta=0.1)),
    "paper-mnist": Preset(data="mnist", rounds=1000, rates=Rates(adaptation=0.001, meta=0.005)),
    "paper-widar": Preset(data="widar", rounds=200, rates=Rates(adaptation=0.001, meta=0.005)),
}


@dataclass(frozen=True, kw_only=True)
class MetaConfig:
    """Meta-learn an initialisation with ten agents in different environments (MAN), and test it with five more.

    After every report the state is saved beside --out; after an interruption the same command goes on from there, to
    the same result. MNIST and Widar3.0 are looked for in the folder that LAMETA_DATA_DIR names.
    """

    out: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """where to write the initialisation (.safetensors); a file that is there is replaced at the very end"""
    preset: Literal["quick", "mnist", "widar", "paper-mnist", "paper-widar"] = "quick"
    """quick: handwritten digits, minutes; mnist, widar: rates that were tuned, fewer rounds; paper-…: as printed"""
    method: Literal["man", "man-steps", "man-round", "man-first-order", "per-fedavg", "reptile", "fedavg"] = (
        "man"
    )
    """man updates the meta-model after every step of adaptation (man-steps: twice as often), man-round and
    man-first-order once per round"""
    rounds: int | None = None  # T; not given: the preset's
    steps: int = 30  # E, gradients per agent and round, and steps of adaptation before the test
    collaborators: int = 10  # S, agents per round, of 10
    adaptation_rate: float | None = None  # beta; not given: the preset's
    meta_rate: float | None = None  # gamma; not given: the preset's
    server_rate: float = 1.0  # how far the shared model goes towards the mean of the agents' models
    concentration: float = 0.5  # p of the Dirichlet split: the smaller, the more environments differ
    rounds_per_report: int = 10  # rounds between two reports, after each of which the state is saved
    seed: int = 0  # of everything that is drawn
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def meta(config: MetaConfig) -> None:
    """Train, write the initialisation, and print what seen agents and agents that join get from it."""
    out, partial = _outputs(config)
    cores_as_devices()  # which agents are then spread over
    problem_config, training = _plan(config)
    with refusing(DatasetError, CheckpointError, ValueError):
        problem = make_problem(problem_config, config.seed)
    with refusing(CheckpointError):
        try:
            found = train(
                problem,
                training,
                partial,
                _purpose(problem_config, training),
                _reporter(training, time.time()),
            )
        except KeyboardInterrupt:
            if partial.exists():
                say(f"the same command goes on from {partial}")
            raise
        write_whole(out, lambda draft: save_initialisation(draft, problem.cnn, found.params))
        partial.unlink(missing_ok=True)
    summary = _summary(config, problem, training, found.params)
    if config.json:
        write_json(summary)
    else:
        write_table(_rows(summary))


def _plan(config: MetaConfig) -> tuple[ProblemConfig, TrainingConfig]:
    preset = PRESETS[config.preset]
    check_counts(config, "rounds", "steps", "collaborators", "rounds_per_report")
    for name in ("adaptation_rate", "meta_rate", "server_rate", "concentration"):
        value = getattr(config, name)
        if value is not None and not 0 < value < float("inf"):
            raise BadInputError(f"--{name.replace('_', '-')}: {value} must be > 0 and finite")
    if config.steps < 2 and config.method in ("man", "per-fedavg"):
        raise BadInputError(f"--steps: {config.method} takes two gradients per update, so at least 2 steps")
    check_seed(config.seed)
    problem = ProblemConfig(data=preset.data, concentration=config.concentration)
    if config.collaborators > problem.seen:
        raise BadInputError(f"--collaborators: {config.collaborators} must be at most {problem.seen}")
    rates = Rates(
        adaptation=preset.rates.adaptation if config.adaptation_rate is None else config.adaptation_rate,
        meta=preset.rates.meta if config.meta_rate is None else config.meta_rate,
        server=config.server_rate,
    )
    training = TrainingConfig(
        method=config.method,
        rounds=preset.rounds if config.rounds is None else config.rounds,
        steps=config.steps,
        rates=rates,
        collaborators=config.collaborators,
        rounds_per_report=config.rounds_per_report,
        seed=config.seed,
    )
    return problem, training


def _outputs(config: MetaConfig) -> tuple[Path, Path]:
    """Where the result and the unfinished training go; what would fail at the end is refused now."""
    check_output("--out", config.out)
    return Path(config.out), Path(f"{config.out}.partial")


def _purpose(problem: ProblemConfig, training: TrainingConfig) -> dict[str, str]:
    """What the result depends on, by the names that a refusal shows."""
    fields = {"preset or data": problem.data, "--concentration": problem.concentration}
    options = ("method", "rounds", "steps", "collaborators", "rounds_per_report", "seed")
    fields |= {f"--{name.replace('_', '-')}": getattr(training, name) for name in options}
    fields |= {f"--{name}-rate": getattr(training.rates, name) for name in ("adaptation", "meta", "server")}
    return {name: str(value) for name, value in fields.items()} | {"version of lameta": __version__}


def _reporter(training: TrainingConfig, started: float) -> Callable[[Report], None]:
    def report(told: Report) -> None:
        seconds = time.time() - started
        left = seconds / (told.done - told.resumed_at) * (training.rounds - told.done)
        say(
            f"round {told.done} of {training.rounds}: mean loss {np.mean(told.losses):.4f}, {seconds:.0f} s,"
            f" about {left:.0f} s left"
        )

    return report


def _summary(config: MetaConfig, problem: Problem, training: TrainingConfig, params: Any) -> dict[str, Any]:
    key = jax.random.key(config.seed)
    plain = outcome(problem, training, params, key, 0.0, 0)
    adapted = outcome(problem, training, params, key, float(training.rates.adaptation), config.steps)
    return {
        "out": config.out,
        "preset": config.preset,
        "method": config.method,
        "rounds": training.rounds,
        "seed": config.seed,
        "accuracy": {
            group: {"as it is": _spread(plain[group]), "adapted": _spread(adapted[group])} for group in plain
        },
    }


def _spread(found: Errors) -> dict[str, float]:
    accuracy = np.asarray(found.accuracy)
    return {"worst": float(accuracy.min()), "mean": float(accuracy.mean()), "best": float(accuracy.max())}


def _rows(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("agents", "model", "worst", "mean", "best")]
    for group, models in summary["accuracy"].items():
        for model, spread in models.items():
            rows.append((group, model, *(f"{100 * value:.2f}%" for value in spread.values())))
    return rows
