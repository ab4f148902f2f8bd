"""`lameta sweep`: policies trained with many settings and seeds at once, in chunks that can be interrupted."""

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro

from lameta_jax import __version__
from lameta_jax.cli.common import (
    BadInputError,
    check_counts,
    check_seed,
    read_network,
    read_preference,
    refusing,
    say,
    write_json,
    write_table,
)
from lameta_jax.cli.sweep_options import read_varied
from lameta_jax.cli.sweep_report import METRIC, remarks, reporter, rows, write_results
from lameta_jax.network.network import Scenario
from lameta_jax.network.schema import scenario_to_mapping
from lameta_jax.pipeline.own_policy import ALGORITHMS
from lameta_jax.pipeline.policy_sweep import ANY, PolicySweep, PolicySweepConfig, checked_space
from lameta_jax.scale.checkpoint import CheckpointError
from lameta_jax.scale.chunks import SweepConfig as ChunkConfig
from lameta_jax.scale.distributed import device_mesh
from lameta_jax.scale.halving import HalvingConfig, halve
from lameta_jax.scale.space import Group, SpaceError, grid_runs, random_runs
from lameta_jax.scale.sweep import sweep as run_sweep


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """Train composition policies with many settings and seeds, and say which settings are best.

    Every combination of the values is trained with every seed, or --random of them. Policies are compared by the share
    of the optimum that they give to users they have not met; the best configuration is held against other users still
    (test_share). Every finished chunk of runs is kept in --out: after an interruption the same command goes on.
    """

    out: Annotated[str, tyro.conf.arg(metavar="DIR")]  # folder for tables, policies, figure and what is kept
    vary: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUES")] = ()
    """settings: learning_rate=1e-3,3e-3 or entropy_coefficient=log:0.01..0.1 or gamma=0.9..1 or width=32,64"""
    network: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE")] = ("lameta-81",)
    """network files or named networks; each is a setting, those of equal shapes share a program"""
    preference: Annotated[tuple[str, ...], tyro.conf.arg(metavar="C,B,L,P")] = (ANY,)
    """what users want; each is a setting. any: users differ"""
    random: int | None = None  # configurations to draw; not given: all combinations
    seeds: int = 5  # trainings of each configuration, with seeds 0, 1, ...
    stages: int = (
        1  # more than 1: successive halving, the worse configurations stop at the end of every stage
    )
    eta: int = 4  # one of so many configurations goes on to the next stage
    algorithm: Literal["ppo", "reinforce"] = "ppo"
    updates: int = 50  # policy updates of a training that is not stopped
    users: int = 256  # episodes in every update
    width: int | None = None  # runs at once; not given: measured, within --memory-gb
    memory_gb: float = 4.0  # that a program may need
    devices: int | None = None  # that share the runs of a chunk; not given: all, on a processor one per core
    keep: int = 4  # best policies to write
    draw_seed: int = 0  # of the configurations that are drawn
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def sweep(config: SweepConfig) -> None:
    """Do all runs, write tables, best policies and a figure, and print the best configurations."""
    out, mesh = _checked(config), _mesh(config.devices)
    scenarios = [read_network(name) for name in config.network]
    with refusing(SpaceError, ValueError):
        trained = PolicySweep(scenarios, config.preference, _policy_config(config))
        groups, train = _plan(config, trained)
    chunks = ChunkConfig(
        metric=METRIC, width=config.width, memory_bytes=config.memory_gb * 1e9, keep=config.keep
    )
    folder, purpose = out / "chunks", _purpose(config, scenarios)
    with refusing(CheckpointError, SpaceError, MemoryError):
        try:
            swept = run_sweep(
                train, groups, chunks, folder=folder, purpose=purpose, mesh=mesh, report=reporter()
            )
        except KeyboardInterrupt:
            say(f"the same command goes on from {folder}")
            raise
        summary = write_results(out, trained, groups, swept)
    if config.json:
        write_json(summary)
    else:
        write_table(rows(summary))
        for remark in remarks(summary):
            say(remark)


def _checked(config: SweepConfig) -> Path:
    check_counts(config, "random", "seeds", "stages", "updates", "users", "width", "devices", "keep")
    check_seed(config.draw_seed)
    if config.memory_gb <= 0:
        raise BadInputError(f"--memory-gb: {config.memory_gb} must be > 0")
    if config.eta < 2:
        raise BadInputError(f"--eta: {config.eta} must be at least 2")
    for name, given in (("--network", config.network), ("--preference", config.preference)):
        if not given or len(set(given)) < len(given):
            raise BadInputError(f"{name}: at least one is needed, and none twice")
    for text in config.preference:
        if text != ANY:
            read_preference(text)
    minibatches = ALGORITHMS[config.algorithm].sizes["num_minibatches"]
    if config.users % minibatches:
        raise BadInputError(f"--users: {config.users} must be a multiple of the {minibatches} minibatches")
    out = Path(config.out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInputError(f"--out: {out} cannot be made ({error.strerror})") from None
    return out


def _mesh(devices: int | None) -> jax.sharding.Mesh | None:
    """The devices that share chunks. On a processor, cores become devices: that is how runs are done side by side."""
    with contextlib.suppress(RuntimeError):  # where jax has been used before, devices are what they are
        jax.config.update("jax_num_cpu_devices", devices or _cores())
    with refusing(ValueError):
        mesh = device_mesh(devices)
    return mesh if mesh.size > 1 else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _policy_config(config: SweepConfig) -> PolicySweepConfig:
    return PolicySweepConfig(algorithm=config.algorithm, updates=config.updates, users=config.users)


def _plan(config: SweepConfig, trained: PolicySweep) -> tuple[list[Group], Any]:
    """All runs, and what trains them."""
    space, seeds = checked_space(config.algorithm, read_varied(config.vary)), range(config.seeds)
    groups: list[Group] = []
    for world, whole in enumerate(trained.spaces(space)):
        if config.random is None:
            found = grid_runs(whole, seeds)
        else:
            found = random_runs(whole, config.random, seeds, config.draw_seed)
        groups += trained.in_world(found, world)
    if config.stages == 1:
        return groups, trained.train
    together = min(group.size for group in groups) // config.seeds
    halving = HalvingConfig(
        configurations=together, num_seeds=config.seeds, stages=config.stages, eta=config.eta, metric=METRIC
    )
    return groups, halve(trained.staged(halving), halving)


def _purpose(config: SweepConfig, scenarios: Sequence[Scenario]) -> dict[str, str]:
    """What the results depend on beside the runs themselves, by the names that a refusal shows."""
    options = ("algorithm", "updates", "users", "stages", "eta")
    given = {f"--{name}": str(getattr(config, name)) for name in options}
    networks = json.dumps([scenario_to_mapping(one) for one in scenarios], sort_keys=True)
    return given | {
        "network": hashlib.sha256(networks.encode()).hexdigest(),
        "version of lameta": __version__,
    }
