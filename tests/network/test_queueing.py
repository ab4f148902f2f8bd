"""M/G/1 latency, LAMeTA (4)-(8), (10)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.network_gradients import assert_gradients_match

from lameta_jax.network.queueing import agent_latency, chain_latency, traffic_intensity, waiting_time


def test_exponential_service():
    # M/M/1: rho = 4/10, W = rho / (mu - lambda) = 0.4 / 6, L = 1 / (mu - lambda) = 1/6
    rate, cv = jnp.array(10.0), jnp.array(1.0)
    assert float(traffic_intensity(4.0, rate)) == pytest.approx(0.4)
    assert float(waiting_time(4.0, rate, cv)) == pytest.approx(0.4 / 6, rel=1e-6)
    assert float(agent_latency(4.0, rate, cv)) == pytest.approx(1 / 6, rel=1e-6)


def test_constant_service_waits_half_as_long():
    # M/D/1: (1 + 0^2) / (1 + 1^2) = 1/2
    rate = jnp.array(10.0)
    half = waiting_time(4.0, rate, jnp.array(0.0)) / waiting_time(4.0, rate, jnp.array(1.0))
    assert float(half) == pytest.approx(0.5, rel=1e-6)


def test_general_service_by_second_moment():
    # (6), first form: mean 0.1, deviation 0.2, E[S^2] = 0.04 + 0.01 = 0.05, W = 4 * 0.05 / (2 * 0.6) = 1/6
    assert float(waiting_time(4.0, jnp.array(10.0), jnp.array(2.0))) == pytest.approx(1 / 6, rel=1e-6)


def test_chain_latency_is_the_sum():
    assert float(chain_latency(jnp.array([0.1, 0.2, 0.3]))) == pytest.approx(0.6, rel=1e-6)


@pytest.mark.parametrize("rate", [4.0, 3.0])
def test_an_overloaded_agent_never_answers(rate):
    latency, gradient = jax.value_and_grad(lambda mu: agent_latency(4.0, mu, jnp.array(1.0)))(jnp.array(rate))
    assert np.isposinf(latency)
    # only 1/mu is left to differentiate
    assert float(gradient) == pytest.approx(-1 / rate**2, rel=1e-6)


def test_near_saturation():
    # lambda = 4, mu = 4 (1 + 1e-9): W = rho / (mu - lambda) = 1 / (1 + 1e-9) / 4e-9
    with jax.enable_x64(True):
        waiting = waiting_time(4.0, jnp.array(4 * (1 + 1e-9)), jnp.array(1.0))
    assert float(waiting) == pytest.approx(1 / (1 + 1e-9) / 4e-9, rel=1e-6)


def test_gradients():
    assert_gradients_match(agent_latency, 4.0, [5.0, 20.0], [0.0, 1.3])
