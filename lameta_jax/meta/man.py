"""MAN: meta-learned initialisations that agents adapt to their environments (MAN Sec. III, Algorithm 1).

An agent's work in a round is here, as one of the methods of `federated.make_federated`, and Algorithm 1, in which two
thresholds decide when agents adapt again and when the controller updates the meta-model.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from lameta_jax.functional import Params
from lameta_jax.meta.adaptation import LossFn, MetaGradient, adapt, descend, meta_gradient
from lameta_jax.meta.agents import Agents, at_rows, draw, over_agents
from lameta_jax.meta.federated import Rates, RoundConfig, Work, collaborate, mean_of_present
from lameta_jax.meta.tasks import Environments


@dataclass(frozen=True, kw_only=True)
class MANConfig:
    """What an agent does in a round.

    With one update per round the mean of the agents' models is (6). The paper is not clear about this: (6) has one
    update per round, but its batches B_out[k, e] and the exponent ET of Theorem 1 count one per step of adaptation.
    """

    adaptation_steps: int = 30  # E
    updates: int = 1  # meta-updates of an agent before the controller takes the mean
    meta_gradient: MetaGradient = "second_order"
    batch_size: int = 32  # of D_in in every step, and of D_out in every update


def meta_updates(config: MANConfig) -> Work:
    """The work of an agent: `updates` times, adapt from the current model on D_in, and descend on D_out by (6)."""

    def work(loss_fn, rates, params, agent, key):
        def update(current, key):
            key_inner, key_outer = jax.random.split(key)
            inner = draw(key_inner, agent.inner, (config.adaptation_steps, config.batch_size))
            outer = draw(key_outer, agent.outer, (config.batch_size,))
            loss, grads = meta_gradient(
                loss_fn, current, inner, outer, rates.adaptation, config.meta_gradient
            )
            return descend(current, grads, rates.meta), loss

        params, losses = jax.lax.scan(update, params, jax.random.split(key, config.updates))
        return params, jnp.mean(losses)

    return work


def adapted(
    loss_fn: LossFn,
    params: Params,
    held: Environments,
    key: Key[Array, ""],
    learning_rate: float | Float[Array, ""],
    steps: int,
    batch_size: int = 32,
) -> Params:
    """The personal model (5) of an agent; this is all that an agent does that joins later.

    Args:
      loss_fn: of what `draw` gives, see `at_rows`.
      held: what the agent adapts to: D_in, or once training is over all that it has.
    """
    return adapt(loss_fn, params, draw(key, held, (steps, batch_size)), learning_rate)


class Thresholds(NamedTuple):
    """What errors are tolerated, (4)."""

    personalisation: float | Float[Array, ""]  # of every agent
    generalisation: float | Float[Array, ""]  # of the mean over agents


@dataclass(frozen=True, kw_only=True)
class SlotConfig:
    """Sizes of Algorithm 1 in one time slot."""

    man: MANConfig = MANConfig()
    rounds: RoundConfig = RoundConfig()
    evaluation_size: int = 256  # samples drawn to measure an error
    most_adaptations: int = 10  # of an agent, before it takes its model as it is
    most_updates: int = 10  # of the meta-model


class Slot(NamedTuple):
    """What Algorithm 1 leaves at the end of a time slot."""

    params: Params  # the meta-model
    models: Params  # of the agents, stacked
    personalisation: Float[Array, " agents"]
    generalisation: Float[Array, ""]
    adaptations: Int[Array, " agents"]  # how often each agent adapted since the last meta-update
    updates: Int[Array, ""]  # of the meta-model


def run_slot(
    loss_fn: LossFn,
    config: SlotConfig,
    rates: Rates,
    thresholds: Thresholds,
    params: Params,
    agents: Agents,
    samples: PyTree,
    key: Key[Array, ""],
    optimal_loss: Float[Array, " agents"] | float = 0.0,
) -> Slot:
    """Algorithm 1 in one time slot; the next slot starts from its meta-model, with the data that agents see then.

    Every agent adapts until its personalisation error, the loss on D_out less that of its local optimum, is
    tolerable. If then the mean over agents of the loss on D_out less that on D_in is not, the meta-model is updated by
    (6) and the agents adapt to it anew. Both loops end at the limits of the config, so that no threshold stalls them.

    Args:
      loss_fn: of a `Batch`.
      agents: of one task. Each task has a meta-model of its own: call this once per task.
      samples: what the rows of agents refer to.
      optimal_loss: L_k(w*_k) of (2) of every agent where it is known; 0 is the least that most losses can be.

    Agents without data have not joined: they adapt to nothing, and their errors count for nothing.
    """
    task, present = at_rows(loss_fn, samples), agents.inner.size > 0
    optimal_loss = jnp.broadcast_to(jnp.asarray(optimal_loss), present.shape)
    personalise = partial(_personalise, task, config, rates, thresholds)

    def measured(current, key):
        keys = jax.random.split(key, present.shape[0])
        return over_agents(
            config.rounds.loop, partial(personalise, current), agents, optimal_loss, present, keys
        )

    def generalisation(found):
        return mean_of_present(agents, found.gap)

    def unfinished(carry):
        _, found, updates, _ = carry
        return (generalisation(found) > thresholds.generalisation) & (updates < config.most_updates)

    def improve(carry):
        current, _, updates, key = carry
        key, key_agents, key_work, key_adapt = jax.random.split(key, 4)
        work = partial(meta_updates(config.man), task, rates)
        current, _ = collaborate(config.rounds, work, current, agents, key_agents, key_work)
        return current, measured(current, key_adapt), updates + 1, key

    key, key_adapt = jax.random.split(key)
    first = (params, measured(params, key_adapt), jnp.asarray(0), key)
    params, found, updates, _ = jax.lax.while_loop(unfinished, improve, first)
    return Slot(params, found.model, found.error, generalisation(found), found.adaptations, updates)


class _Personal(NamedTuple):
    model: Params
    error: Float[Array, ""]
    gap: Float[Array, ""]  # loss on D_out less that on D_in
    adaptations: Int[Array, ""]


def _personalise(task, config, rates, thresholds, params, agent, optimal_loss, present, key):
    """The first loop of Algorithm 1, of one agent."""
    key_inner, key_outer, key = jax.random.split(key, 3)
    inside = draw(key_inner, agent.inner, (config.evaluation_size,))
    outside = draw(key_outer, agent.outer, (config.evaluation_size,))
    error = lambda model: task(model, outside) - optimal_loss
    intolerable = lambda found: found > thresholds.personalisation

    def unfinished(carry):
        _, found, adaptations, _ = carry
        return present & intolerable(found) & (adaptations < config.most_adaptations)

    def again(carry):
        model, _, adaptations, key = carry
        key, key_batches = jax.random.split(key)
        steps, size = config.man.adaptation_steps, config.man.batch_size
        model = adapted(task, model, agent.inner, key_batches, rates.adaptation, steps, size)
        return model, error(model), adaptations + 1, key

    first = (params, error(params), jnp.asarray(0), key)
    model, found, adaptations, _ = jax.lax.while_loop(unfinished, again, first)
    return _Personal(model, found, task(model, outside) - task(model, inside), adaptations)
