"""Generalised advantage estimation (42) against arithmetic and against the printed double sum."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import composition_twin as twin

from lameta_jax.composition.advantages import generalised_advantages, standardised, weighted_mean

NO, YES = False, True


def estimate(rewards, values, next_values, terminated, truncated, gamma=0.5, gae_lambda=0.5):
    advantages = generalised_advantages(
        jnp.array(rewards), jnp.array(values), jnp.array(next_values),
        jnp.array(terminated), jnp.array(truncated), gamma, gae_lambda,
    )  # fmt: skip
    return np.asarray(advantages)


def test_an_episode_that_ends():
    # delta = [1 + 0.5*4 - 2, 2 + 0.5*6 - 4, 3 + 0 - 6] = [1, 1, -3]; carried over with 0.5*0.5 = 0.25:
    # A_2 = -3, A_1 = 1 - 0.75 = 0.25, A_0 = 1 + 0.0625
    advantages = estimate([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [4.0, 6.0, 9.0], [NO, NO, YES], [NO, NO, NO])
    assert advantages == pytest.approx([1.0625, 0.25, -3.0])


def test_a_time_limit_is_bootstrapped_but_not_summed_across():
    # Step 1 is cut off: delta_1 = 2 + 0.5*8 - 4 = 2 and A_1 = 2 (nothing of A_2); A_0 = 1 + 0.25*2.
    # Step 2 begins another episode: delta_2 = 3 + 0 - 6 = -3.
    advantages = estimate([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [4.0, 8.0, 9.0], [NO, NO, YES], [NO, YES, NO])
    assert advantages == pytest.approx([1.5, 2.0, -3.0])


def test_a_true_end_is_neither_bootstrapped_nor_summed_across():
    # delta_1 = 2 + 0 - 4 = -2 = A_1; A_0 = 1 - 0.5
    advantages = estimate([1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [4.0, 8.0, 9.0], [NO, YES, YES], [NO, NO, NO])
    assert advantages == pytest.approx([0.5, -2.0, -3.0])


def test_lambda_one_and_no_critic_give_the_discounted_return():
    # 1 + 0.5*2 + 0.25*3 = 2.75
    zeros = [0.0, 0.0, 0.0]
    advantages = estimate([1.0, 2.0, 3.0], zeros, zeros, [NO, NO, YES], [NO, NO, NO], gae_lambda=1.0)
    assert advantages == pytest.approx([2.75, 3.5, 3.0])


@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 1))
def test_the_printed_sum(seed, gamma, gae_lambda):
    generator = np.random.default_rng(seed)
    rewards, values, next_values = generator.normal(size=(3, 6, 2))
    terminated, truncated = generator.random((2, 6, 2)) < 0.3
    advantages = estimate(rewards, values, next_values, terminated, truncated, gamma, gae_lambda)
    for episode in range(2):
        columns = (part[:, episode] for part in (rewards, values, next_values, terminated, truncated))
        expected = twin.advantages(*columns, gamma, gae_lambda)
        assert advantages[:, episode] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_means_are_over_what_counts():
    assert float(weighted_mean(jnp.array([1.0, 3.0, 100.0]), jnp.array([1.0, 1.0, 0.0]))) == 2.0
    assert float(weighted_mean(jnp.array([1.0]), jnp.array([0.0]))) == 0.0
    # of 1 and 5: mean 3, deviation 2
    found = standardised(jnp.array([1.0, 5.0, 7.0]), jnp.array([1.0, 1.0, 0.0]))
    assert found.tolist() == pytest.approx([-1.0, 1.0, 2.0])
