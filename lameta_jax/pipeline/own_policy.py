"""A composition policy for a network of one's own: training that can be cut, and how good the policy is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from lameta_jax.composition import ppo, reinforce
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig, Trainer
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.policy_files import TrainedPolicy
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.task import Task
from lameta_jax.composition.types import User
from lameta_jax.composition.users import draw_users
from lameta_jax.network.chains import count_walks
from lameta_jax.network.network import AgenticNetwork, Request, Scenario
from lameta_jax.network.optimum import beam_search, optimum
from lameta_jax.scale.checkpoint import packed, read_checkpoint, unpacked, write_checkpoint
from lameta_jax.scale.distributed import from_first_process

POOL_SIZE = 4096  # users that episodes are drawn from
TEST_USERS = 200
MAX_WALKS = 2_000_000  # above, the policy is held against beam search instead of the exact optimum


class Algorithm(NamedTuple):
    """How a policy learns, with its usual numbers."""

    make_train: Callable[[LearnerConfig, Task], Trainer]
    hyperparameters: Any
    sizes: dict[str, int]  # of `LearnerConfig`


ALGORITHMS = {
    "ppo": Algorithm(ppo.make_train, ppo.PPOHyperparameters(), {"num_epochs": 4, "num_minibatches": 4}),
    "reinforce": Algorithm(
        reinforce.make_train, reinforce.ReinforceHyperparameters(), {"num_epochs": 1, "num_minibatches": 1}
    ),
}


@dataclass(frozen=True, kw_only=True)
class OwnPolicyConfig:
    """How a policy is trained for users of any preferences, each read without error."""

    algorithm: str = "ppo"  # one of ALGORITHMS
    learner: LearnerConfig = LearnerConfig()
    episodes: EpisodeConfig = EpisodeConfig()
    env: EnvConfig = EnvConfig()
    updates_per_report: int = 10  # updates between two reports, after each of which the state is saved
    seed: int = 0


class Report(NamedTuple):
    """How training goes."""

    done: int  # updates so far
    resumed_at: int  # where this process took it up
    metrics: dict[str, np.ndarray]  # of the updates since the last report


class Share(NamedTuple):
    """What a policy gives to users it has not met, in the nominal slot."""

    users: int
    compared_with: str  # "optimum", or "beam search" where there are too many chains to look at all
    share: float  # mean QoE as a share of it
    failed: float  # share of the chains that break (18b)-(18d)


def train_policy(
    scenario: Scenario,
    config: OwnPolicyConfig,
    partial: Path,
    purpose: Mapping[str, str],
    report: Callable[[Report], None],
    mesh: Mesh | None = None,
) -> TrainedPolicy:
    """Train a pointer policy, going on from the checkpoint at `partial` if there is one.

    However often it is interrupted, the result is the same to the bit, on as many devices. The checkpoint is left for
    the caller to remove when the result is safe.

    Args:
      purpose: what the result depends on, by name, see `write_checkpoint`.
      report: called after every `updates_per_report` updates, before the state is saved: what is not saved is
        reported again by whoever goes on from there.
      mesh: devices that share the episodes; none: the default device. If they are of several processes, all of them
        call this alike; the first one reads and writes the checkpoint.

    Raises:
      CheckpointError: the checkpoint is damaged or of another training, or cannot be written.
      ValueError: the episodes of a minibatch are no multiple of the devices.
    """
    sizes = PolicyConfig(num_elams=len(scenario.elam_names))
    task = composition_task(
        make_policy(sizes), make_env_params(scenario, config.env), config.episodes, mesh=mesh
    )
    algorithm, num_updates = ALGORITHMS[config.algorithm], config.learner.num_updates
    trainer = algorithm.make_train(config.learner, task)
    key_users, key = jax.random.split(jax.random.key(config.seed))
    state = trainer.init(algorithm.hyperparameters, any_users(key_users, POOL_SIZE, sizes.num_elams), key)
    kept = from_first_process(lambda: read_checkpoint(partial, purpose))
    if kept is not None:
        state = unpacked(state, kept["state"])
    resumed_at = done = int(state.num_updates)
    while done < num_updates:
        count = min(config.updates_per_report, num_updates - done)
        state, metrics = trainer.advance(algorithm.hyperparameters, state, count)
        done += count
        report(Report(done, resumed_at, {name: np.asarray(values) for name, values in metrics.items()}))
        content = {"state": jax.device_get(packed(state))}
        from_first_process(lambda content=content: write_checkpoint(partial, purpose, content))
    params = state.params if mesh is None else jax.tree.map(jnp.asarray, jax.device_get(state.params))
    return TrainedPolicy(config=sizes, params=params, initial_elam=config.env.initial_elam)


def share_of_optimum(scenario: Scenario, trained: TrainedPolicy, key: Key[Array, ""]) -> Share:
    """What a policy gives to `TEST_USERS` users of any preferences, against the best there is."""
    params = make_env_params(scenario, EnvConfig(mask_types=True, initial_elam=trained.initial_elam))
    users = any_users(jax.random.fold_in(key, 1), TEST_USERS, trained.config.num_elams)
    found = evaluate(key, policy_actor(make_policy(trained.config), trained.params), params, users)
    name, best = best_qoe(scenario.network, scenario.request, users.preference)
    share = jnp.mean(found.qoe) / jnp.mean(best)
    return Share(TEST_USERS, name, float(share), float(1 - jnp.mean(found.feasible)))


def best_qoe(
    network: AgenticNetwork, request: Request, preferences: Float[Array, "users 4"]
) -> tuple[str, Float[Array, " users"]]:
    """What a policy is held against: the exact optimum, or beam search where there are too many chains; its name."""
    if count_walks(network, request) <= MAX_WALKS:
        return "optimum", optimum(network, request, preferences).qoe[:, 0]
    return "beam search", beam_search(network, request, preferences).qoe


def any_users(key: Key[Array, ""], count: int, num_elams: int) -> User:
    """Users uniform on the simplex, whom every E-LAM reads without error."""
    return draw_users(key, jnp.ones(4), count, mean_squared_errors=(0.0,) * num_elams)
