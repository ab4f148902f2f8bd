"""`lameta train`: a composition policy for a network of one's own, in steps that can be interrupted."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
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
    is_same_file,
    read_network,
    refusing,
    say,
    write_json,
    write_table,
)
from lameta_jax.composition.env import EnvConfig
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.policy_files import TrainedPolicy, save_policy
from lameta_jax.composition.rollout import EpisodeConfig
from lameta_jax.composition.slots import SlotConfig
from lameta_jax.network.network import Scenario
from lameta_jax.network.schema import scenario_to_mapping
from lameta_jax.pipeline.own_policy import (
    ALGORITHMS,
    OwnPolicyConfig,
    Report,
    share_of_optimum,
    train_policy,
)
from lameta_jax.scale.checkpoint import CheckpointError, digest, write_whole
from lameta_jax.scale.cores import cores_as_devices
from lameta_jax.scale.distributed import device_mesh, join_processes


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A policy that composes chains on a network, for users of any preferences, by reinforcement learning.

    Users are drawn uniformly from all preferences. After every report the state is saved beside --out; after an
    interruption the same command goes on from there, to the same result. Use it by
    lameta compose "..." --network NETWORK --policy FILE.
    """

    out: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """where to write the policy (.safetensors); a file that is there is replaced at the very end"""
    network: Annotated[str, tyro.conf.arg(metavar="FILE")] = "lameta-81"  # a network file or a named network
    algorithm: Literal["ppo", "reinforce"] = "ppo"
    updates: int = 200  # policy updates
    users: int = 256  # episodes in every update, over all slots
    num_slots: int = 1  # slots in every update; more than one makes sense where conditions vary
    slots: SlotConfig = SlotConfig()
    """how conditions vary from slot to slot; the default is the network as its file says"""
    updates_per_report: int = 10  # updates between two reports, after each of which the state is saved
    log: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """where to write one JSON object per update: reward, QoE, factors, losses"""
    tensorboard: Annotated[str | None, tyro.conf.arg(metavar="DIR")] = None
    """folder for the same curves as TensorBoard shows them; needs the extra of that name"""
    devices: int | None = None
    """devices that share the episodes, of all processes of the job; on a processor, one per core at most"""
    seed: int = 0  # of everything that is drawn
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def train(config: TrainConfig) -> None:
    """Train a policy, write it, and print what share of the optimum it gives to users it has not met."""
    own, mesh = _own_config(config), _mesh(config.devices)
    scenario = read_network(config.network)
    out, partial = _outputs(config)
    first = jax.process_index() == 0  # of several processes one alone writes and speaks
    with refusing(CheckpointError), _board(config.tensorboard if first else None) as board:
        report = _reporter(config, time.time(), board) if first else lambda _: None
        try:
            policy = train_policy(scenario, own, partial, _purpose(config, scenario), report, mesh)
        except KeyboardInterrupt:
            if partial.exists():
                say(f"the same command goes on from {partial}")
            raise
        if not first:
            return
        write_whole(out, lambda draft: save_policy(draft, policy))
        partial.unlink(missing_ok=True)
    summary = _summary(config, scenario, policy)
    if config.json:
        write_json(summary)
    else:
        write_table(
            [
                ("policy", summary["out"]),
                ("network", summary["network"]),
                (f"share of the {summary['compared_with']}", f"{summary['share']:.4f}"),
                ("chains that failed", f"{summary['failed']:.1%}"),
            ]
        )


def _own_config(config: TrainConfig) -> OwnPolicyConfig:
    check_counts(config, "updates", "users", "num_slots", "updates_per_report", "devices")
    check_seed(config.seed)
    sizes, devices = ALGORITHMS[config.algorithm].sizes, config.devices or 1
    divisor = config.num_slots * sizes["num_minibatches"] * devices
    if config.users % divisor:
        raise BadInputError(
            f"--users: {config.users} must be a multiple of {divisor}, --num-slots times the"
            f" {sizes['num_minibatches']} minibatches of {config.algorithm}"
            + (f" times the {devices} devices" if devices > 1 else "")
        )
    return OwnPolicyConfig(
        algorithm=config.algorithm,
        learner=LearnerConfig(num_updates=config.updates, **sizes),
        episodes=EpisodeConfig(
            num_slots=config.num_slots, users_per_slot=config.users // config.num_slots, slots=config.slots
        ),
        env=EnvConfig(mask_types=True),  # as `lameta compose` plays it
        updates_per_report=config.updates_per_report,
        seed=config.seed,
    )


def _mesh(devices: int | None) -> jax.sharding.Mesh | None:
    """The devices that share the episodes; joins the other processes of the job, if there are any."""
    if devices is None:
        return None
    with refusing(ValueError, RuntimeError):
        processes = join_processes()
        if devices % processes:
            raise BadInputError(f"--devices: {devices} must be a multiple of the {processes} processes")
        cores_as_devices(devices // processes)
        return device_mesh(devices)


def _outputs(config: TrainConfig) -> tuple[Path, Path]:
    """Where the policy and the unfinished training go; what would fail at the end is refused now."""
    out = Path(config.out)
    for option, path in (("--out", config.out), ("--log", config.log)):
        if path is None:
            continue
        check_output(option, path)
        if is_same_file(path, config.network):
            raise BadInputError(f"{option}: {path} must not be the network file")
    return out, Path(f"{out}.partial")


def _purpose(config: TrainConfig, scenario: Scenario) -> dict[str, str]:
    """What the result depends on, by the names that a refusal shows."""
    options = ("algorithm", "updates", "users", "num_slots", "slots", "updates_per_report", "seed")
    given = {f"--{name.replace('_', '-')}": str(getattr(config, name)) for name in options}
    return given | {"network": digest(scenario_to_mapping(scenario)), "version of lameta": __version__}


def _reporter(config: TrainConfig, started: float, board: Any) -> Callable[[Report], None]:
    def report(told: Report) -> None:
        if config.log is not None:
            _write_log(Path(config.log), told)
        if board is not None:
            _write_board(board, told)
        seconds = time.time() - started
        left = seconds / (told.done - told.resumed_at) * (config.updates - told.done)
        qoe = float(np.mean(told.metrics["episode/qoe"]))
        say(
            f"update {told.done} of {config.updates}: mean QoE {qoe:.4f}, {seconds:.0f} s, about {left:.0f} s left"
        )

    return report


@contextmanager
def _board(folder: str | None) -> Iterator[Any]:
    """A writer of TensorBoard's files, closed in the end, as only that waits for all to be written; None for none."""
    if folder is None:
        yield None
        return
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise BadInputError(
            "--tensorboard needs tensorboardX: pip install 'lameta_jax[tensorboard]'"
        ) from None
    try:
        board = SummaryWriter(folder)
    except OSError as error:
        raise BadInputError(f"--tensorboard: {folder} cannot be written ({error.strerror})") from None
    with closing(board):
        yield board


def _write_board(board: Any, told: Report) -> None:
    first = told.done - len(told.metrics["episode/qoe"])
    for name, series in told.metrics.items():
        for place, value in enumerate(series):
            board.add_scalar(name, float(value), first + place + 1)
    board.flush()


def _write_log(log: Path, told: Report) -> None:
    """Append the updates of a report, after what the log says of the updates before it."""
    first = told.done - len(told.metrics["episode/qoe"])
    before = log.read_text("utf-8").splitlines(keepends=True)[:first] if first and log.is_file() else []
    rows = [
        {"update": first + place + 1} | {name: float(series[place]) for name, series in told.metrics.items()}
        for place in range(told.done - first)
    ]
    write_whole(
        log, lambda draft: draft.write_text("".join([*before, *(json.dumps(row) + "\n" for row in rows)]))
    )


def _summary(config: TrainConfig, scenario: Scenario, policy: TrainedPolicy) -> dict[str, Any]:
    found = share_of_optimum(scenario, policy, jax.random.key(config.seed))
    return {
        "out": config.out,
        "network": scenario.name,
        "algorithm": config.algorithm,
        "updates": config.updates,
        "seed": config.seed,
        "users_met_for_the_first_time": found.users,
        "compared_with": found.compared_with,
        "share": found.share,
        "failed": found.failed,
    }
