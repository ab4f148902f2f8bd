"""`lameta sweep`: policies trained with many settings and seeds at once, in chunks that can be interrupted."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

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
from lameta_jax.cli.sweep_engine import (
    all_runs,
    engine,
    halving_of,
    policy_config,
    search,
)
from lameta_jax.cli.sweep_report import remarks, reporter, rows, write_results
from lameta_jax.network.network import Scenario
from lameta_jax.network.schema import scenario_to_mapping
from lameta_jax.pipeline.own_policy import ALGORITHMS
from lameta_jax.pipeline.policy_sweep import ANY, PolicySweep
from lameta_jax.scale.checkpoint import CheckpointError, digest
from lameta_jax.scale.cores import cores_as_devices
from lameta_jax.scale.ray_engine import WorkerError
from lameta_jax.scale.space import SpaceError


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
    engine: Literal["local", "ray"] = "local"
    """ray: chunks are spread over the workers of a Ray cluster, or of a Ray of this machine alone"""
    workers: int | None = None  # of Ray; not given: as many as the cluster has room for
    trials: int | None = None
    """given: Optuna chooses the sizes (width=32,64,128) of so many trials, each with all other settings and seeds"""
    keep: int = 4  # best policies to write
    draw_seed: int = 0  # of the configurations that are drawn
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def sweep(config: SweepConfig) -> None:
    """Do all runs, write tables, best policies and a figure, and print the best configurations."""
    out = _checked(config)
    if config.engine == "local":
        cores_as_devices(config.devices)
    else:  # this process only hands out work, and would reserve memory of a GPU that a worker needs
        jax.config.update("jax_platforms", "cpu")
    scenarios = [read_network(name) for name in config.network]
    purpose = _purpose(config, scenarios)
    with refusing(SpaceError, ValueError, CheckpointError, MemoryError, WorkerError, ConnectionError):
        trained = PolicySweep(scenarios, config.preference, policy_config(config))
        groups = all_runs(config, trained, {})
        do = engine(config, scenarios, trained, halving_of(config, groups), purpose, reporter())
        try:
            if config.trials is None:
                swept = do(groups, out / "chunks")
            else:
                swept = search(config, trained, do, out / "search", purpose)
        except KeyboardInterrupt:
            say(f"the same command goes on from what is in {out}")
            raise
        except ModuleNotFoundError as missing:
            extra = "ray" if missing.name == "ray" else "sweep"
            raise BadInputError(f"{missing.name} is missing: pip install 'lameta_jax[{extra}]'") from None
        summary = write_results(out, trained, list(groups[0].columns), swept)
    if config.json:
        write_json(summary)
    else:
        write_table(rows(summary))
        for remark in remarks(summary):
            say(remark)


def _checked(config: SweepConfig) -> Path:
    check_counts(config, "random", "seeds", "stages", "updates", "users", "width", "devices", "workers")
    check_counts(config, "trials", "keep")
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


def _purpose(config: SweepConfig, scenarios: Sequence[Scenario]) -> dict[str, str]:
    """What the results depend on beside the runs themselves, by the names that a refusal shows."""
    options = ("algorithm", "updates", "users", "stages", "eta")
    given = {f"--{name}": str(getattr(config, name)) for name in options}
    networks = digest([scenario_to_mapping(one) for one in scenarios])
    return given | {"network": networks, "version of lameta": __version__}
