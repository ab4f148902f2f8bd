"""Convex problems against Monte Carlo, integrals by SciPy, derivatives, and numerical maxima of their constants."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad, quad

from lameta_jax.meta.convex import Batch, draw_inputs, matrix_root, projection_quadrature, spread_targets
from lameta_jax.meta.logistic import Logistic
from lameta_jax.meta.ridge import Ridge
from lameta_jax.meta.softmax import Labelled, softmax_constants, softmax_loss

COVARIANCE = np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]])
TARGETS = np.array([[1.0, -0.5, 0.3], [0.2, 0.8, -1.0]])
MODELS = np.array([[0.4, 0.1, -0.2], [-0.3, 0.5, 0.6]])


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def make(kind, law="sphere", covariance=COVARIANCE, targets=TARGETS):
    targets, covariance = jnp.asarray(targets), jnp.asarray(covariance)
    if kind == "ridge":
        return Ridge(targets, covariance, noise=jnp.array(0.4), l2=jnp.array(0.3), law=law)
    return Logistic(targets, covariance, l2=jnp.array(0.3), law=law)


@pytest.mark.parametrize("law", ["gaussian", "sphere"])
def test_inputs_have_the_covariance(law):
    inputs = np.asarray(draw_inputs(jax.random.key(0), jnp.asarray(COVARIANCE), (200_000,), law))
    np.testing.assert_allclose(inputs.T @ inputs / len(inputs), COVARIANCE, atol=0.02)
    np.testing.assert_allclose(inputs.mean(axis=0), 0, atol=0.02)
    whitened = np.sum(inputs @ np.linalg.inv(COVARIANCE) * inputs, axis=1)
    if law == "sphere":
        np.testing.assert_allclose(whitened, 3, rtol=1e-9)
    else:
        assert whitened.var() == pytest.approx(6, rel=0.05)  # chi-squared with 3 degrees


def test_matrix_root():
    root = np.asarray(matrix_root(jnp.asarray(COVARIANCE)))
    np.testing.assert_allclose(root @ root, COVARIANCE, atol=1e-12)


def test_targets_are_as_far_apart_as_asked():
    targets = np.asarray(spread_targets(jax.random.key(0), 1000, 4, heterogeneity=0.5, norm=2.0))
    np.testing.assert_allclose(np.linalg.norm(targets - 1.0, axis=1), 0.5, rtol=1e-9)  # 2 / sqrt(4) each
    np.testing.assert_allclose(targets.mean(axis=0), 1.0, atol=0.05)


@pytest.mark.parametrize("dims", [2, 3, 4, 7])
def test_quadrature_of_the_sphere_has_its_moments(dims):
    nodes, weights = projection_quadrature("sphere", dims)
    # E z^2 = 1 and E z^4 = 3 d / (d + 2) for a coordinate of the sphere of radius sqrt(d)
    assert weights @ nodes**2 == pytest.approx(1, rel=1e-10)
    assert weights @ nodes**4 == pytest.approx(3 * dims / (dims + 2), rel=1e-10)


@pytest.mark.parametrize("law", ["gaussian", "sphere"])
@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_population_loss_is_the_mean_over_many_samples(kind, law):
    problem = make(kind, law)
    batches = problem.sample(jax.random.key(1), 100_000)
    single = jax.vmap(jax.vmap(lambda m, x, y: problem.loss(m, Batch(x[None], y[None])), (None, 0, 0)))
    losses = np.asarray(single(jnp.asarray(MODELS), *batches))
    found = np.asarray(problem.population_loss(jnp.asarray(MODELS)))
    error = losses.std(axis=1) / 100_000**0.5
    assert np.all(np.abs(losses.mean(axis=1) - found) < 4 * error)


def test_logistic_population_loss_is_scipys_integral():
    """Two independent coordinates: one along the target, one across."""
    problem = make("logistic", "gaussian", np.eye(2), np.array([[1.3, 0.0]]))
    model = np.array([[0.7, -1.1]])

    def integrand(across, along):
        density = np.exp(-(along**2 + across**2) / 2) / (2 * np.pi)
        logit, probability = model[0] @ [along, across], 1 / (1 + np.exp(-1.3 * along))
        return density * (np.logaddexp(0, logit) - probability * logit)

    expected, _ = dblquad(integrand, -9, 9, -9, 9, epsabs=1e-9)
    found = problem.population_loss(jnp.asarray(model))
    assert float(found[0]) == pytest.approx(expected + 0.15 * np.sum(model**2), abs=1e-7)


def test_logistic_population_loss_on_the_sphere_is_scipys_integral():
    problem = make("logistic", "sphere", np.eye(5), np.array([[2.0, 0, 0, 0, 0]]))

    def integrand(z):  # a coordinate of the sphere in 5 dimensions has density 3/4 (1 - (z/r)^2) / r
        density = 0.75 * (1 - z**2 / 5) / 5**0.5
        return density * (np.logaddexp(0, 0.5 * z) - 0.5 * z / (1 + np.exp(-2 * z)))

    expected, _ = quad(integrand, -(5**0.5), 5**0.5)
    found = problem.population_loss(jnp.array([[0.5, 0, 0, 0, 0]]))
    assert float(found[0]) == pytest.approx(expected + 0.15 * 0.25, rel=1e-9)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_population_gradient_is_the_slope_of_the_loss(kind):
    problem, step = make(kind), 1e-6
    found = np.asarray(problem.population_gradient(jnp.asarray(MODELS)))
    for place in range(3):
        shift = step * np.eye(3)[place]
        up, down = (np.asarray(problem.population_loss(jnp.asarray(MODELS + s))) for s in (shift, -shift))
        np.testing.assert_allclose(found[:, place], (up - down) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_optima_have_no_gradient(kind):
    problem = make(kind)
    best = problem.optima()
    np.testing.assert_allclose(problem.population_gradient(best), 0, atol=1e-12)
    assert np.all(problem.population_loss(best) < problem.population_loss(best + 0.01))


def test_an_agent_whose_labels_are_noise_has_the_optimum_zero():
    problem = make("logistic", targets=np.zeros((1, 3)))
    np.testing.assert_allclose(problem.optima(), 0, atol=1e-12)
    assert float(problem.population_loss(jnp.zeros((1, 3)))[0]) == pytest.approx(np.log(2), rel=1e-9)


def test_curvature_of_the_population_loss_of_ridge():
    problem = make("ridge")
    hessian = jax.hessian(lambda model: problem.population_loss(jnp.stack([model, model]))[0])(jnp.ones(3))
    values = np.linalg.eigvalsh(hessian)
    np.testing.assert_allclose(problem.population_curvature(), (values[0], values[-1]), rtol=1e-10)


@pytest.mark.parametrize("law", ["gaussian", "sphere"])
def test_gradient_variance_of_ridge(law):
    problem = make("ridge", law)
    batches = problem.sample(jax.random.key(2), 200_000)
    gradient = jax.vmap(
        jax.vmap(jax.grad(lambda m, x, y: problem.loss(m, Batch(x[None], y[None]))), (None, 0, 0))
    )
    grads = np.asarray(gradient(jnp.asarray(MODELS), *batches))
    measured = grads.var(axis=1).sum(axis=-1)
    np.testing.assert_allclose(problem.gradient_variance(jnp.asarray(MODELS)), measured, rtol=0.02)


def sample_maxima(problem, radius, count=2000):
    """Largest curvature, gradient and loss, and smallest curvature, at random samples and models of the ball."""
    keys = jax.random.split(jax.random.key(5), 2)
    batch = jax.tree.map(lambda leaf: leaf[0], problem.sample(keys[0], count))
    models = jax.random.normal(keys[1], (count, 3))
    models = radius * models / jnp.linalg.norm(models, axis=1, keepdims=True)
    single = lambda m, x, y: problem.loss(m, Batch(x[None], y[None]))  # noqa: E731
    values = np.linalg.eigvalsh(jax.vmap(jax.hessian(single))(models, *batch))
    grads = jnp.linalg.norm(jax.vmap(jax.grad(single))(models, *batch), axis=1)
    return values[:, -1].max(), values[:, 0].min(), grads.max(), jax.vmap(single)(models, *batch).max()


@pytest.mark.parametrize("kind", ["ridge", "logistic"])
def test_no_sample_is_beyond_the_constants(kind):
    problem = make(kind)
    constants = problem.constants(1.5)
    smooth, convex, gradient, loss = sample_maxima(problem, 1.5)
    assert smooth <= constants.smoothness and convex >= constants.strong_convexity - 1e-12
    assert gradient <= constants.gradient_bound and loss <= problem.largest_loss(1.5)
    assert constants.strong_convexity == pytest.approx(0.3)


def longest_input():
    values, vectors = np.linalg.eigh(COVARIANCE)
    return np.sqrt(3 * values[-1]) * vectors[:, -1]


def test_constants_of_ridge_are_attained():
    """Input along the longest axis, target against it, model along it, and the largest label noise."""
    x = longest_input()
    unit = x / np.linalg.norm(x)
    problem = make("ridge", targets=-0.8 * unit[None])
    batch = Batch(jnp.asarray(x[None]), jnp.array([-0.8 * np.linalg.norm(x) - 3**0.5 * 0.4]))
    constants, model = problem.constants(1.5), jnp.asarray(1.5 * unit)
    assert np.linalg.eigvalsh(jax.hessian(problem.loss)(model, batch))[-1] == pytest.approx(
        constants.smoothness
    )
    assert np.linalg.norm(jax.grad(problem.loss)(model, batch)) == pytest.approx(constants.gradient_bound)
    assert float(problem.loss(model, batch)) == pytest.approx(problem.largest_loss(1.5))


def test_variance_bound_of_ridge_is_attained():
    """At the model of the ball that is farthest from the target along the direction where it varies most."""
    covariance, scale = np.diag([2.0, 1.0, 0.5]), 3 / 5
    spread = scale * (3.5 * covariance + 2 * covariance**2) - covariance**2
    unit = np.eye(3)[np.argmax(np.diag(spread))]
    problem = make("ridge", covariance=covariance, targets=-0.8 * unit[None])
    found = problem.gradient_variance(jnp.asarray(1.5 * unit[None]))
    assert problem.constants(1.5).gradient_variance == pytest.approx(float(found[0]), rel=1e-10)


def test_constants_of_logistic_regression_are_attained_or_approached():
    problem, x = make("logistic"), longest_input()
    reach, batch = np.linalg.norm(x), Batch(jnp.asarray(x[None]), jnp.array([1.0]))
    constants, hessian = problem.constants(1.5), jax.hessian(problem.loss)
    assert np.linalg.eigvalsh(hessian(jnp.zeros(3), batch))[-1] == pytest.approx(constants.smoothness)
    # the sigmoid bends most at log(2 + sqrt(3))
    model, step = np.log(2 + 3**0.5) * x / reach**2, 1e-5 * x / reach
    change = hessian(jnp.asarray(model + step), batch) - hessian(jnp.asarray(model - step), batch)
    assert np.linalg.norm(change, 2) / 2e-5 == pytest.approx(constants.hessian_lipschitz, rel=1e-6)
    far = problem.constants(6.0)
    gradient = jax.grad(problem.loss)(jnp.asarray(-6.0 * x / reach), batch)
    assert 0.97 * far.gradient_bound < np.linalg.norm(gradient) < far.gradient_bound
    wrong = Batch(batch.inputs, jnp.array([0.0]))
    assert float(problem.loss(jnp.asarray(1.5 * x / reach), wrong)) == pytest.approx(
        problem.largest_loss(1.5)
    )
    samples = problem.sample(jax.random.key(3), 20_000)
    single = jax.vmap(jax.grad(lambda m, x, y: problem.loss(m, Batch(x[None], y[None]))), (None, 0, 0))
    grads = np.asarray(single(jnp.asarray(-1.5 * x / reach), samples.inputs[0], samples.labels[0]))
    assert grads.var(axis=0).sum() < constants.gradient_variance


def test_gaussian_inputs_need_a_stated_radius():
    problem = make("ridge", "gaussian")
    with pytest.raises(ValueError, match="state the radius"):
        problem.constants(1.0)
    assert problem.constants(1.0, input_radius=2.0).smoothness == pytest.approx(4.3)


def test_softmax_loss_is_numpys():
    generator = np.random.default_rng(0)
    inputs, labels, model = (
        generator.normal(size=(5, 3)),
        np.array([0, 2, 1, 1, 3]),
        generator.normal(size=(3, 4)),
    )
    scores = np.exp(inputs @ model)
    expected = np.mean(-np.log(scores[range(5), labels] / scores.sum(axis=1))) + 0.1 * np.sum(model**2)
    found = softmax_loss(0.2)(jnp.asarray(model), Labelled(jnp.asarray(inputs), jnp.asarray(labels)))
    assert float(found) == pytest.approx(expected, rel=1e-12)


def test_no_sample_is_beyond_the_constants_of_softmax():
    generator = np.random.default_rng(1)
    inputs, labels = generator.normal(size=(60, 3)), generator.integers(0, 4, 60)
    constants, loss = softmax_constants(jnp.asarray(inputs), 0.2, model_radius=3.0), softmax_loss(0.2)
    models = generator.normal(size=(60, 3, 4))
    models *= 3 / np.linalg.norm(models, axis=(1, 2))[:, None, None]

    def single(flat, x, y):
        return loss(flat.reshape(3, 4), Labelled(x[None], y[None]))

    arguments = (jnp.asarray(models.reshape(60, 12)), jnp.asarray(inputs), jnp.asarray(labels))
    hessian = jax.jit(jax.vmap(jax.hessian(single)))
    hessians, grads = hessian(*arguments), jax.vmap(jax.grad(single))(*arguments)
    values = np.linalg.eigvalsh(hessians)
    assert values[:, -1].max() <= constants.smoothness and values[:, 0].min() >= 0.2 - 1e-12
    assert np.linalg.norm(grads, axis=1).max() <= constants.gradient_bound
    directions = generator.normal(size=(60, 12))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    ahead, behind = (hessian(arguments[0] + s * directions, *arguments[1:]) for s in (1e-5, -1e-5))
    change = np.linalg.norm((ahead - behind) / 2e-5, 2, axis=(1, 2))
    assert 0 < change.max() <= constants.hessian_lipschitz
    at_one = jax.vmap(jax.grad(single), (None, 0, 0))(*(arguments[0][0], *arguments[1:]))
    assert np.asarray(at_one).var(axis=0).sum() <= constants.gradient_variance


def test_smoothness_of_softmax_is_attained_by_two_even_classes():
    inputs, labels = jnp.array([[3.0, 4.0]]), jnp.array([0])
    model = jnp.zeros((2, 2))
    hessian = jax.hessian(lambda flat: softmax_loss(0.2)(flat.reshape(2, 2), Labelled(inputs, labels)))
    largest = np.linalg.eigvalsh(hessian(model.ravel()))[-1]
    assert softmax_constants(inputs, 0.2, 1.0).smoothness == pytest.approx(largest)  # 25 / 2 + 0.2
