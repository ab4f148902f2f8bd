"""MAN and its baselines trained on a problem, in steps that can be interrupted, and what the agents get from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from lameta_jax.functional import Params
from lameta_jax.meta.baselines import local_steps, per_fedavg
from lameta_jax.meta.classification import Errors, classification_loss, classifier, evaluate_group
from lameta_jax.meta.federated import Federated, Rates, RoundConfig, Work, make_federated, make_local
from lameta_jax.meta.man import MANConfig, meta_updates
from lameta_jax.meta.problems import Problem
from lameta_jax.scale.checkpoint import packed, read_checkpoint, unpacked, write_checkpoint

GroupName = Literal["seen", "unseen"]


class Method(NamedTuple):
    """A way of training; the work of an agent in a round is made from the number of gradients that it may take."""

    work: Callable[[int, int], Work]  # of the steps and the batch size
    collaborates: bool = True


METHODS = {
    "local": Method(local_steps, collaborates=False),
    "fedavg": Method(local_steps),
    "reptile": Method(local_steps),  # with a server rate below 1
    "per-fedavg": Method(lambda steps, size: per_fedavg(steps // 2, size)),
    "man": Method(lambda steps, size: meta_updates(_every_step(steps, size))),
    "man-steps": Method(
        lambda steps, size: meta_updates(MANConfig(adaptation_steps=1, updates=steps, batch_size=size))
    ),
    "man-round": Method(lambda steps, size: meta_updates(MANConfig(adaptation_steps=steps, batch_size=size))),
    "man-first-order": Method(
        lambda steps, size: meta_updates(
            MANConfig(adaptation_steps=steps, batch_size=size, meta_gradient="first_order")
        )
    ),
}
"""By name; all but one take the same number of gradients per round. "man" updates the meta-model after every step of
adaptation, "man-round" once per round after all of them, and "man-first-order" likewise by (6) to the letter.
"man-steps" makes as many updates as the others make steps, with twice the gradients."""


def _every_step(steps: int, size: int) -> MANConfig:
    return MANConfig(adaptation_steps=1, updates=steps // 2, batch_size=size)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a method is trained."""

    method: str = "man"  # one of METHODS
    rounds: int = 100  # T
    steps: int = (
        30  # E, gradients that an agent takes per round (one more where a meta-update ends the round)
    )
    batch_size: int = 32
    rates: Rates = Rates()
    collaborators: int | None = None  # S; None: all agents
    rounds_per_report: int = 10  # rounds between two reports, after each of which the state is saved
    seed: int = 0


class Report(NamedTuple):
    """How training goes."""

    done: int  # rounds so far
    resumed_at: int  # where this process took it up
    losses: Float[np.ndarray, " rounds"]  # mean loss of each round since the last report


class Trained(NamedTuple):
    """A finished training."""

    params: Params
    snapshots: Params  # the model after every report, stacked; the last one is the result
    losses: Float[np.ndarray, " rounds"]  # mean loss of every round


def make_method(problem: Problem, config: TrainingConfig) -> Federated:
    """The training program."""
    apply, _ = classifier(problem.cnn)
    method = METHODS[config.method]
    make = make_federated if method.collaborates else make_local
    rounds = RoundConfig(collaborators=config.collaborators)
    return make(classification_loss(apply), method.work(config.steps, config.batch_size), rounds)


def initial_params(problem: Problem, config: TrainingConfig, key: Key[Array, ""]) -> Params:
    """Random parameters, the same for every method; one copy per agent where agents do not share a model."""
    params = classifier(problem.cnn)[1](key)
    if METHODS[config.method].collaborates:
        return params
    count = problem.seen.test.size.shape[0]
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *leaf.shape)), params)


def train(
    problem: Problem,
    config: TrainingConfig,
    partial_file: Path,
    purpose: Mapping[str, str],
    report: Callable[[Report], None] = lambda told: None,
    method: Federated | None = None,
) -> Trained:
    """Train on the seen agents, going on from the checkpoint at `partial_file` if there is one.

    However often it is interrupted, the result is the same to the bit. The checkpoint is left for the caller to remove
    when the result is safe.

    Args:
      purpose: what the result depends on, by name, see `write_checkpoint`.
      report: called after every `rounds_per_report` rounds, before the state is saved.
      method: `make_method(problem, config)` if it is there already, so that nothing is compiled twice.

    Raises:
      CheckpointError: the checkpoint is damaged or of another training, or cannot be written.
    """
    method = method or make_method(problem, config)
    key_params, key = jax.random.split(jax.random.key(config.seed))
    initial = initial_params(problem, config, key_params)
    state, kept = method.init(initial, key), read_checkpoint(partial_file, purpose)
    snapshots, losses = [], []
    if kept is not None:
        state = unpacked(state, kept["state"])
        snapshots, losses = list(kept["snapshots"]), list(kept["losses"])
    resumed_at = done = int(state.num_rounds)
    while done < config.rounds:
        count = min(config.rounds_per_report, config.rounds - done)
        state, latest = method.advance(config.rates, state, problem.seen.agents, problem.samples, count)
        done += count
        snapshots.append(packed(state.params))
        losses.append(np.asarray(latest))
        report(Report(done, resumed_at, losses[-1]))
        write_checkpoint(
            partial_file, purpose, {"state": packed(state), "snapshots": snapshots, "losses": losses}
        )
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(unpacked(initial, one) for one in snapshots))
    return Trained(state.params, stacked, np.concatenate(losses))


def outcome(
    problem: Problem,
    config: TrainingConfig,
    params: Params,
    key: Key[Array, ""],
    learning_rate: float,
    steps: int,
    training_loss: bool = False,
    groups: Sequence[GroupName] = ("seen", "unseen"),
) -> dict[str, Errors]:
    """What agents get: those "seen" in training, and "unseen" ones that join when it is over, where a model is shared.

    Args:
      steps: of adaptation to all that an agent holds before it is tested; 0 tests the model as it is.
      learning_rate: of these.
      groups: which agents to look at.
    """
    apply, _ = classifier(problem.cnn)
    shared = METHODS[config.method].collaborates
    agents = {"seen": problem.seen, "unseen": problem.unseen}
    return {
        name: _evaluate(
            apply, steps, params, agents[name], problem.samples, key, learning_rate, not shared, training_loss
        )
        for name in groups
        if shared or name == "seen"
    }


_evaluate = jax.jit(evaluate_group, static_argnums=(0, 1, 7, 8))
