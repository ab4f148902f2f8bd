"""Adaptation of one agent against recursions in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.meta.convex_adaptation import (
    measure_personalisation,
    noisy_gradient,
    only_agent,
    sampled_gradient,
)
from lameta_jax.meta.ridge import Ridge

EIGENVALUES = np.array([1.0, 2.0, 4.0])
TARGET, OFFSET = np.array([0.5, -0.2, 0.1]), np.array([0.3, 0.4, -0.5])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def quadratic():
    """Hessian diag(1, 2, 4); the target is the optimum."""
    other = jnp.ones((1, 3))
    both = Ridge(
        jnp.concatenate([other, TARGET[None]]), jnp.diag(EIGENVALUES), noise=jnp.array(0.3), l2=jnp.array(0.0)
    )
    return only_agent(both, 1)


def measure(problem, gradient, num_steps, num_runs=1, **options):
    optimum = problem.optima()[0]
    start = optimum + jnp.asarray(OFFSET)
    return np.asarray(
        measure_personalisation(
            jax.random.key(0), problem, gradient, start, optimum, num_steps, num_runs, **options
        )
    )


def rates_of(schedule, num_steps):
    mu = 0.8
    steps = np.arange(1, num_steps + 1)
    return {
        "printed": np.full(num_steps, 2 / (mu * (num_steps + 1))),
        "decaying": 2 / (mu * (steps + 1)),
        "constant": np.full(num_steps, 0.1),
    }[schedule]


@pytest.mark.parametrize("schedule", ["printed", "decaying", "constant"])
@pytest.mark.parametrize("num_steps", [0, 1, 7])
def test_exact_gradients_shrink_each_direction_by_its_factor(quadratic, schedule, num_steps):
    options = {"schedule": schedule, "strong_convexity": 0.8, "constant": 0.1}
    found = measure(quadratic, noisy_gradient(quadratic, 0.0), num_steps, **options)
    factors = np.prod(1 - np.outer(rates_of(schedule, num_steps), EIGENVALUES), axis=0)
    expected = np.sum(EIGENVALUES * (factors * OFFSET) ** 2) / 2
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("schedule", ["printed", "decaying"])
def test_noise_adds_up_as_second_moments_say(quadratic, schedule):
    gradient = noisy_gradient(quadratic, 0.6)
    found = measure(quadratic, gradient, 12, num_runs=4000, schedule=schedule, strong_convexity=0.8)
    squares = OFFSET**2
    for rate in rates_of(schedule, 12):
        squares = (1 - rate * EIGENVALUES) ** 2 * squares + rate**2 * 0.6 / 3
    expected = np.sum(EIGENVALUES * squares) / 2
    assert abs(found.mean() - expected) < 4 * found.std() / 4000**0.5
    assert found.std() / 4000**0.5 < 0.03 * expected


def test_a_step_on_fresh_samples_adds_the_variance_of_their_gradient(quadratic):
    """E L(w - beta g) = L(w - beta E g) + beta^2 tr(H Cov g) / 2, with a Hessian that is a multiple of 1."""
    problem = quadratic.replace(covariance=2 * jnp.eye(3), l2=jnp.array(0.5))
    found = measure(
        problem, sampled_gradient(problem, 4), 1, num_runs=4000, schedule="constant", constant=0.1
    )
    start = problem.optima() + jnp.asarray(OFFSET)[None]
    variance = float(problem.gradient_variance(start)[0]) / 4
    expected = 2.5 * np.sum(((1 - 0.1 * 2.5) * OFFSET) ** 2) / 2 + 0.1**2 * 2.5 * variance / 2
    assert abs(found.mean() - expected) < 4 * found.std() / 4000**0.5
    assert found.std() / 4000**0.5 < 0.03 * expected


def test_only_agent_is_that_agent(quadratic):
    np.testing.assert_array_equal(quadratic.targets, TARGET[None])
    np.testing.assert_allclose(quadratic.optima(), TARGET[None], rtol=1e-12)
