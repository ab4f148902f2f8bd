"""Capability of agents and chains, LAMeTA (1a)-(2)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import network_twin as twin
from reference.network_gradients import assert_gradients_match

from lameta_jax.network.capability import (
    agent_capability,
    chain_capability,
    optimal_parameters,
    optimal_tokens,
    pretraining_loss,
)


def test_parameters_times_tokens_spend_the_budget():
    # C = 6 N D: the prefactors of (1b) and (1c) are inverse, the exponents of C/6 add up to 1.
    budget = np.array([1e19, 3e21, 1e24])
    spent = 6 * optimal_parameters(budget) * optimal_tokens(budget)
    np.testing.assert_allclose(spent, budget, rtol=1e-12)


def test_optimal_parameters_by_hand():
    # C = 6: (C/6)^x = 1, so N = (0.34 * 406.4 / (0.28 * 410.7))^(1/0.62) = (138.176 / 114.996)^1.612903
    # = exp(1.612903 * ln 1.201572) = exp(1.612903 * 0.183631) = exp(0.296179) = 1.34471
    assert float(optimal_parameters(np.array([6.0]))[0]) == pytest.approx(1.34471, rel=1e-5)


def test_the_optimum_is_one():
    # Moving parameters up or down at the same budget 6 N D raises zeta/N^0.34 + eta/D^0.28.
    budget = np.array([3e21])
    best = pretraining_loss(budget)
    for factor in (0.9, 1.1):
        parameters = factor * optimal_parameters(budget)
        tokens = budget / 6 / parameters
        assert 406.4 / parameters**0.34 + 410.7 / tokens**0.28 > best


@pytest.mark.parametrize("budget", [1e12, 1e19, 3e21, 1e24])
def test_agent_capability_matches_the_twin(budget):
    with jax.enable_x64(True):
        computed = agent_capability(jnp.array(budget))
    assert float(computed) == pytest.approx(twin.capability({"compute_budget": budget}), rel=1e-12)
    assert float(agent_capability(jnp.array(budget))) == pytest.approx(float(computed), rel=2e-4)


def test_chain_capability_divides_by_the_number_of_hops():
    # 0.5 * 0.4 * 0.3 / 3 = 0.02; one agent: itself
    assert float(chain_capability(jnp.array([0.5, 0.4, 0.3]))) == pytest.approx(0.02, rel=1e-6)
    assert float(chain_capability(jnp.array([0.5]))) == 0.5


def test_gradients():
    assert_gradients_match(lambda digits: agent_capability(10**digits), [20.0, 23.0])
    assert_gradients_match(chain_capability, [0.5, 0.4, 0.3])
