"""Who does the runs of `lameta sweep`: this process, or Ray workers; and which sizes, if Optuna is to choose them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from lameta_jax.cli.common import BadInputError, refusing, say
from lameta_jax.cli.sweep_options import read_varied
from lameta_jax.cli.sweep_report import METRIC
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.network import Scenario
from lameta_jax.network.schema import scenario_to_mapping
from lameta_jax.pipeline.policy_sweep import PolicySweep, PolicySweepConfig, checked_space
from lameta_jax.scale.chunks import Block, Train
from lameta_jax.scale.chunks import SweepConfig as ChunkConfig
from lameta_jax.scale.distributed import device_mesh
from lameta_jax.scale.halving import HalvingConfig, halve
from lameta_jax.scale.optuna_search import Trial, optuna_search
from lameta_jax.scale.ray_engine import ray_sweep
from lameta_jax.scale.space import Fixed, Group, grid_runs, random_runs
from lameta_jax.scale.sweep import Progress, Swept, sweep

if TYPE_CHECKING:
    from lameta_jax.cli.sweep import SweepConfig

Report = Callable[[Progress], None]
Do = Callable[[Sequence[Group], Path], Swept]


def all_runs(config: "SweepConfig", trained: PolicySweep, fixed: Mapping[str, Fixed]) -> list[Group]:
    """The runs that the options ask for, with some settings fixed to what a search has chosen."""
    space = checked_space(config.algorithm, read_varied(config.vary)) | dict(fixed)
    seeds, groups = range(config.seeds), []
    for world, whole in enumerate(trained.spaces(space)):
        if config.random is None:
            found = grid_runs(whole, seeds)
        else:
            found = random_runs(whole, config.random, seeds, config.draw_seed)
        groups += trained.in_world(found, world)
    return groups


def halving_of(config: "SweepConfig", groups: Sequence[Group]) -> HalvingConfig | None:
    """How configurations are stopped early, if they are: all of a program begin together."""
    if config.stages == 1:
        return None
    together = min(group.size for group in groups) // config.seeds
    return HalvingConfig(
        configurations=together, num_seeds=config.seeds, stages=config.stages, eta=config.eta, metric=METRIC
    )


def engine(
    config: "SweepConfig",
    scenarios: Sequence[Scenario],
    trained: PolicySweep,
    halving: HalvingConfig | None,
    purpose: Mapping[str, str],
    report: Report,
) -> Do:
    """Does groups of runs, keeping chunks in a folder."""
    chunks = ChunkConfig(
        metric=METRIC, width=config.width, memory_bytes=config.memory_gb * 1e9, keep=config.keep
    )
    if config.engine == "local":
        train = training(trained, halving)
        return lambda groups, folder: sweep(
            train,
            groups,
            chunks,
            folder=folder,
            purpose=purpose,
            mesh=cores_mesh(config.devices),
            report=report,
        )
    networks = [scenario_to_mapping(one) for one in scenarios]
    make = partial(training_from, networks, config.preference, policy_config(config), halving)
    return lambda groups, folder: ray_sweep(
        make, groups, chunks, folder=folder, purpose=purpose, workers=config.workers, report=report
    )


def search(
    config: "SweepConfig", trained: PolicySweep, do: Do, folder: Path, purpose: Mapping[str, str]
) -> Swept:
    """Optuna chooses the settings that are compiled in; all others are varied within every trial."""
    space = checked_space(config.algorithm, read_varied(config.vary))
    sizes = {name: axis.values for name, axis in space.items() if isinstance(axis, Fixed)}
    if not sizes:
        raise BadInputError("--trials: a search needs --vary of a size, such as width=32,64,128")

    def report(trial: Trial) -> None:
        chosen = ", ".join(f"{name} {value}" for name, value in trial.sizes.items())
        say(f"trial {trial.number + 1} of {config.trials}: {chosen}: {trial.value:.4f}")

    found = optuna_search(
        do,
        lambda fixed: all_runs(config, trained, fixed),
        sizes,
        folder=folder,
        trials=config.trials or 0,
        metric=METRIC,
        seed=config.draw_seed,
        purpose=dict(purpose) | {"--random": str(config.random), "--seeds": str(config.seeds)},
        report=report,
    )
    return Swept(found.table, found.best, [])


def policy_config(config: "SweepConfig") -> PolicySweepConfig:
    """What all trainings have in common."""
    return PolicySweepConfig(algorithm=config.algorithm, updates=config.updates, users=config.users)


def training(trained: PolicySweep, halving: HalvingConfig | None) -> Train | Block:
    """What a sweep does."""
    return trained.train if halving is None else halve(trained.staged(halving), halving)


def training_from(
    networks: Sequence[Mapping[str, Any]],
    preferences: Sequence[str],
    config: PolicySweepConfig,
    halving: HalvingConfig | None,
) -> Train | Block:
    """The same in a worker, from what can be sent there."""
    scenarios = [parse_scenario(dict(one), "network") for one in networks]
    return training(PolicySweep(scenarios, preferences, config), halving)


def cores_mesh(devices: int | None) -> jax.sharding.Mesh | None:
    """The devices that share chunks; none if there is one."""
    with refusing(ValueError):
        mesh = device_mesh(devices)
    return mesh if mesh.size > 1 else None
