"""Adaptation and meta-gradients against closed forms, finite differences and plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from lameta_jax.meta.adaptation import adapt, descend, meta_gradient, sgd_step

RATE = 0.1


@pytest.fixture(autouse=True)
def doubles():
    with jax.enable_x64(True):
        yield


def network_loss(params, batch):
    """A network with a smooth activation."""
    inputs, targets = batch
    hidden = jnp.tanh(inputs @ params["in"] + params["bias"][None])
    return jnp.mean((hidden @ params["out"] - targets) ** 2)


def network_case(steps, seed=0):
    rng = np.random.default_rng(seed)
    params = {"in": rng.normal(size=(3, 4)), "bias": rng.normal(size=4), "out": rng.normal(size=4)}
    inner = (rng.normal(size=(steps, 5, 3)), rng.normal(size=(steps, 5)))
    outer = (rng.normal(size=(6, 3)), rng.normal(size=6))
    return jax.tree.map(jnp.asarray, (params, inner, outer))


def quadratic(params, batch):
    """1/2 (w - c)' A (w - c)."""
    matrix, centre = batch
    return 0.5 * (params - centre) @ matrix @ (params - centre)


def quadratic_case(steps, seed=0):
    """One inner problem in all steps, and an outer one."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, 3, 3))
    matrices, centres = roots @ roots.transpose(0, 2, 1) + np.eye(3), rng.normal(size=(2, 3))
    inner = (jnp.asarray([matrices[0]] * steps), jnp.asarray([centres[0]] * steps))
    return jnp.asarray(rng.normal(size=3)), inner, (jnp.asarray(matrices[1]), jnp.asarray(centres[1]))


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 9, 11])
def test_it_is_a_plain_loop_of_steps(steps):
    params, inner, _ = network_case(steps)
    expected = params
    for step in range(steps):
        batch = jax.tree.map(lambda leaf, step=step: leaf[step], inner)
        expected = descend(expected, jax.grad(network_loss)(expected, batch), RATE)
    found = adapt(network_loss, params, inner, RATE)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected)


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_quadratic_adapts_by_the_power_of_its_contraction(steps):
    params, inner, _ = quadratic_case(steps)
    matrix, centre = inner[0][0], inner[1][0]
    contraction = np.linalg.matrix_power(np.eye(3) - RATE * matrix, steps)
    np.testing.assert_allclose(
        adapt(quadratic, params, inner, RATE), centre + contraction @ (params - centre), rtol=1e-12
    )


@pytest.mark.parametrize("steps", [1, 4, 7])
def test_meta_gradients_of_a_quadratic(steps):
    params, inner, (outer_matrix, outer_centre) = quadratic_case(steps)
    matrix, centre = inner[0][0], inner[1][0]
    contraction = np.linalg.matrix_power(np.eye(3) - RATE * matrix, steps)
    at_adapted = outer_matrix @ (centre + contraction @ (params - centre) - outer_centre)
    for order, expected in (("first_order", at_adapted), ("second_order", contraction.T @ at_adapted)):
        _, found = meta_gradient(quadratic, params, inner, (outer_matrix, outer_centre), RATE, order)
        np.testing.assert_allclose(found, expected, rtol=1e-11, err_msg=order)


@pytest.mark.parametrize("steps", [1, 5, pytest.param(30, marks=pytest.mark.slow)])
def test_second_order_meta_gradients_equal_finite_differences(steps):
    params, inner, outer = network_case(steps)
    flat, unravel = ravel_pytree(params)
    objective = jax.jit(lambda vector: network_loss(adapt(network_loss, unravel(vector), inner, RATE), outer))
    width = 1e-6
    differences = [
        (objective(flat + shift) - objective(flat - shift)) / (2 * width)
        for shift in width * jnp.eye(len(flat))
    ]
    loss, grads = meta_gradient(network_loss, params, inner, outer, RATE)
    np.testing.assert_allclose(ravel_pytree(grads)[0], differences, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(loss, objective(flat), rtol=1e-12)


@pytest.mark.parametrize("order", ["first_order", "second_order"])
def test_no_step_leaves_the_plain_gradient(order):
    params, inner, outer = network_case(0)
    jax.tree.map(np.testing.assert_array_equal, adapt(network_loss, params, inner, RATE), params)
    found = meta_gradient(network_loss, params, inner, outer, RATE, order)
    expected = jax.value_and_grad(network_loss)(params, outer)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), found, expected)


def test_a_step_goes_down():
    params, inner, _ = network_case(1)
    batch = jax.tree.map(lambda leaf: leaf[0], inner)
    assert network_loss(sgd_step(network_loss, params, batch, 1e-3), batch) < network_loss(params, batch)


def test_memory_hardly_grows_with_the_number_of_steps():
    """What the compiler reserves beside arguments and results, where activations are larger than parameters."""

    def reserved(steps):
        shapes = {"in": (32, 64), "bias": (64,), "out": (64,)}
        params = {name: jnp.zeros(shape) for name, shape in shapes.items()}
        inner, outer = ((jnp.zeros((*lead, 1024, 32)), jnp.zeros((*lead, 1024))) for lead in ((steps,), ()))
        program = jax.jit(lambda *arguments: meta_gradient(network_loss, *arguments, RATE))
        return program.lower(params, inner, outer).compile().memory_analysis().temp_size_in_bytes

    assert reserved(30) <= 1.5 * reserved(5)
    assert reserved(5) > 3 * 1024 * 64 * 8  # the activations of a step are in it
