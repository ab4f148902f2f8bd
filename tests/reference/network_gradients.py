"""Automatic against finite differences, in float64."""

import jax
import jax.numpy as jnp
from jax.test_util import check_grads


def assert_gradients_match(function, *arguments, order=1):
    """`check_grads`, which calls with NumPy arrays, for functions that take JAX arrays only."""
    with jax.enable_x64(True):
        arguments = tuple(jnp.asarray(argument, dtype=float) for argument in arguments)
        check_grads(lambda *values: function(*map(jnp.asarray, values)), arguments, order, eps=1e-5)
