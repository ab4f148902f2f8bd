"""Normalisation and rewards, (34) and (35), by hand."""

import jax.numpy as jnp
import pytest

from lameta_jax.composition.reward import episode_bonus, normalised_benefit, step_reward
from lameta_jax.network.network import Request
from lameta_jax.network.qoe import ChainFactors

REQUEST = Request(types=jnp.array([0, 1]), capability_threshold=jnp.array(0.01), max_latency=jnp.array(1.0))


def bonus(latency=0.5, capability=0.3, succeeded=True, preference=(0.25, 0.25, 0.25, 0.25)):
    factors = ChainFactors(*(jnp.array(x) for x in (capability, 0.0, latency, 0.0)))
    return float(
        episode_bonus(
            factors, jnp.array(preference), REQUEST, jnp.array(succeeded), qoe_form="power", failure_qoe=-1.0
        )
    )


def test_benefits_are_min_max_and_larger_is_better():
    values = jnp.array([2.0, 6.0, 3.0])
    assert normalised_benefit(values, larger_is_better=True).tolist() == [0.0, 1.0, 0.25]
    assert normalised_benefit(values, larger_is_better=False).tolist() == [1.0, 0.0, 0.75]


def test_benefits_on_a_log_scale():
    values = jnp.array([0.01, 1.0, 0.1])
    assert normalised_benefit(values, larger_is_better=False, log_scale=True) == pytest.approx([1, 0, 0.5])


def test_equal_values_are_all_the_best():
    assert normalised_benefit(jnp.array([3.0, 3.0]), larger_is_better=False).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("log_scale", [False, True])
def test_an_infinite_latency_is_worst_and_outside_the_range(log_scale):
    values = jnp.array([0.1, jnp.inf, 0.4])
    benefits = normalised_benefit(values, larger_is_better=False, log_scale=log_scale)
    assert benefits.tolist() == [1.0, 0.0, 0.0]


def test_a_step():
    # 0.4*1 + 0.3*0.5 + 0.2*0 + 0.1*0.25 = 0.575, delta = 2
    arguments = jnp.array([1.0, 0.5, 0.0, 0.25]), jnp.array([0.4, 0.3, 0.2, 0.1])
    assert float(step_reward(*arguments, jnp.array(True), jnp.array(2.0))) == pytest.approx(2.575)
    assert float(step_reward(*arguments, jnp.array(False), jnp.array(2.0))) == pytest.approx(-1.425)


def test_the_bonus_is_the_felt_quality():
    # Even weights: ln(0.3 / 0.01) - ln 0.5 = 3.401197 + 0.693147
    assert bonus() == pytest.approx(4.094345, rel=1e-6)
    # All weight on latency: -4 ln 0.5
    assert bonus(preference=(0.0, 0.0, 1.0, 0.0)) == pytest.approx(2.772589, rel=1e-6)


@pytest.mark.parametrize("broken", [{"latency": 1.1}, {"capability": 0.009}, {"succeeded": False}])
def test_a_failed_chain_gets_the_failure_value(broken):
    assert bonus(**broken) == -1.0
