"""Losses of weighted preference distillation against arithmetic and the twin."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import distillation_twin as twin
from reference.intents_cases import random_preferences

from lameta_jax.distillation.losses import (
    implicit_reward,
    negative_log_likelihood,
    preference_probability,
    weighted_beta,
    weighted_dpo_loss,
)


def real(*values):
    return [jnp.asarray(value, dtype=float) for value in values]


def drawn(seed, samples=3, rejected=2):
    """Log-probabilities of chosen and rejected answers, the reference's, and temperatures."""
    generator = np.random.default_rng(seed)
    shapes = [(samples,), (samples, rejected)] * 2
    return [-generator.gamma(2.0, 5.0, shape) for shape in shapes] + [generator.uniform(0.01, 2.0, samples)]


def test_probability_of_a_preference_by_hand():
    # sigma(log 3) = 3 / 4; only the difference counts
    assert float(preference_probability(*real(math.log(3.0), 0.0))) == pytest.approx(0.75)
    assert float(preference_probability(*real(10.0, 10.0 + math.log(3.0)))) == pytest.approx(0.25)


def test_implicit_reward_by_hand():
    # 1/2 * (-1 - -3) = 1
    assert float(implicit_reward(*real(-1.0, -3.0, 0.5))) == 1.0


def test_beta_by_hand():
    # from the even mean [1, 0, 0, 0] is 60 of 180 degrees away: Dis = 1/3, and 0.3 * (1 - 1.5 / 3) = 0.15
    preferences, even = real([[1, 0, 0, 0], [0.25] * 4], [0.25] * 4)
    assert np.asarray(weighted_beta(preferences, even, *real(0.3, 1.5))) == pytest.approx([0.15, 0.3])
    assert np.asarray(weighted_beta(preferences, even, *real(0.3, 0.0))) == pytest.approx([0.3, 0.3])


@given(st.integers(0, 10_000), st.floats(0.01, 1.0), st.floats(0.0, 1.99))
def test_beta_is_that_of_the_paper_and_positive(seed, base, slope):
    preferences = random_preferences(seed, 6)
    found = np.asarray(weighted_beta(*real(preferences, preferences.mean(axis=0), base, slope)))
    assert found == pytest.approx(twin.weighted_beta(preferences, base, slope), abs=1e-5)
    assert (found > 0).all()
    assert (found <= base * (1 + 1e-6)).all()


def test_loss_of_one_pair_by_hand():
    # the chosen answer gained -1 - -2 = 1, the rejected one lost -5 - -4 = -1: margin 0.5 * (1 + 1) = 1,
    # and -log sigma(1) = log(1 + 1/e)
    loss = weighted_dpo_loss(*real([-1.0], [[-5.0]], [-2.0], [[-4.0]], [0.5]))
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-1)))
    # a second rejected answer that gained as much as the chosen one: margin 0, log 2; the mean of both
    loss = weighted_dpo_loss(*real([-1.0], [[-5.0, -2.0]], [-2.0], [[-4.0, -3.0]], [0.5]))
    assert float(loss) == pytest.approx((math.log(1 + math.exp(-1)) + math.log(2)) / 2)


@given(st.integers(0, 10_000))
def test_loss_is_that_of_the_paper(seed):
    arguments = drawn(seed)
    assert float(weighted_dpo_loss(*real(*arguments))) == pytest.approx(twin.dpo_loss(*arguments), rel=1e-4)


@given(st.integers(0, 10_000), st.floats(0.0, 100.0))
def test_where_policy_and_reference_agree_the_loss_is_log_2(seed, scale):
    chosen, rejected, _, _, beta = drawn(seed)
    loss = weighted_dpo_loss(*real(chosen, rejected, chosen, rejected, scale * beta))
    assert float(loss) == pytest.approx(math.log(2.0), rel=1e-6)


def test_gradient_raises_the_chosen_and_lowers_the_rejected():
    # dL / d log pi(s_i) = - beta_i mean_j sigma(-margin_ij) / samples, and the opposite sign, one by one, for c_ij
    arguments = drawn(5)
    chosen, rejected, reference_chosen, reference_rejected, beta = arguments
    margin = beta[:, None] * ((chosen - reference_chosen)[:, None] - (rejected - reference_rejected))
    pull = beta[:, None] / (1.0 + np.exp(margin)) / margin.size
    raised, lowered = jax.grad(weighted_dpo_loss, (0, 1))(*real(*arguments))
    assert np.asarray(raised) == pytest.approx(-pull.sum(axis=1), rel=1e-4)
    assert np.asarray(lowered) == pytest.approx(pull, rel=1e-4)
    assert (np.asarray(raised) < 0).all()
    assert (np.asarray(lowered) > 0).all()


def test_no_margin_is_too_large():
    for sign in (-1.0, 1.0):
        arguments = real([sign * 1e4], [[-sign * 1e4]], [0.0], [[0.0]], [1.0])
        loss, gradient = jax.value_and_grad(weighted_dpo_loss)(*arguments)
        # log(1 + exp(-margin)) is 0 for margin 2e4 and 2e4 for margin -2e4
        assert float(loss) == pytest.approx(0.0 if sign > 0 else 2e4)
        assert float(gradient[0]) == pytest.approx(0.0 if sign > 0 else -1.0)


def test_likelihood_by_hand():
    assert float(negative_log_likelihood(*real([-1.0, -2.0, -6.0]))) == 3.0
