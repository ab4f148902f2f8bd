"""Lookahead: from every agent on, how good can the rest of a chain be, and can it still meet its constraints?

A graph convolution averages over neighbours, which blurs the one neighbour that a chain would use. Here the best one
counts: value iteration over the places of the request, with the additive part of the QoE and one value per *anchor*, a
preference from a fixed grid. It depends on the slot alone, so it is computed once for all users; what a user's own
preference makes of the anchors is for the policy to learn.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from lameta_jax.composition.env import EnvParams
from lameta_jax.composition.slots import available
from lameta_jax.composition.types import Observation
from lameta_jax.network.outage import crash_probability
from lameta_jax.network.queueing import agent_latency
from lameta_jax.types import CAPABILITY, INFORMATION, LATENCY, OUTAGE

HOPELESS = -10.0  # value of an agent from which no chain can be finished; far below what any chain loses
# What a first-order loss of ln(1 - B) and ln(1 - P) costs in the QoE of even weights: about ln(C / C_th) and the QoE.
INFORMATION_SCALE, OUTAGE_SCALE = 2.5, 5.0


class Remaining(NamedTuple):
    """The best rest of a chain from every agent on, that agent included, at each place of the request."""

    value: Float[
        Array, "*hops agents anchors"
    ]  # below that of the best agent at this place; at least `HOPELESS`
    capability_margin: Float[
        Array, "*hops agents"
    ]  # largest sum of ln C_i, above what (18c) wants of the whole chain
    latency_margin: Float[Array, "*hops agents"]  # L_max of (18b) less the least sum of L_i, minutes


def anchor_preferences(resolution: int) -> Float[np.ndarray, "anchors 4"]:
    """All preferences whose weights are multiples of 1 / resolution.

    >>> anchor_preferences(1).tolist()
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    >>> len(anchor_preferences(2)), len(anchor_preferences(3))
    (10, 20)
    """
    choices = combinations_with_replacement(range(4), resolution)
    return np.array([np.bincount(choice, minlength=4) / resolution for choice in choices])


def best_remaining(params: EnvParams, anchors: Float[np.ndarray, "anchors 4"]) -> Remaining:
    """Value iteration over the places of the request, from the last to the first.

        V_p(i) = s . [ln C_i, 0, -L_i / L, OUTAGE_SCALE ln(1 - P_i)]
                 + max_j ( s_B INFORMATION_SCALE ln(1 - B_ij) + V_{p+1}(j) )

    over the neighbours j of the type that comes next, with L the typical latency of a whole chain: to first order,
    what they change in the QoE (15). The largest capability and the least latency of the rest are found likewise,
    each by itself. Chains may visit an agent twice here, which no real one does.
    """
    network, hops = params.network, params.num_hops
    weights = jnp.asarray(anchors, network.capability.dtype)
    latency = agent_latency(network.arrival_rate, network.service_rate, network.service_cv)
    works = jnp.isfinite(latency) & available(network)
    latency = jnp.where(works, latency, 0.0)
    logs = jnp.where(works, jnp.log(jnp.where(works, latency, 1.0)), 0.0)
    typical = hops * jnp.exp(jnp.sum(logs) / jnp.maximum(jnp.sum(works), 1))
    log_capability = jnp.log(network.capability)
    crash = crash_probability(network.outages, network.observations)
    own = (
        jnp.outer(log_capability, weights[:, CAPABILITY])
        - jnp.outer(latency / typical, weights[:, LATENCY])
        + jnp.outer(OUTAGE_SCALE * _log_complement(crash), weights[:, OUTAGE])
    )
    over_links = jnp.outer(INFORMATION_SCALE * _log_complement(network.link_ber), weights[:, INFORMATION])
    # Capability and latency alone are two more anchors, which links cost nothing.
    own = jnp.concatenate([own, log_capability[:, None], -latency[:, None]], axis=1)
    over_links = jnp.pad(over_links, ((0, 0), (0, 2)))
    fits = works[None, :] & (network.agent_type[None, :] == params.request.types[:, None])
    best = _iterate(params, own, over_links, fits)
    value, alone = best[..., :-2], best[..., -2:]
    largest = jnp.max(value, axis=1, keepdims=True)
    below = value - jnp.where(jnp.isfinite(largest), largest, 0.0)
    return Remaining(
        value=jnp.maximum(jnp.where(jnp.isfinite(value), below, HOPELESS), HOPELESS),
        capability_margin=alone[..., 0] - jnp.log(params.request.capability_threshold * hops),
        latency_margin=params.request.max_latency + alone[..., 1],
    )


def worth_of_agents(
    remaining: Remaining, observation: Observation, anchor_weights: Float[Array, " anchors"]
) -> Float[Array, " agents"]:
    """The weighted value of every agent, each anchor `HOPELESS` where the chain so far can no longer succeed.

    That is where even the most capable rest leaves the chain too weak (18c), or the fastest one too slow (18b).

    Args:
      remaining: at the place to fill now.
    """
    capable = observation.log_capability + remaining.capability_margin >= 0
    fast = remaining.latency_margin - observation.latency >= 0
    # In this order, many users of the same agents are one product of matrices, without a transpose.
    worth = jnp.tensordot(anchor_weights, remaining.value, (0, 1))
    return jnp.where(capable & fast, worth, HOPELESS * jnp.sum(anchor_weights))


def _iterate(
    params: EnvParams,
    own: Float[Array, "agents kinds"],
    over_links: Float[Array, "links kinds"],
    fits: Bool[Array, "hops agents"],
) -> Float[Array, "hops agents kinds"]:
    """The largest sum of what agents and links add from each agent on; -inf where no chain can be finished."""
    table = params.table
    values = [jnp.where(fits[-1, :, None], own, -jnp.inf)]
    for place in range(params.num_hops - 2, -1, -1):
        onwards = values[0][table.neighbours] + (over_links[table.link] if over_links.size else 0.0)
        onwards = jnp.where(table.valid[..., None], onwards, -jnp.inf)
        values.insert(0, jnp.where(fits[place, :, None], own + jnp.max(onwards, axis=1), -jnp.inf))
    return jnp.stack(values)


def _log_complement(probability: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """ln(1 - p), finite."""
    return jnp.log1p(-jnp.minimum(probability, 0.999))
