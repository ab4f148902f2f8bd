"""Crash, overload and outage, LAMeTA (9), (11)-(14)."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import network_twin as twin
from scipy.stats import poisson

from lameta_jax.network.outage import (
    chain_outage,
    crash_probability,
    overload_probability,
    sustainable_rate,
)
from lameta_jax.network.probability import probability_of_any


def test_overload_by_hand():
    # lambda = 2, lambda_max = 2.7: 1 - e^-2 (1 + 2 + 2) = 1 - 5 e^-2
    assert float(overload_probability(2.0, jnp.array(2.7))) == pytest.approx(1 - 5 * math.exp(-2), rel=1e-6)
    # at a whole rate, floor(3) = 3: one term more, 2^3/6
    assert float(overload_probability(2.0, jnp.array(3.0))) == pytest.approx(
        1 - (5 + 8 / 6) * math.exp(-2), rel=1e-5
    )


@pytest.mark.parametrize("arrival_rate", [1e-3, 0.5, 4.0, 60.0, 900.0])
def test_overload_is_the_poisson_tail_however_small(arrival_rate):
    rate = arrival_rate * np.array([1.01, 1.5, 3.0, 5.5]) + 0.3
    with jax.enable_x64(True):
        computed = overload_probability(arrival_rate, jnp.asarray(rate))
    expected = poisson.sf(np.floor(rate), arrival_rate)
    np.testing.assert_allclose(computed, expected, rtol=1e-8, atol=1e-300)
    by_loop = [twin.poisson_tail(arrival_rate, limit) for limit in rate]
    np.testing.assert_allclose(computed, by_loop, rtol=1e-8, atol=1e-300)


def test_the_slowest_agent_limits_the_chain():
    # lambda / mu is largest where mu is smallest
    assert float(sustainable_rate(jnp.array([21.0, 8.0, 30.0]))) == 8.0


def test_chain_outage_by_hand():
    # crashes 0.1 and 0.2, overload 0.5: 1 - 0.9 * 0.8 * 0.5 = 0.64
    crash = crash_probability(jnp.array([10.0, 40.0]), jnp.array([100.0, 200.0]))
    assert float(chain_outage(crash, jnp.array(0.5))) == pytest.approx(0.64, rel=1e-6)


def test_certain_and_impossible_events():
    assert float(probability_of_any(jnp.array([0.0, 0.0]))) == 0.0
    assert float(probability_of_any(jnp.array([0.3, 1.0]))) == 1.0
    gradient = jax.grad(probability_of_any)(jnp.array([1.0, 0.25, 0.0]))
    # d/dp_i = product of the others' complements: 0.75 * 1, 0 * 1, 0 * 0.75
    np.testing.assert_allclose(gradient, [0.75, 0.0, 0.0])


def test_overload_gradient_in_the_load_is_the_poisson_density():
    # d/dlambda P(R > n) = e^-lambda lambda^n / n!; here n = 3, lambda = 2: e^-2 8/6. In mu it is flat.
    by_load, by_rate = jax.grad(overload_probability, (0, 1))(2.0, jnp.array(3.4))
    assert float(by_load) == pytest.approx(math.exp(-2) * 8 / 6, rel=1e-5)
    assert float(by_rate) == 0.0
