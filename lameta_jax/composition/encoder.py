"""Graph encoder: from agents and links to node and graph embeddings (LAMeTA eqs. (33b), (36), (37)).

The conditions of a network are constant within a slot, so a slot is encoded once and shared by all its users.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jraph
from flax import nnx
from jaxtyping import Array, Float, Int

from lameta_jax.composition.env import EnvParams
from lameta_jax.composition.lookahead import Remaining
from lameta_jax.composition.reward import normalised_benefit
from lameta_jax.network.network import AgenticNetwork, to_graph
from lameta_jax.network.queueing import agent_latency, traffic_intensity
from lameta_jax.types import CAPABILITY, LATENCY, OUTAGE

MAX_HOPS = 8
"""Longest request that a policy can serve; places in the request are one-hot over this many."""

MAX_MIXED = 512
"""Agents up to which neighbours are mixed by a product of matrices; above, going edge by edge is as fast."""

NUM_NODE_FEATURES = 8 + MAX_HOPS


class Scene(NamedTuple):
    """What a policy sees of a slot before any weight comes in: the same however often the policy changes."""

    features: Float[Array, "agents features"]
    network: AgenticNetwork
    mixing: Float[Array, "agents agents"] | None  # D^-1/2 (A + I) D^-1/2 of (36); None for large networks
    remaining: Remaining | None = None  # where the policy has lookahead


class Table(NamedTuple):
    """What linear layers make of every agent, where looking it up is less work than working it out at every decision.

    That is where a slot sees more decisions than it has agents.
    """

    actor: Float[Array, "agents hidden"]  # what a predecessor adds to the first layer of the actor
    critic: Float[Array, "agents hidden"]  # and to that of the critic


class View(NamedTuple):
    """A slot as the policy sees it at one place of the request, with all agents to choose from or some."""

    nodes: Float[Array, "agents width"]
    graph: Float[Array, " width"]
    keys: Any  # what a pointer compares, Float[Array, "candidates width"]; else None
    remaining: (
        Remaining | None
    )  # where the policy has lookahead; of the candidates, without the axis of places
    table: Table | None  # of all agents


class Encoding(NamedTuple):
    """A slot as the policy sees it, the same for all users and steps."""

    nodes: Float[Array, "agents width"]
    graph: Float[Array, " width"]
    keys: Float[Array, "agents width"] | None = None  # where the policy is a pointer
    remaining: Remaining | None = None  # where the policy has lookahead
    table: Table | None = None  # where it pays

    def at(self, place: int | Int[Array, ""], among: Int[Array, " candidates"] | None = None) -> View:
        """What matters at a place of the request.

        Under `vmap`, a place that is the same for all users leaves one copy for all of them.

        Args:
          among: the agents to choose from, for a pointer; by default all.
        """
        of = lambda leaf: leaf if among is None else leaf[among]
        remaining = self.remaining
        if remaining is not None:
            remaining = jax.tree.map(
                lambda leaf: leaf[place] if among is None else leaf[place, among], remaining
            )
        keys = None if self.keys is None else of(self.keys)
        return View(self.nodes, self.graph, keys, remaining, self.table)


def node_features(params: EnvParams) -> Float[Array, "agents features"]:
    """Features of every agent in one slot, each in [0, 1].

    {C, L, |O|, |F|} of (33b), min-max normalised over the network, and what we add to them: ln L and the
    crash probability normalised likewise, the traffic intensity rho (4), the mean benefit I(BER) of its
    links, and the places in the request that its type can fill.
    """
    network, types = params.network, params.request.types
    if params.num_hops > MAX_HOPS:
        raise ValueError(f"a request of {params.num_hops} agents is longer than MAX_HOPS = {MAX_HOPS}")
    latency = agent_latency(network.arrival_rate, network.service_rate, network.service_cv)
    ends = network.link_ends.T.reshape(-1)
    benefit_sum = jnp.zeros_like(network.capability).at[ends].add(jnp.tile(params.link_benefits, 2))
    degree = jnp.zeros_like(network.capability).at[ends].add(1.0)
    columns = [
        params.node_benefits[:, CAPABILITY],
        params.node_benefits[:, LATENCY],
        normalised_benefit(network.observations, larger_is_better=True),
        normalised_benefit(network.outages, larger_is_better=False),
        normalised_benefit(latency, larger_is_better=False, log_scale=True),
        params.node_benefits[:, OUTAGE],
        jnp.minimum(traffic_intensity(network.arrival_rate, network.service_rate), 1.0),
        benefit_sum / jnp.maximum(degree, 1.0),
    ]
    places = jnp.zeros((params.num_agents, MAX_HOPS), dtype=network.capability.dtype)
    places = places.at[:, : types.shape[0]].set(network.agent_type[:, None] == types[None, :])
    return jnp.concatenate([jnp.stack(columns, axis=-1), places], axis=-1)


def look(params: EnvParams) -> Scene:
    """What a slot looks like, without lookahead."""
    pairs = params.link_of_pairs
    mixing = None if pairs is None or params.num_agents > MAX_MIXED else mixing_matrix(pairs)
    return Scene(node_features(params), params.network, mixing)


def mixing_matrix(link_of_pairs: Int[Array, "agents agents"]) -> Float[Array, "agents agents"]:
    """D^-1/2 (A + I) D^-1/2 of (36), from the link between any two agents, -1 where there is none."""
    linked = jnp.where(link_of_pairs >= 0, 1.0, 0.0) + jnp.eye(link_of_pairs.shape[0])
    scale = jax.lax.rsqrt(jnp.sum(linked, axis=1))
    return scale[:, None] * linked * scale[None, :]


def graph_convolution(
    scene: Scene, nodes: Float[Array, "agents inputs"], update: Callable[[Any], Any]
) -> Float[Array, "agents outputs"]:
    """One layer of (36) before its ReLU: D^-1/2 (A + I) D^-1/2 H W, with `update` the linear map H -> H W.

    A product of matrices; by jraph, edge by edge, where the network is too large for that.

    Reference: LAMeTA eq. (36); Kipf and Welling, Semi-Supervised Classification with Graph Convolutional
    Networks, 2017, arXiv:1609.02907, eq. (2).
    """
    if scene.mixing is not None:
        return scene.mixing @ update(nodes)
    convolve = jraph.GraphConvolution(update, add_self_edges=True, symmetric_normalization=True)
    return convolve(to_graph(scene.network, nodes)).nodes


class GraphEncoder(nnx.Module):
    """GCN with mean pooling.

    Two additions to the paper: a layer per node comes before the first aggregation, so that an agent can send
    its neighbours a judgement of itself ("a good second agent") rather than raw features; and the outputs of
    all layers are joined, because with a mean degree of 24 the deeper ones are nearly equal for all agents.
    """

    def __init__(self, width: int, num_layers: int, *, rngs: nnx.Rngs):
        dtype = jnp.result_type(float)
        self.embed = nnx.Linear(NUM_NODE_FEATURES, width, param_dtype=dtype, rngs=rngs)
        self.layers = nnx.List(
            [
                nnx.Linear(width, width, use_bias=False, param_dtype=dtype, rngs=rngs)
                for _ in range(num_layers)
            ]
        )
        self.join = nnx.Linear(width * (num_layers + 1), width, param_dtype=dtype, rngs=rngs)

    def __call__(self, scene: Scene) -> Encoding:
        hidden = jax.nn.relu(self.embed(scene.features))
        outputs = [hidden]
        for layer in self.layers:
            hidden = jax.nn.relu(graph_convolution(scene, hidden, layer))
            outputs.append(hidden)
        nodes = jax.nn.relu(self.join(jnp.concatenate(outputs, axis=-1)))
        return Encoding(nodes, jnp.mean(nodes, axis=0), remaining=scene.remaining)
