"""Rounds of collaboration: some agents work from the shared model on their data, the controller takes the mean.

MAN and its baselines differ in the work of an agent only (`man.py`, `baselines.py`). Any of them is jitted once, and
can be cut between any two rounds.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from lameta_jax.functional import Params
from lameta_jax.meta.adaptation import LossFn
from lameta_jax.meta.agents import AgentLoop, Agents, at_rows, over_agents
from lameta_jax.meta.tasks import select


@no_type_check
@flax.struct.dataclass(kw_only=True)
class Rates:
    """Step sizes: traced, so that a new value compiles nothing and an array can be vmapped."""

    adaptation: Float[Array, ""] | float = 0.001  # beta, of the steps of adaptation
    meta: Float[Array, ""] | float = 0.005  # gamma, of meta-updates; of all steps where there are none
    server: Float[Array, ""] | float = 1.0  # how far the shared model goes to the mean of the agents'


@dataclass(frozen=True, kw_only=True)
class RoundConfig:
    """Sizes of a round: fixed when the program is compiled."""

    collaborators: int | None = None  # S, agents per round, drawn without replacement; None: all
    loop: AgentLoop = "auto"


@no_type_check
@flax.struct.dataclass
class FederatedState:
    """All that training carries from round to round."""

    params: Params  # the shared model; one model per agent where agents do not collaborate
    key: Key[Array, ""]
    num_rounds: Int[Array, ""]  # done so far


Work = Callable[[LossFn, Rates, Params, Agents, Key[Array, ""]], tuple[Params, Float[Array, ""]]]
"""`(loss_fn, rates, params, agent, key)` to the agent's model and the mean loss that it met; the loss is of `Drawn`."""


class Federated(NamedTuple):
    """A method of training: `init`, then `advance` by any number of rounds at a time."""

    init: Callable[[Params, Key[Array, ""]], FederatedState]
    advance: Callable[
        [Rates, FederatedState, Agents, PyTree, int], tuple[FederatedState, Float[Array, " rounds"]]
    ]


def make_federated(loss_fn: LossFn, work: Work, config: RoundConfig) -> Federated:
    """Training in rounds of which each leaves the mean model: w_0 <- w_0 + server (mean_k w_k - w_0).

    Args:
      loss_fn: of a `Batch`.
      work: what an agent does in a round.

    Returns:
      Functions of which `advance(rates, state, agents, samples, num_rounds)` is jitted, and gives the mean loss of
      every round beside the state. Data of the same shapes compile nothing anew.
    """

    def one_round(rates, agents, samples, state):
        key, *keys = jax.random.split(state.key, 3)
        task = partial(work, at_rows(loss_fn, samples), rates)
        mean, loss = collaborate(config, task, state.params, agents, *keys)
        toward = lambda shared, own: shared + rates.server * (own - shared)
        return replace(state, params=jax.tree.map(toward, state.params, mean), key=key), loss

    return Federated(_init, _in_rounds(one_round))


def make_local(loss_fn: LossFn, work: Work, config: RoundConfig) -> Federated:
    """The same rounds without a controller: every agent keeps its own model, so `init` takes a stack of models."""

    def one_round(rates, agents, samples, state):
        key, key_work = jax.random.split(state.key)
        task = partial(work, at_rows(loss_fn, samples), rates)
        keys = jax.random.split(key_work, agents.inner.size.shape[0])
        models, losses = over_agents(config.loop, task, state.params, agents, keys)
        return replace(state, params=models, key=key), jnp.mean(losses)

    return Federated(_init, _in_rounds(one_round))


def collaborate(
    config: RoundConfig,
    task: Callable[[Params, Agents, Key[Array, ""]], tuple[Params, Float[Array, ""]]],
    params: Params,
    agents: Agents,
    key_agents: Key[Array, ""],
    key_work: Key[Array, ""],
) -> tuple[Params, Float[Array, ""]]:
    """Means of the models and losses of the agents of one round, each of which does its task from `params`."""
    chosen, held = collaborators(config.collaborators, agents, key_agents)
    keys = jax.random.split(key_work, len(chosen))
    return mean_of_present(held, over_agents(config.loop, partial(task, params), held, keys))


def collaborators(
    count: int | None, agents: Agents, key: Key[Array, ""]
) -> tuple[Int[Array, " collaborators"], Agents]:
    """Which agents take part in a round, and what they hold; without replacement, those that hold something first."""
    sizes = agents.inner.size
    if count is None:
        return jnp.arange(sizes.shape[0]), agents
    present = (sizes > 0) / jnp.sum(sizes > 0)
    chosen = jax.random.choice(key, sizes.shape[0], (count,), replace=False, p=present)
    return chosen, Agents(select(agents.inner, chosen), select(agents.outer, chosen))


def mean_of_present(held: Agents, values: PyTree) -> PyTree:
    """Mean over the leading axis of agents of those that hold anything: others have not joined yet."""
    present = held.inner.size > 0

    def mean(leaf):
        weights = present.reshape(-1, *(1,) * (leaf.ndim - 1))
        return jnp.sum(jnp.where(weights, leaf, 0), axis=0) / jnp.sum(present)

    return jax.tree.map(mean, values)


def _init(params: Params, key: Key[Array, ""]) -> FederatedState:
    return FederatedState(params=params, key=key, num_rounds=jnp.asarray(0))


def _in_rounds(one_round: Callable) -> Callable:
    """`advance`, jitted, of a function that does one round."""

    def advance(rates, state, agents, samples, num_rounds):
        def step(current, _):
            following, loss = one_round(rates, agents, samples, current)
            return replace(following, num_rounds=current.num_rounds + 1), loss

        return jax.lax.scan(step, state, length=num_rounds)

    return jax.jit(advance, static_argnums=4)
