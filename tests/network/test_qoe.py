"""QoE of chains: objective (15), subjective in both forms, constraints and failure."""

import math
from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import network_twin as twin
from reference.network_cases import random_network, valued_chains
from reference.network_gradients import assert_gradients_match

from lameta_jax.network.files import parse_scenario
from lameta_jax.network.network import AgenticNetwork, Request
from lameta_jax.network.optimum import enumerate_chains
from lameta_jax.network.qoe import (
    QOE_FORMS,
    ChainFactors,
    chain_factors,
    meets_constraints,
    objective_qoe,
    realised_qoe,
    subjective_qoe,
)

EVEN = jnp.full(4, 0.25)
THRESHOLD = 0.01


def factors_of(capability, information_loss, latency, outage):
    return ChainFactors(*(jnp.array(x) for x in (capability, information_loss, latency, outage)))


# C/C_th = e^2, L = e^-1: ln(C/C_th) = 2, ln L = -1; B = 0.5, P = 0.25
GOOD = factors_of(0.01 * math.e**2, 0.5, math.exp(-1), 0.25)
# C/C_th = e, L = e^3: the bracket of (15) is 0.5 * 1 - 3 = -2.5
BAD = factors_of(0.01 * math.e, 0.5, math.exp(3), 0.25)


def test_objective_by_hand():
    # 0.75 (0.5 * 2 + 1) = 1.5; to the letter also where the bracket is negative: 0.75 * -2.5 = -1.875
    assert float(objective_qoe(GOOD, THRESHOLD)) == pytest.approx(1.5, rel=1e-5)
    assert float(objective_qoe(BAD, THRESHOLD)) == pytest.approx(-1.875, rel=1e-5)


def test_power_form_by_hand():
    # s = (1/2, 1/4, 1/8, 1/8): w = (2, 1, 1/2, 1/2): 0.75^0.5 (0.5 * 2 * 2 + 0.5) = 0.8660254 * 2.5
    preference = jnp.array([0.5, 0.25, 0.125, 0.125])
    assert float(subjective_qoe(GOOD, preference, THRESHOLD)) == pytest.approx(2.165064, rel=1e-5)


def test_printed_form_by_hand():
    # s = (1/2, 1/4, 1/8, 1/8): (1 - 0.25/8) ((1 - 0.5/4) (ln 0.5 + 2) - (ln 0.125 - 1))
    # = 0.96875 (0.875 * 1.306853 + 3.079442) = 0.96875 * 4.222938 = 4.090971
    preference = jnp.array([0.5, 0.25, 0.125, 0.125])
    assert float(subjective_qoe(GOOD, preference, THRESHOLD, "printed")) == pytest.approx(4.090971, rel=1e-5)


def test_printed_form_floors_weights_in_the_logarithms_only():
    # s = (1, 0, 0, 0): (1 - 0) ((1 - 0) (0 + 2) - (ln 1e-3 - 1)) = 3 + 6.907755
    preference = jnp.array([1.0, 0.0, 0.0, 0.0])
    assert float(subjective_qoe(GOOD, preference, THRESHOLD, "printed")) == pytest.approx(9.907755, rel=1e-5)


def test_even_weights_in_the_power_form_are_the_objective():
    assert float(subjective_qoe(GOOD, EVEN, THRESHOLD)) == pytest.approx(1.5, rel=1e-5)


def test_a_negative_bracket_is_not_softened_by_outage():
    assert float(subjective_qoe(BAD, EVEN, THRESHOLD)) == pytest.approx(-2.5, rel=1e-5)
    # unlike as printed: s even, (1 - P/4) ((1 - 0.125) (ln 0.25 + 1) - (ln 0.25 + 3)) = 0.9375 * -1.951714
    printed = subjective_qoe(BAD, EVEN, THRESHOLD, "printed")
    assert float(printed) == pytest.approx(
        0.9375 * (0.875 * (math.log(0.25) + 1) - math.log(0.25) - 3), rel=1e-5
    )


def test_an_unknown_form_is_refused_by_name():
    with pytest.raises(ValueError, match="form = 'letter' must be one of power, printed"):
        subjective_qoe(GOOD, EVEN, THRESHOLD, "letter")


@lru_cache
def compiled(hops):
    """Factors and QoE in all forms of one chain through the agents 0, 1, ..., in order."""

    def value(network, preference, threshold):
        factors = chain_factors(network, jnp.arange(hops), jnp.arange(hops - 1))
        forms = [subjective_qoe(factors, preference, threshold, form) for form in QOE_FORMS]
        return (*factors, objective_qoe(factors, threshold), *forms)

    return jax.jit(value)


@pytest.mark.parametrize("hops", [2, 3, 4, 5])
def test_matches_the_twin_on_extreme_chains(hops):
    @settings(max_examples=25, deadline=None)
    @given(valued_chains())
    def check(case):
        agents, bers, arrival_rate, threshold, preference = case
        chain, bers = agents[:hops], bers[: hops - 1]
        expected = list(twin.factors(chain, bers, arrival_rate))
        expected.append(twin.objective(*expected, threshold))
        expected.append(twin.power(*expected[:4], threshold, preference))
        expected.append(twin.printed(*expected[:4], threshold, preference))
        with jax.enable_x64(True):
            network = network_in_series(agents, bers, arrival_rate)
            computed = compiled(hops)(network, jnp.array(preference), jnp.array(threshold))
        # The absolute part allows for rounding where a QoE is 0 by cancellation of terms of about 100.
        np.testing.assert_allclose(computed[:4], expected[:4], rtol=1e-7, atol=1e-300)
        np.testing.assert_allclose(computed[4:], expected[4:], rtol=1e-7, atol=1e-11)

    check()


def network_in_series(agents, bers, arrival_rate):
    count = len(agents)
    return AgenticNetwork(
        agent_type=jnp.zeros(count, int),
        capability=jnp.array([twin.capability(agent) for agent in agents]),
        service_rate=jnp.array([agent["service_rate"] for agent in agents]),
        service_cv=jnp.array([agent["service_cv"] for agent in agents]),
        observations=jnp.array([float(agent["observations"]) for agent in agents]),
        outages=jnp.array([float(agent["outages"]) for agent in agents]),
        price=jnp.array([agent.get("price", 0.0) for agent in agents]),
        link_ends=jnp.array([[index, index + 1] for index in range(len(bers))]),
        link_ber=jnp.array(bers),
        arrival_rate=jnp.array(arrival_rate),
    )


@pytest.mark.parametrize("form", QOE_FORMS)
def test_gradients_where_the_qoe_is_smooth(form):
    def value(capability, information_loss, latency, outage, preference):
        factors = ChainFactors(capability, information_loss, latency, outage)
        return subjective_qoe(factors, preference, THRESHOLD, form)

    assert_gradients_match(value, 0.07, 0.2, 0.3, 0.1, [0.4, 0.3, 0.2, 0.1])
    assert_gradients_match(value, 0.011, 0.2, 3.0, 0.1, [0.1, 0.3, 0.5, 0.1])


@pytest.mark.parametrize("form", QOE_FORMS)
def test_gradients_with_respect_to_rates_and_links(form):
    """What capacity planning needs; (13) is a step function of mu, so the overload has no slope in it."""
    agents = [
        {"capability": 0.7, "service_rate": rate, "service_cv": cv, "observations": 100.0, "outages": 3.0}
        for rate, cv in ((8.3, 0.5), (6.4, 1.2), (9.7, 0.0))
    ]

    def value(service_rate, arrival_rate, ber):
        network = network_in_series(agents, [0.0, 0.0], 1.0)
        network = replace(network, service_rate=service_rate, arrival_rate=arrival_rate, link_ber=ber)
        factors = chain_factors(network, jnp.arange(3), jnp.arange(2))
        return subjective_qoe(factors, jnp.array([0.4, 0.3, 0.2, 0.1]), THRESHOLD, form)

    assert_gradients_match(value, [8.3, 6.4, 9.7], 4.0, [0.01, 0.2])


@pytest.mark.parametrize("form", QOE_FORMS)
@pytest.mark.parametrize("loss, outage", [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
@pytest.mark.parametrize("preference", [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
def test_values_and_gradients_are_finite_at_the_edges(form, loss, outage, preference):
    def value(factors, preference):
        return subjective_qoe(factors, preference, THRESHOLD, form)

    for capability, latency in [(0.05, 0.3), (0.0, jnp.inf)]:
        factors = factors_of(capability, loss, latency, outage)
        result, gradient = jax.value_and_grad(value, (0, 1))(factors, jnp.array(preference))
        assert np.isfinite(result)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_zero_weights_ignore_their_factor():
    # w_B = w_P = 0: 0^0 = 1 even where everything is lost; 4 * 0.5 * 2 + 4 * 0.5 * 1 = 6
    lost = factors_of(0.01 * math.e**2, 1.0, math.exp(-1), 1.0)
    assert float(subjective_qoe(lost, jnp.array([0.5, 0, 0.5, 0]), THRESHOLD)) == pytest.approx(6, rel=1e-5)


def test_constraints_and_failure():
    request = Request(types=jnp.arange(3), capability_threshold=jnp.array(0.01), max_latency=jnp.array(1.0))
    factors = ChainFactors(
        capability=jnp.array([0.01, 0.009, 0.05, 0.05]),
        information_loss=jnp.zeros(4),
        latency=jnp.array([1.0, 0.5, 1.001, 0.5]),
        outage=jnp.zeros(4),
    )
    np.testing.assert_array_equal(meets_constraints(factors, request), [True, False, False, True])
    succeeded = jnp.array([True, True, True, False])
    qoe = realised_qoe(factors, EVEN, request, succeeded, failure_qoe=-2.0)
    # the first: ln 1 - ln 1 = 0
    np.testing.assert_allclose(qoe, [0.0, -2.0, -2.0, -2.0], atol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000), st.randoms(use_true_random=False))
def test_renumbering_the_agents_changes_nothing(seed, random):
    mapping = random_network(seed)
    shuffled = mapping | {"agents": random.sample(mapping["agents"], len(mapping["agents"]))}
    values = [chain_values(content) for content in (mapping, shuffled)]
    assert values[0].keys() == values[1].keys()
    for chain, value in values[0].items():
        np.testing.assert_allclose(values[1][chain], value, rtol=1e-6)


@jax.jit
def _four_factors(network, agents, links):
    return jnp.stack(jax.vmap(chain_factors, in_axes=(None, 0, 0))(network, agents, links), axis=1)


def chain_values(mapping):
    """The factors of up to 64 chains by the agents' ids; one size, so that one compilation serves all."""
    scenario = parse_scenario(mapping | {"request": ["t0", "t1"]}, "random")
    table = enumerate_chains(scenario.network, scenario.request)
    count = table.agents.shape[0]
    rows = ((0, 64 - count), (0, 0))
    network = pad_links(scenario.network, 64)
    values = _four_factors(network, jnp.pad(table.agents, rows), jnp.pad(table.links, rows))[:count]
    names = [tuple(scenario.agent_ids[index] for index in chain) for chain in np.asarray(table.agents)]
    return dict(zip(names, np.asarray(values), strict=True))


def pad_links(network, size):
    missing = size - network.link_ber.shape[0]
    return network.replace(
        link_ends=jnp.pad(network.link_ends, ((0, missing), (0, 0))),
        link_ber=jnp.pad(network.link_ber, (0, missing)),
    )
