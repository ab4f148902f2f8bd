"""`lameta bench`: how fast this package is beside others, measured in the same run."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from lameta_jax.cli.common import BadInputError, say, write_json, write_table
from lameta_jax.cli.reproduce import experiments_folder


class Subject(NamedTuple):
    """What a benchmark is about, and what must be installed for it."""

    about: str
    peers: tuple[str, ...] = ()


SUBJECTS = {
    "qoe": Subject("QoE of all chains and the exact optimum, beside NumPy (a minute)"),
    "env": Subject("environment steps, beside Gymnasium and gymnax (two minutes)", ("gymnasium", "gymnax")),
    "ppo": Subject(
        "PPO training, beside Stable-Baselines3 (ten minutes)",
        ("gymnasium", "torch", "stable_baselines3", "sb3_contrib"),
    ),
    "queue": Subject("queue simulation, beside Ciw, Numba and NumPy (two minutes)", ("ciw", "numba")),
    "dpo": Subject(
        "a step of preference distillation, beside TRL (a quarter of an hour)",
        ("torch", "transformers", "trl", "peft"),
    ),
    "man": Subject("a step of meta-learning, beside torch.func (ten minutes)", ("torch",)),
    "sweep": Subject("a sweep of 256 trainings, beside one training after the other (ten minutes)"),
    "profile": Subject("where the time of a step of PPO, IoKD and MAN goes (five minutes)", ("torch",)),
    "scaling": Subject(
        "how time and memory grow, and how near the ceilings programs run (ten minutes)", ("torch",)
    ),
}


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """Measure how fast this package is beside others: results files and a table."""

    subjects: tyro.conf.Positional[tuple[str, ...]] = ()
    """qoe, env, ppo, queue, dpo, man, sweep, profile, scaling; none given: all"""
    quick: bool = False  # seconds each, to see that it works: not to be quoted
    out: Annotated[str, tyro.conf.arg(metavar="DIR")] = "runs/bench"  # folder for the results files
    json: bool = False  # the comparisons as JSON instead of a table


def bench(config: BenchConfig) -> None:
    """Run every benchmark as a program of its own, one after the other; a failed one does not stop the others."""
    subjects = tuple(dict.fromkeys(config.subjects)) or tuple(SUBJECTS)
    for subject in subjects:
        if subject not in SUBJECTS:
            raise BadInputError(f"subject = {subject!r} must be one of {', '.join(SUBJECTS)}")
    check_peers(subjects)
    folder = Path(config.out)
    if os.path.lexists(folder) and not folder.is_dir():
        raise BadInputError(f"--out: {folder} must be a folder")
    scripts, failed = experiments_folder() / "benchmarks", {}
    for subject in subjects:
        say(f"{subject}: {SUBJECTS[subject].about}")
        command = [sys.executable, str(scripts / f"bench_{subject}.py"), "--out", config.out]
        code = run(command + ["--quick"] * config.quick)
        if code:
            failed[subject] = code
    done = [subject for subject in subjects if subject not in failed]
    found = {subject: read_comparisons(folder, subject) for subject in done}
    if config.json:
        results = {subject: str(results_path(folder, subject)) for subject in done}
        write_json({"quick": config.quick, "results": results, "comparisons": found})
    elif done:
        write_table(table(found))
    if config.quick:
        say("--quick: short measurements, not to be quoted")
    if failed:
        codes = ", ".join(f"{subject} with exit code {code}" for subject, code in failed.items())
        raise RuntimeError(f"benchmarks failed: {codes}, see above")


def check_peers(subjects: tuple[str, ...]) -> None:
    """Refuses before anything is measured what lacks its peers."""
    missing = {
        name: subject
        for subject in subjects
        for name in SUBJECTS[subject].peers
        if importlib.util.find_spec(name) is None
    }
    if missing:
        names, subject = ", ".join(missing), next(iter(missing.values()))
        raise BadInputError(f"{names} not installed, which {subject} needs: pip install 'lameta_jax[bench]'")


def run(command: list[str]) -> int:
    """The exit code of a benchmark; what it prints is progress, but for the name of its results file."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "JAX_ENABLE_COMPILATION_CACHE": "false"}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # compiling is measured, so nothing may be kept
    return subprocess.run(command, check=False, env=environment, stdout=subprocess.DEVNULL).returncode


def results_path(folder: Path, subject: str) -> Path:
    return folder / f"bench_{subject}.json"


def read_comparisons(folder: Path, subject: str) -> list[dict[str, Any]]:
    """What the results file of a benchmark compares."""
    return json.loads(results_path(folder, subject).read_text())["comparisons"]


def table(found: dict[str, list[dict[str, Any]]]) -> list[list[str]]:
    """A line for every comparison: how many times as fast, the aim, and whether that is met."""
    rows = [["SUBJECT", "WHAT", "OURS", "PEER", "RATIO", "AIM", "MET"]]
    for subject, comparisons in found.items():
        for one in comparisons:
            aim = one["aim"]
            bound = ">= " if one.get("lower_bound") else ""
            met = "" if aim is None else ("yes" if is_met(one) else "no")
            shown_aim = "" if aim is None else f"{aim:g}"
            ratio = f"{bound}{one['ratio']:.3g}"
            rows.append([subject, one["what"], one["ours"], one["peer"], ratio, shown_aim, met])
    return rows


def is_met(comparison: dict[str, Any]) -> bool:
    """Whether a comparison reaches its aim; what never ended on our side reaches none."""
    return comparison["ratio"] >= comparison["aim"] and comparison.get("reached_by_ours", True)
