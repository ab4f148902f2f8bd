"""The graph encoder: the convolution against dense matrices, and what embeddings may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from reference import composition_twin as twin
from reference.composition_cases import four_agents, permuted, six_agents

from lameta_jax.composition.encoder import (
    MAX_HOPS,
    NUM_NODE_FEATURES,
    GraphEncoder,
    Scene,
    graph_convolution,
    look,
    mixing_matrix,
    node_features,
)
from lameta_jax.composition.env import make_env_params
from lameta_jax.composition.links import link_of_pairs
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.network import AgenticNetwork

ENCODER = GraphEncoder(8, 2, rngs=nnx.Rngs(0))


def scene_with_links(num_agents, link_ends, pairs):
    """A scene with these links, with the matrix that mixes neighbours or as a large network without it."""
    ones = jnp.ones(num_agents)
    network = AgenticNetwork(
        agent_type=jnp.zeros(num_agents, jnp.int32), capability=ones, service_rate=ones, service_cv=ones,
        observations=ones, outages=ones, price=ones, link_ends=jnp.array(link_ends, jnp.int32),
        link_ber=jnp.zeros(len(link_ends)), arrival_rate=jnp.array(0.5),
    )  # fmt: skip
    mixing = mixing_matrix(link_of_pairs(num_agents, network.link_ends)) if pairs else None
    return Scene(jnp.zeros((num_agents, NUM_NODE_FEATURES)), network, mixing)


@pytest.mark.parametrize("pairs", [True, False])
@given(st.integers(0, 10_000))
def test_the_convolution_is_the_formula_by_products_of_matrices_and_by_jraph(pairs, seed):
    generator = np.random.default_rng(seed)
    possible = np.argwhere(np.triu(np.ones((6, 6)), 1))
    link_ends = possible[generator.permutation(len(possible))[:7]]
    hidden, weights = generator.normal(size=(6, 3)), generator.normal(size=(3, 2))
    update = lambda nodes: nodes @ jnp.asarray(weights, dtype=float)
    result = graph_convolution(
        scene_with_links(6, link_ends, pairs), jnp.asarray(hidden, dtype=float), update
    )
    assert result == pytest.approx(twin.graph_convolution(link_ends, hidden, weights), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("pairs", [True, False])
def test_an_agent_without_links_keeps_to_itself(pairs):
    nodes = jnp.array([[1.0], [3.0], [5.0]])
    result = graph_convolution(scene_with_links(3, [(0, 1)], pairs), nodes, lambda nodes: nodes)
    # Degrees with self-loops: 2, 2, 1. (1 + 3) / 2 for the linked ones.
    assert result.ravel().tolist() == pytest.approx([2, 2, 5])


def test_features_by_hand():
    features = np.asarray(node_features(make_env_params(parse_scenario(four_agents(), "four"))))
    assert features.shape == (4, NUM_NODE_FEATURES) and NUM_NODE_FEATURES == 8 + MAX_HOPS
    # a: best capability; slowest; |O| all alike; fewest outages; crash 0; rho = 4/8; links (1 + 0) / 2
    assert features[0, :8] == pytest.approx([1, 0, 1, 1, 0, 1, 0.5, 0.5])
    # c: the link to b2 alone, I(0.03) = 0.5
    assert features[3, 7] == pytest.approx(0.5)
    # ln L: (ln 0.25 - ln 0.125) / (ln 0.25 - ln 0.05) for b2
    assert features[2, 4] == pytest.approx(np.log(2) / np.log(5))
    # Request A -> B: a can be first, b1 and b2 second, c neither.
    assert features[:, 8:10].tolist() == [[1, 0], [0, 1], [0, 1], [0, 0]]
    assert not features[:, 10:].any()


def test_features_stay_within_the_unit_interval_under_overload():
    params = make_env_params(parse_scenario(six_agents(), "six"))
    params = params.replace(network=params.network.replace(arrival_rate=jnp.array(13.0)))
    features = np.asarray(node_features(params))
    assert np.all((features >= 0) & (features <= 1))


def test_embeddings_follow_the_agents_when_they_are_listed_in_another_order():
    order = [3, 5, 0, 1, 4, 2]
    encoding = ENCODER(look(make_env_params(parse_scenario(six_agents(), "six"))))
    shuffled = ENCODER(look(make_env_params(parse_scenario(permuted(six_agents(), order), "six"))))
    assert shuffled.nodes == pytest.approx(np.asarray(encoding.nodes)[order], abs=1e-6)
    assert shuffled.graph == pytest.approx(np.asarray(encoding.graph), abs=1e-6)


def test_the_graph_embedding_is_the_mean():
    encoding = ENCODER(look(make_env_params(parse_scenario(six_agents(), "six"))))
    assert encoding.graph == pytest.approx(np.asarray(encoding.nodes).mean(axis=0), abs=1e-6)


def test_too_long_a_request_is_refused():
    params = make_env_params(parse_scenario(six_agents(), "six"))
    params = params.replace(request=params.request.replace(types=jnp.zeros(MAX_HOPS + 1, jnp.int32)))
    with pytest.raises(ValueError, match="a request of 9 agents is longer than MAX_HOPS = 8"):
        jax.eval_shape(node_features, params)
