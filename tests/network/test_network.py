"""The arrays: neighbours, links of a chain, (18d), the jraph graph, batching."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.network_cases import random_network, small_network

from lameta_jax.network.files import parse_scenario
from lameta_jax.network.network import chain_links, neighbour_table, serves_request, to_graph


@pytest.fixture(scope="module")
def scenario():
    return parse_scenario(small_network(), "small")


def chain_of(scenario, *ids):
    return jnp.array([scenario.agent_ids.index(agent_id) for agent_id in ids])


def test_neighbour_table_by_hand():
    # 0 - 2, 2 - 1, and 3 alone
    table = neighbour_table(4, np.array([[0, 2], [1, 2]]))
    np.testing.assert_array_equal(table.neighbours, [[2, 0], [2, 1], [0, 1], [3, 3]])
    np.testing.assert_array_equal(table.link, [[0, 0], [1, 0], [0, 1], [0, 0]])
    np.testing.assert_array_equal(table.valid, [[True, False], [True, False], [True, True], [False, False]])


def test_neighbour_table_without_links():
    table = neighbour_table(3, np.zeros((0, 2), int))
    assert table.neighbours.shape == (3, 1) and not table.valid.any()


def test_neighbour_table_holds_every_link_twice():
    network = parse_scenario(random_network(0), "random").network
    table = neighbour_table(8, network.link_ends)
    assert int(table.valid.sum()) == 2 * network.link_ends.shape[0]
    ends = np.asarray(network.link_ends)
    for agent in range(8):
        for neighbour, link, valid in zip(*(np.asarray(part)[agent] for part in table), strict=True):
            if valid:
                assert sorted([agent, int(neighbour)]) == ends[link].tolist()


def test_links_are_stored_in_ascending_order(scenario):
    ends = np.asarray(scenario.network.link_ends)
    assert np.all(ends[:, 0] < ends[:, 1])


def test_chain_links(scenario):
    # w2 - w1 is link 3, w1 - d1 link 2; r1 and d1 are not linked
    link, linked = jax.jit(chain_links)(scenario.network, chain_of(scenario, "w2", "w1", "d1"))
    np.testing.assert_array_equal(link, [3, 2])
    assert linked.all()
    _, linked = chain_links(scenario.network, chain_of(scenario, "w1", "r1", "d1"))
    np.testing.assert_array_equal(linked, [True, False])


def test_chain_links_in_a_network_without_links(scenario):
    network = scenario.network.replace(link_ends=jnp.zeros((0, 2), int), link_ber=jnp.zeros(0))
    link, linked = chain_links(network, jnp.arange(3))
    assert link.shape == (2,) and not linked.any()


@pytest.mark.parametrize(
    "chain, succeeds",
    [
        (("r1", "w1", "d1"), True),
        (("r1", "w2", "d1"), True),
        (("d1", "w2", "r1"), False),  # wrong types
        (("r1", "x1", "d1"), False),  # wrong type, not linked
    ],
)
def test_serves_request(scenario, chain, succeeds):
    chain = chain_of(scenario, *chain)
    assert bool(serves_request(scenario.network, scenario.request, chain)) is succeeds


def test_an_agent_serves_once(scenario):
    # reader -> writer -> writer through w1 - w2, but not w1 - w1
    request = scenario.request.replace(types=scenario.request.types[jnp.array([0, 1, 1])])
    assert serves_request(scenario.network, request, chain_of(scenario, "r1", "w1", "w2"))
    assert not serves_request(scenario.network, request, chain_of(scenario, "r1", "w1", "w1"))


def test_graph_has_both_directions_of_each_link(scenario):
    network = scenario.network
    graph = to_graph(network, jnp.ones((5, 3)))
    directed = dict(
        zip(zip(graph.senders.tolist(), graph.receivers.tolist(), strict=True), graph.edges, strict=True)
    )
    assert len(directed) == 12 and graph.edges.shape == (12, 1)
    for (first, second), ber in zip(network.link_ends.tolist(), network.link_ber, strict=True):
        assert directed[first, second] == directed[second, first] == ber
    assert graph.n_node.tolist() == [5] and graph.n_edge.tolist() == [12]


def test_networks_batch(scenario):
    # a slot per load: vmap returns, and takes, a network of stacked arrays
    loads = jnp.array([1.0, 2.0])
    batch = jax.vmap(lambda load: scenario.network.replace(arrival_rate=load))(loads)
    rates = jax.vmap(lambda network: network.arrival_rate / network.service_rate[0])(batch)
    np.testing.assert_allclose(rates, loads / 30)
