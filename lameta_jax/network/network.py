"""The agentic network as arrays (LAMeTA Sec. III-A): agents, undirected links, a service request.

A chain (the paper's GenSFC, generative service function chain) is a sequence of linked, distinct agents whose
types are those of the request, in order. Links are a list of pairs; no array has agents x agents entries.
"""

from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.types import LinkEnds


class NetworkError(ValueError):
    """A network that cannot be used. The message is one line: file, place, field, value, rule."""


# no_type_check: under vmap and jit the same class holds batched arrays, or no arrays at all.
@no_type_check
@flax.struct.dataclass
class AgenticNetwork:
    """Agents and links of one network; a pytree of arrays, so networks can be batched with `vmap`."""

    agent_type: Int[Array, " agents"]  # index into Scenario.type_names
    capability: Float[Array, " agents"]  # e^{-loss}, in (0, 1]
    service_rate: Float[Array, " agents"]  # mu, per minute
    service_cv: Float[Array, " agents"]  # V = sigma mu, dimensionless
    observations: Float[Array, " agents"]  # |O|
    outages: Float[Array, " agents"]  # |F|
    price: Float[Array, " agents"]  # US$ per request; 0 where nothing is charged
    link_ends: Int[Array, "links 2"]  # each undirected link once, first < second
    link_ber: Float[Array, " links"]  # E[BER], in [0, 1]
    arrival_rate: Float[Array, ""]  # lambda, requests per minute


@no_type_check
@flax.struct.dataclass
class Request:
    """What one service needs: the agent types in order, and the constraints (18b), (18c)."""

    types: Int[Array, " hops"]  # index into Scenario.type_names
    capability_threshold: Float[Array, ""]  # C_th, > 0
    max_latency: Float[Array, ""]  # L_max, minutes


@dataclass(frozen=True, kw_only=True)
class MadeBy:
    """What a network was made by, so that it can be made again."""

    rule: str  # name of the rule that filled in what the source does not say
    seed: int  # of everything that the rule drew
    source: str  # the file that it started from
    notes: tuple[str, ...] = ()  # what the rule did to the source, one line each


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A network with its default request and the names that the arrays do not hold."""

    name: str
    network: AgenticNetwork
    request: Request
    agent_ids: tuple[str, ...]  # one per agent, unique
    type_names: tuple[str, ...]  # what agent_type indexes
    elam_names: tuple[str, ...]  # E-LAMs kappa that can be selected
    elam_fees: Float[Array, " elams"]  # F(kappa), subtracted from the QoE
    made_by: MadeBy | None = None  # None: not said


class NeighbourTable(NamedTuple):
    """Neighbours of every agent in ascending order, padded to the largest degree."""

    neighbours: Int[Array, "agents degree"]  # padded with the agent's own index
    link: Int[Array, "agents degree"]  # padded with 0
    valid: Bool[Array, "agents degree"]


def neighbour_table(num_agents: int, link_ends: LinkEnds) -> NeighbourTable:
    """Padded neighbour lists, built on the host; memory is agents times the largest degree."""
    ends = np.asarray(link_ends)
    tail = np.concatenate([ends[:, 0], ends[:, 1]])
    head = np.concatenate([ends[:, 1], ends[:, 0]])
    link = np.tile(np.arange(len(ends)), 2)
    order = np.lexsort((head, tail))
    tail, head, link = tail[order], head[order], link[order]

    degree = np.bincount(tail, minlength=num_agents)
    shape = (num_agents, max(1, int(degree.max(initial=0))))
    column = np.arange(len(tail)) - np.repeat(np.cumsum(degree) - degree, degree)
    neighbours = np.broadcast_to(np.arange(num_agents)[:, None], shape).copy()
    links = np.zeros(shape, dtype=int)
    valid = np.zeros(shape, dtype=bool)
    neighbours[tail, column] = head
    links[tail, column] = link
    valid[tail, column] = True
    return NeighbourTable(
        jax.device_put(neighbours.astype(np.int32)),
        jax.device_put(links.astype(np.int32)),
        jax.device_put(valid),
    )


def chain_links(
    network: AgenticNetwork, chain: Int[Array, " hops"]
) -> tuple[Int[Array, " hops-1"], Bool[Array, " hops-1"]]:
    """The link between each agent of a chain and the next.

    Returns:
      Index of the link (0 where there is none), and whether there is one. Costs hops times links, without a
      lookup table.
    """
    first = jnp.minimum(chain[:-1], chain[1:])
    second = jnp.maximum(chain[:-1], chain[1:])
    if network.link_ends.shape[0] == 0:
        return jnp.zeros_like(first), jnp.zeros(first.shape, bool)
    ends = network.link_ends
    match = (first[:, None] == ends[None, :, 0]) & (second[:, None] == ends[None, :, 1])
    return jnp.argmax(match, axis=1).astype(chain.dtype), jnp.any(match, axis=1)


def serves_request(network: AgenticNetwork, request: Request, chain: Int[Array, " hops"]) -> Bool[Array, ""]:
    """LAMeTA (18d): agents of the requested types in order, all different, each linked to the next."""
    _, linked = chain_links(network, chain)
    repeats = jnp.sum(chain[:, None] == chain[None, :]) > chain.shape[0]
    return jnp.all(network.agent_type[chain] == request.types) & jnp.all(linked) & ~repeats


def to_graph(network: AgenticNetwork, nodes: Float[Array, "agents features"]) -> jraph.GraphsTuple:
    """The network as a jraph graph: each link in both directions, its BER as the one edge feature."""
    first, second = network.link_ends[:, 0], network.link_ends[:, 1]
    return jraph.GraphsTuple(
        nodes=nodes,
        edges=jnp.concatenate([network.link_ber, network.link_ber])[:, None],
        senders=jnp.concatenate([first, second]),
        receivers=jnp.concatenate([second, first]),
        globals=None,
        n_node=jnp.array([nodes.shape[0]]),
        n_edge=jnp.array([2 * network.link_ends.shape[0]]),
    )
