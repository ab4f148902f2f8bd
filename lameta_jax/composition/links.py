"""Who may come next in a chain, and over which link: of all agents for a policy, of one for a step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.composition.slots import available
from lameta_jax.composition.types import EnvParams, EnvState
from lameta_jax.network.network import LinkEnds

MAX_PAIRS = 1024**2  # above, a table of all pairs of agents would be too large


def link_of_pairs(num_agents: int, link_ends: LinkEnds) -> Int[Array, "agents agents"] | None:
    """The link between any two agents, -1 where there is none; None for networks with more than `MAX_PAIRS` pairs.

    Looking up a row of it is several times as fast on a CPU as writing a list of neighbours into one.
    """
    if num_agents**2 > MAX_PAIRS:
        return None
    first, second = np.asarray(link_ends).T
    found = np.full((num_agents, num_agents), -1, np.int32)
    found[first, second] = found[second, first] = np.arange(len(first))
    return jax.device_put(found)


def benefit_of_pairs(
    pairs: Int[Array, "agents agents"] | None, link_benefits: Float[Array, " links"]
) -> Float[Array, "agents agents"] | None:
    """I(BER) of the link between any two agents, -1 where there is none."""
    if pairs is None:
        return None
    if link_benefits.shape[0] == 0:
        return jnp.full(pairs.shape, -1.0)
    return jnp.where(pairs >= 0, link_benefits[jnp.maximum(pairs, 0)], -1.0)


def predecessor(state: EnvState) -> Int[Array, ""]:
    """The last agent of the chain, -1 before the first."""
    return jnp.where(state.step == 0, -1, state.chain[jnp.maximum(state.step - 1, 0)])


def place(state: EnvState, params: EnvParams) -> Int[Array, ""]:
    """The place in the request to fill now; the last one after the end."""
    return jnp.minimum(state.step, params.num_hops - 1)


class Candidates(NamedTuple):
    """Some agents to choose from, each with the link to it from the predecessor."""

    agents: Int[Array, " some"]  # -1 for none, who may never come next
    links: Int[Array, " some"]  # -1 for none


def candidates(
    state: EnvState, params: EnvParams, among: Candidates | None = None
) -> tuple[Bool[Array, " some"], Bool[Array, " some"], Float[Array, " some"]]:
    """Which agents may come next, which are neighbours of the predecessor at all, and I(BER) of the links to these.

    Before the first agent, all are neighbours, with the benefit 1 of the link that is not needed.

    Args:
      among: the agents to look at; by default all.
    """
    first = state.step == 0
    if among is None:
        linked, benefit = _row(state, params)
        agents, there = jnp.arange(params.num_agents), jnp.asarray(True)
    else:
        linked, benefit = among.links >= 0, _benefit(among.links, params)
        agents, there = among.agents, among.agents >= 0
    linked = linked | first
    taken = jnp.any(state.chain[:, None] == agents[None, :], axis=0)
    legal = there & linked & ~taken & _of(available(params.network), among)
    if params.mask_types:
        legal = legal & fitting(state, params, among)
    return legal, linked, jnp.where(first, 1.0, jnp.where(linked, benefit, 0.0))


def fitting(state: EnvState, params: EnvParams, among: Candidates | None = None) -> Bool[Array, " some"]:
    """Which agents have the type that comes next."""
    return _of(params.network.agent_type, among) == params.request.types[place(state, params)]


def _of(values: Array, among: Candidates | None) -> Array:
    return values if among is None else values[among.agents]


def _benefit(links: Int[Array, " some"], params: EnvParams) -> Float[Array, " some"]:
    """I(BER) of links; anything where there is none."""
    if params.link_benefits.shape[0] == 0:
        return jnp.zeros(links.shape, params.link_benefits.dtype)
    return params.link_benefits[links]


def candidate(
    state: EnvState, node: Int[Array, ""], params: EnvParams
) -> tuple[Bool[Array, ""], Int[Array, ""]]:
    """Whether one agent may come next, and over which link, 0 where there is none."""
    last = jnp.maximum(predecessor(state), 0)
    if params.link_of_pairs is not None:
        found = params.link_of_pairs[last, node]
    else:
        at = params.table.valid[last] & (params.table.neighbours[last] == node)
        found = jnp.max(jnp.where(at, params.table.link[last], -1))
    legal = ((found >= 0) | (state.step == 0)) & ~jnp.any(state.chain == node)
    legal = legal & available(params.network)[node]
    if params.mask_types:
        legal = legal & (params.network.agent_type[node] == params.request.types[place(state, params)])
    return legal, jnp.maximum(found, 0)


def _row(state: EnvState, params: EnvParams) -> tuple[Bool[Array, " agents"], Float[Array, " agents"]]:
    """Which agents are neighbours of the predecessor, and I(BER) of the links to them (anything elsewhere)."""
    last = jnp.maximum(predecessor(state), 0)
    if params.benefit_of_pairs is not None:
        benefit = params.benefit_of_pairs[last]
        return benefit >= 0, benefit
    num_agents, table = params.num_agents, params.table
    # Padded places are sent out of bounds and dropped, so that they cannot overwrite a true neighbour.
    to = jnp.where(table.valid[last], table.neighbours[last], num_agents)
    linked = jnp.zeros(num_agents, dtype=bool).at[to].set(True, mode="drop")
    own = _benefit(table.link[last], params)
    return linked, jnp.zeros(num_agents, own.dtype).at[to].set(own, mode="drop")
