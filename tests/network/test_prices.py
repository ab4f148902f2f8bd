"""Prices that the QoE is charged for, against plain enumeration by the twin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import network_twin as twin
from reference.network_cases import random_network, small_network

from lameta_jax.composition.evaluate import value_chains
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import beam_search, optimum
from lameta_jax.network.qoe import chain_price

PREFERENCE = (0.4, 0.2, 0.3, 0.1)
# One shape for all searches: they are compiled once.
USER = jnp.array([PREFERENCE])
value = jax.jit(value_chains)


def priced(seed, request=("t0", "t1", "t2")):
    """A random network whose agents cost between 0 and 0.1 US$, and in which most chains are feasible."""
    mapping = random_network(seed, request=request) | {"max_latency": 1.5, "capability_threshold": 0.005}
    generator = np.random.default_rng(seed)
    for agent in mapping["agents"]:
        agent["price"] = float(generator.uniform(0, 0.1))
    return mapping


def best_by_twin(mapping, weight):
    """Feasible chains by QoE less weight times price, best first."""
    prices = [agent["price"] for agent in mapping["agents"]]
    best = twin.best_chains(mapping, PREFERENCE, "power")
    return sorted(((q - weight * sum(prices[i] for i in chain), chain) for q, chain in best), reverse=True)


def test_the_price_of_a_chain_is_the_sum_over_its_agents():
    mapping = small_network()
    for agent, price in zip(mapping["agents"], [0.1, 0.02, 0.003, 0.0004, 5], strict=True):
        agent["price"] = price
    network = parse_scenario(mapping, "small").network
    prices = chain_price(network, jnp.array([[0, 1, 3], [0, 2, 3]]))
    np.testing.assert_allclose(prices, [0.1204, 0.1034], rtol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 10.0, 1000.0])
def test_the_optimum_and_the_beam_pay_the_price(weight):
    compared = 0
    for seed in range(6):
        mapping = priced(seed)
        expected = best_by_twin(mapping, weight)
        if not expected:
            continue
        scenario = parse_scenario(mapping, "priced")
        network, request = scenario.network, scenario.request
        best = optimum(network, request, USER, top=2, price_weight=weight)
        assert tuple(best.agents[0, 0].tolist()) == expected[0][1]
        found = best.qoe[0, : len(expected)]
        np.testing.assert_allclose(found, [qoe for qoe, _ in expected[:2]], rtol=1e-4, atol=1e-4)
        valued = value(network, request, best.agents[:, 0], USER, price_weight=weight)
        np.testing.assert_allclose(valued, best.qoe[:, 0], rtol=1e-5)
        for width in (1, 100):
            beam = beam_search(network, request, USER, width=width, price_weight=weight)
            rounding = 1e-5 * (1 + abs(expected[0][0]))
            assert beam.qoe[0] <= expected[0][0] + rounding or beam.agents[0, 0] < 0
            assert beam.bound[0] >= expected[0][0] - rounding
        # the wide beam drops nothing
        assert tuple(beam.agents[0].tolist()) == expected[0][1]
        compared += 1
    assert compared >= 4


def test_a_high_weight_buys_the_cheapest_chain():
    mapping = priced(0)
    prices = [agent["price"] for agent in mapping["agents"]]
    cheapest = min(sum(prices[i] for i in chain) for _, chain in best_by_twin(mapping, 0))
    scenario = parse_scenario(mapping, "priced")
    best = optimum(scenario.network, scenario.request, USER, top=2, price_weight=1e5)
    assert float(chain_price(scenario.network, best.agents[0, 0])) == pytest.approx(cheapest, rel=1e-5)


def test_a_chain_that_fails_costs_nothing():
    scenario = parse_scenario(priced(0), "priced")
    broken = jnp.array([[0, 0, 0]])
    assert value(scenario.network, scenario.request, broken, USER, price_weight=10.0).tolist() == [-1.0]
