"""Counts of operations against those by hand."""

import jax
import jax.numpy as jnp
import pytest

from lameta_jax.scale.flops import matmul_flops

A, B = jnp.ones((3, 5)), jnp.ones((5, 7))


def test_a_product():
    assert matmul_flops(jnp.matmul, A, B) == 2 * 3 * 5 * 7
    assert matmul_flops(lambda a, b: jnp.sum(a) + jnp.sum(b), A, B) == 0


def test_batches_and_their_products():
    many = lambda a, b: jax.vmap(jnp.matmul)(a, b)
    assert matmul_flops(many, jnp.ones((4, 3, 5)), jnp.ones((4, 5, 7))) == 4 * 2 * 3 * 5 * 7
    assert matmul_flops(jax.vmap(jnp.matmul, (0, None)), jnp.ones((4, 3, 5)), B) == 4 * 2 * 3 * 5 * 7


def test_a_gradient_takes_two_more_products():
    loss = lambda a, b: jnp.sum(jnp.sin(a @ b))
    assert matmul_flops(jax.grad(loss, (0, 1)), A, B) == 3 * 2 * 3 * 5 * 7


def test_loops_count_as_often_as_they_run():
    def scanned(square):
        return jax.lax.scan(lambda carry, _: (jax.jit(jnp.matmul)(carry, square), None), square, length=6)[0]

    assert matmul_flops(scanned, jnp.ones((5, 5))) == 6 * 2 * 5**3
    with pytest.raises(ValueError, match="not known beforehand"):
        matmul_flops(
            lambda x: jax.lax.while_loop(lambda y: y[0, 0] < 9, lambda y: y @ y, x), jnp.ones((5, 5))
        )


def test_of_branches_the_most_expensive_counts():
    either = lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: y @ y @ y, x)
    assert matmul_flops(either, jnp.ones((5, 5))) == 2 * 2 * 5**3


def test_a_convolution():
    images, kernel = jnp.ones((2, 8, 9, 3)), jnp.ones((5, 4, 3, 6))
    convolve = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    assert matmul_flops(convolve, images, kernel) == 2 * (2 * 4 * 6 * 6) * (5 * 4 * 3)
