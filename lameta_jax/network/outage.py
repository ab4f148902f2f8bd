"""Probability that a chain fails to serve, by crash or by overload, LAMeTA eqs. (9), (11)-(14)."""

import jax.numpy as jnp
from jax.scipy.special import gammainc
from jaxtyping import Array, Float

from lameta_jax.network.probability import probability_of_any
from lameta_jax.types import Scalar


def crash_probability(
    outages: Float[Array, "*batch"], observations: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Share of observations in which an agent was down, |F| / |O|, a factor of LAMeTA eq. (9)."""
    return outages / observations


def sustainable_rate(service_rate: Float[Array, "*batch hops"]) -> Float[Array, "*batch"]:
    """Throughput limit of a chain, per minute: the service rate of its busiest agent, LAMeTA eqs. (11), (12).

    All agents of a chain see the same arrivals, so the largest lambda / mu belongs to the smallest mu.
    """
    return jnp.min(service_rate, axis=-1)


def overload_probability(
    arrival_rate: Scalar, service_rate: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    r"""Probability of more than lambda_max arrivals within one minute.

        P_over = 1 - sum_{k <= floor(lambda_max)} e^{-lambda} lambda^k / k! = P(floor(lambda_max) + 1, lambda)

    with P the regularised lower incomplete gamma function: no loop, no overflow, no cancellation.

    Args:
      arrival_rate: lambda, per minute.
      service_rate: lambda_max of (12), per minute.

    Reference: LAMeTA eq. (13).

    >>> round(float(overload_probability(1.0, jnp.array(1.5))), 6)  # 1 - 2/e
    0.264241
    """
    more_than = jnp.floor(service_rate) + 1
    return gammainc(more_than, jnp.full_like(more_than, arrival_rate))


def chain_outage(
    crash: Float[Array, "*batch hops"], overload: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Outage probability of a chain, 1 - prod_i (1 - |F_i|/|O_i|) (1 - P_over), LAMeTA eqs. (9) and (14)."""
    return probability_of_any(jnp.concatenate([crash, overload[..., None]], axis=-1))
