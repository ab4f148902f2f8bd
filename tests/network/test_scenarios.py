"""Named scenarios, random topologies, and that none of it needs an agents x agents array."""

import tracemalloc
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from reference import network_twin as twin

from lameta_jax.network.chains import has_chain
from lameta_jax.network.network import NetworkError, neighbour_table
from lameta_jax.network.optimum import beam_search, optimum
from lameta_jax.network.scenarios import NAMED, ScenarioConfig, draw_scenario, load_named
from lameta_jax.network.topologies import TOPOLOGIES, draw_topology


def test_shipped_scenario():
    scenario = load_named("lameta-81")
    assert scenario.name == "lameta-81"
    assert scenario.agent_ids[:2] == ("a00", "a01")
    assert scenario.type_names == ("type-1", "type-2", "type-3", "type-4")
    assert scenario.network.link_ends.shape == (1001, 2)
    # a00: compute budget 7.9737e+21, 15.6492 per minute
    budget = {"compute_budget": 7.9737e21}
    assert float(scenario.network.capability[0]) == pytest.approx(twin.capability(budget), rel=1e-6)
    assert float(scenario.network.service_rate[0]) == pytest.approx(15.6492, rel=1e-6)


def test_other_seeds_follow_the_rules():
    scenario = load_named("lameta-81", seed=1)
    network = scenario.network
    assert scenario.name == "lameta-81" and len(scenario.agent_ids) == 81
    # 81 = 21 + 20 + 20 + 20
    assert sorted(np.bincount(network.agent_type)) == [20, 20, 20, 21]
    low, high = (twin.capability({"compute_budget": budget}) for budget in (1e19, 1e24))
    assert np.all((network.capability >= low * 0.999) & (network.capability <= high * 1.001))
    seconds = 60 / np.asarray(network.service_rate)
    assert np.all((seconds > 0.799) & (seconds < 11.001))
    assert np.all((network.service_cv >= 0.3) & (network.service_cv <= 1.5))
    assert np.all((network.observations >= 200) & (network.observations < 2000))
    assert np.all(network.outages <= network.observations)
    assert np.all((network.link_ber >= 10**-3.5 * 0.999) & (network.link_ber <= 0.1001))
    # 81 * 80 / 2 pairs with probability 0.3: 972, standard deviation 26
    assert abs(network.link_ends.shape[0] - 972) < 130
    # bigger models are slower
    assert np.corrcoef(np.log(network.capability), np.log(seconds))[0, 1] > 0.7


def test_a_seed_is_a_network():
    first, again, other = (load_named("lameta-81", seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first.network.service_rate, again.network.service_rate)
    np.testing.assert_array_equal(first.network.link_ends, again.network.link_ends)
    assert not np.array_equal(first.network.service_rate, other.network.service_rate)


def test_unknown_name():
    with pytest.raises(NetworkError, match="network name = 'lameta-9' must be one of lameta-81, lameta-1k"):
        load_named("lameta-9")


@pytest.mark.parametrize("topology", TOPOLOGIES)
def test_topologies(topology):
    config = ScenarioConfig(topology=topology, mean_degree=12.0)
    scenario = draw_scenario(config, seed=3)
    network = scenario.network
    ends = np.asarray(network.link_ends)
    assert has_chain(network, scenario.request)
    assert np.all(ends[:, 0] < ends[:, 1]) and len(np.unique(ends, axis=0)) == len(ends)
    assert ends.min() >= 0 and ends.max() < 81
    assert np.all((network.link_ber > 0) & (network.link_ber <= 0.5))
    if topology == "grid":
        # 9 x 9: 2 * 9 * 8 links
        assert len(ends) == 144
    else:
        # the border of the square costs random-geometric some
        assert 0.6 * 12 < 2 * len(ends) / 81 < 1.3 * 12


def test_random_geometric_links_get_worse_with_distance():
    # 0 dB at the edge of the range: p = (1 - sqrt(1/2)) / 2, two branches p^2 (1 + 2 (1 - p)) = 0.0581
    topology = draw_topology("random-geometric", 200, 12.0, np.random.default_rng(0))
    assert 0.03 < topology.link_ber.max() <= 0.0581
    assert topology.link_ber.min() < 1e-4


def test_topologies_of_prime_size_and_unknown_name():
    # 7 agents fit only a 1 x 7 grid
    assert len(draw_topology("grid", 7, 4.0, np.random.default_rng(0)).link_ends) == 6
    with pytest.raises(NetworkError, match="topology = 'ring' must be one of erdos-renyi"):
        draw_topology("ring", 7, 4.0, np.random.default_rng(0))


@pytest.mark.parametrize(
    "change", [{"topology": "ring"}, {"num_types": 0}, {"num_agents": 1}, {"mean_degree": 0.0}]
)
def test_unusable_configurations(change):
    with pytest.raises(NetworkError, match=next(iter(change))):
        replace(ScenarioConfig(), **change)


def test_a_request_that_no_draw_can_serve():
    with pytest.raises(NetworkError, match="request: type = 'type-9' .* in each of 20 draws"):
        draw_scenario(ScenarioConfig(num_agents=8, request=("type-1", "type-9")))


def test_ten_thousand_agents_stay_sparse():
    # One byte for each pair of agents would be 100 MB.
    tracemalloc.start()
    scenario = load_named("lameta-10k")
    table = neighbour_table(10_000, np.asarray(scenario.network.link_ends))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 90e6
    assert 2 * scenario.network.link_ends.shape[0] / 10_000 == pytest.approx(20, rel=0.02)
    assert table.neighbours.shape[1] < 60

    preferences = jnp.array([[0.4, 0.3, 0.2, 0.1], [0.1, 0.1, 0.7, 0.1]])
    best = optimum(scenario.network, scenario.request, preferences)
    # 2500 first agents with about 5 neighbours of each next type
    assert 40_000 < best.evaluated < 90_000
    beam = beam_search(scenario.network, scenario.request, preferences)
    assert np.all(beam.qoe <= best.qoe[:, 0] + 1e-5) and np.all(beam.bound >= best.qoe[:, 0] - 1e-5)
    assert np.all(beam.qoe > 0.97 * best.qoe[:, 0])


def test_one_thousand_agents():
    scenario = load_named("lameta-1k", seed=2)
    assert len(scenario.agent_ids) == NAMED["lameta-1k"].num_agents == 1000
    assert 2 * scenario.network.link_ends.shape[0] / 1000 == pytest.approx(20, rel=0.05)
