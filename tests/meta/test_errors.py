"""Errors of adapted agents by hand, and local optima against closed forms and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from lameta_jax.meta.agents import over_agents
from lameta_jax.meta.errors import generalisation_error, local_optimum, personalisation_error


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def ridge_loss(model, batch):
    inputs, labels = batch
    return jnp.mean((inputs @ model["weights"] - labels) ** 2) / 2 + 0.1 * jnp.sum(model["weights"] ** 2) / 2


def logistic_loss(model, batch):
    inputs, labels = batch
    logits = inputs @ model
    return jnp.mean(jnp.logaddexp(0.0, logits) - labels * logits) + 0.05 * jnp.sum(model**2) / 2


@pytest.fixture
def data():
    generator = np.random.default_rng(3)
    inputs = generator.normal(size=(40, 6)) * np.array([1, 1, 2, 0.3, 5, 0.1])
    return inputs, inputs @ generator.normal(size=6) + generator.normal(size=40)


def test_generalisation_error_is_the_mean_over_agents():
    # (0.9 - 0.4 + 0.5 - 0.6 + 1.0 - 0.0) / 3 = 1.4 / 3; all of one agent's loss: (2 - 1 + 0 + 0) / 3
    population = jnp.array([[0.9, 0.5, 1.0], [2.0, 0.0, 0.0]])
    empirical = jnp.array([[0.4, 0.6, 0.0], [1.0, 0.0, 0.0]])
    found = generalisation_error(population, empirical)
    np.testing.assert_allclose(found, [1.4 / 3, 1 / 3], rtol=1e-12)


def test_personalisation_error_counts_both_ways():
    found = personalisation_error(jnp.array([0.7, 0.2]), jnp.array([0.5, 0.5]))
    np.testing.assert_allclose(found, [0.2, 0.3], rtol=1e-12)


def test_each_agent_has_the_loss_of_its_own_model(data):
    inputs, labels = data
    models = {"weights": np.arange(12.0).reshape(2, 6) / 10}
    batches = (inputs.reshape(2, 20, 6), labels.reshape(2, 20))
    expected = []
    for agent in range(2):
        weights, x, y = models["weights"][agent], batches[0][agent], batches[1][agent]
        expected.append(np.mean((x @ weights - y) ** 2) / 2 + 0.05 * np.sum(weights**2))
    found = over_agents("mapped", ridge_loss, *jax.tree.map(jnp.asarray, (models, batches)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_local_optimum_of_ridge_is_the_closed_form(data):
    inputs, labels = data
    start = {"weights": jnp.zeros(6)}
    found = local_optimum(ridge_loss, start, jax.tree.map(jnp.asarray, data), tolerance=1e-9)
    best = np.linalg.solve(inputs.T @ inputs / 40 + 0.1 * np.eye(6), inputs.T @ labels / 40)
    assert found.reached and float(found.gradient_norm) <= 1e-9 and 0 < int(found.steps) < 200
    np.testing.assert_allclose(found.params["weights"], best, rtol=1e-6)
    residuals = inputs @ best - labels
    assert float(found.loss) == pytest.approx(np.mean(residuals**2) / 2 + 0.05 * best @ best, rel=1e-10)


def test_local_optimum_of_logistic_regression_is_scipys(data):
    inputs, labels = data[0], (data[1] > 0).astype(float)

    def objective(model):
        logits = inputs @ model
        loss = np.mean(np.logaddexp(0, logits) - labels * logits) + 0.025 * model @ model
        gradient = inputs.T @ (1 / (1 + np.exp(-logits)) - labels) / 40 + 0.05 * model
        return loss, gradient

    best = minimize(objective, np.zeros(6), jac=True, method="BFGS", options={"gtol": 1e-10})
    batch = (jnp.asarray(inputs), jnp.asarray(labels))
    found = local_optimum(logistic_loss, jnp.zeros(6), batch, tolerance=1e-9)
    assert found.reached
    np.testing.assert_allclose(found.params, best.x, atol=1e-7)
    assert float(found.loss) == pytest.approx(best.fun, rel=1e-12)


def test_a_tolerance_that_is_not_reached_is_seen(data):
    batch = jax.tree.map(jnp.asarray, data)
    found = local_optimum(ridge_loss, {"weights": jnp.zeros(6)}, batch, tolerance=1e-12, max_steps=3)
    inputs, labels = data
    weights = np.asarray(found.params["weights"])
    gradient = inputs.T @ (inputs @ weights - labels) / 40 + 0.1 * weights
    assert not found.reached and int(found.steps) == 3
    assert float(found.gradient_norm) == pytest.approx(np.linalg.norm(gradient), rel=1e-9)
    assert np.linalg.norm(gradient) > 1e-12


def test_who_starts_at_the_optimum_stays(data):
    batch = jax.tree.map(jnp.asarray, data)
    best = local_optimum(ridge_loss, {"weights": jnp.zeros(6)}, batch, tolerance=1e-9)
    again = local_optimum(ridge_loss, best.params, batch, tolerance=1e-8)
    assert again.reached and int(again.steps) == 0
    np.testing.assert_array_equal(again.params["weights"], best.params["weights"])


def test_a_loss_without_end_stops_and_says_so():
    found = local_optimum(
        lambda model, batch: jnp.sum(batch * model), jnp.ones(2), jnp.ones(2), 1e-3, max_steps=20
    )
    assert not found.reached and float(found.gradient_norm) == pytest.approx(2**0.5)
    broken = local_optimum(
        lambda model, batch: jnp.sum(batch * jnp.log(model)), -jnp.ones(2), jnp.ones(2), 1e-3
    )
    assert not broken.reached and int(broken.steps) <= 1
