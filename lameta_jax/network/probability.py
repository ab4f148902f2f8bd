"""The probability that at least one of several independent events happens, accurate however small it is."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def probability_of_any(probabilities: Float[Array, "*batch events"]) -> Float[Array, "*batch"]:
    r"""Probability of at least one of independent events, 1 - prod_i (1 - p_i).

    Accumulated as p + q (1 - p), never as one minus a product: that would round probabilities below the
    precision of the float type to 0, and its logarithmic form has no gradient where some p_i = 1.

    >>> round(float(probability_of_any(jnp.array([0.1, 0.2]))), 6)  # 1 - 0.9 * 0.8
    0.28
    """
    total = jnp.zeros(probabilities.shape[:-1], probabilities.dtype)
    for event in range(probabilities.shape[-1]):
        total = total + probabilities[..., event] * (1 - total)
    return total
