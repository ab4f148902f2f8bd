"""Who may come next in a chain, and over which link: of all agents for a policy, of one for a step."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

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


def predecessor(state: EnvState) -> Int[Array, ""]:
    """The last agent of the chain, -1 before the first."""
    return jnp.where(state.step == 0, -1, state.chain[jnp.maximum(state.step - 1, 0)])


def place(state: EnvState, params: EnvParams) -> Int[Array, ""]:
    """The place in the request to fill now; the last one after the end."""
    return jnp.minimum(state.step, params.num_hops - 1)


def candidates(
    state: EnvState, params: EnvParams
) -> tuple[Bool[Array, " agents"], Int[Array, " agents"], Bool[Array, " agents"]]:
    """Which agents may come next, over which link, and which are neighbours of the predecessor at all."""
    link, linked = _row(state, params)
    agents = jnp.arange(params.num_agents)
    taken = jnp.any(state.chain[:, None] == agents[None, :], axis=0)
    legal = linked & ~taken & available(params.network)
    if params.mask_types:
        legal = legal & (params.network.agent_type == params.request.types[place(state, params)])
    return legal, link, linked


def candidate(
    state: EnvState, node: Int[Array, ""], params: EnvParams
) -> tuple[Bool[Array, ""], Int[Array, ""]]:
    """What `candidates` says of one agent: whether it may come next, and over which link."""
    if params.link_of_pairs is None:
        legal, link, _ = candidates(state, params)
        return legal[node], link[node]
    found = params.link_of_pairs[jnp.maximum(predecessor(state), 0), node]
    legal = ((found >= 0) | (state.step == 0)) & ~jnp.any(state.chain == node)
    legal = legal & (params.network.service_rate[node] > 0)
    if params.mask_types:
        legal = legal & (params.network.agent_type[node] == params.request.types[place(state, params)])
    return legal, jnp.maximum(found, 0)


def _row(state: EnvState, params: EnvParams) -> tuple[Int[Array, " agents"], Bool[Array, " agents"]]:
    """Links from the predecessor to all agents (0 where there is none), and whether there is one."""
    last, first = jnp.maximum(predecessor(state), 0), state.step == 0
    if params.link_of_pairs is not None:
        found = params.link_of_pairs[last]
        return jnp.maximum(found, 0), (found >= 0) | first
    num_agents, table = params.num_agents, params.table
    # Padded places are sent out of bounds and dropped, so that they cannot overwrite a true neighbour.
    to = jnp.where(table.valid[last], table.neighbours[last], num_agents)
    link = jnp.zeros(num_agents, dtype=int).at[to].set(table.link[last], mode="drop")
    return link, jnp.full(num_agents, first).at[to].set(True, mode="drop")
