"""Latency of agents and chains as M/G/1 queues, LAMeTA eqs. (4)-(8) and (10). Time is in minutes."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lameta_jax.types import Scalar


def traffic_intensity(arrival_rate: Scalar, service_rate: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Utilisation of an agent, rho = lambda / mu, LAMeTA eq. (4); the agent is stable below 1."""
    return arrival_rate / service_rate


def waiting_time(
    arrival_rate: Scalar, service_rate: Float[Array, "*batch"], service_cv: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    r"""Mean time in the queue of an M/G/1 server (Pollaczek-Khinchine), in minutes.

        W = rho (1 + V^2) / (2 mu (1 - rho))

    which is (10) written with rho. An agent with rho >= 1 has no steady state: the result is infinite, with
    gradient zero, so that a load drawn too high fails the latency constraint instead of looking fast.

    Args:
      arrival_rate: lambda, per minute.
      service_rate: mu, per minute.
      service_cv: V = sigma mu, dimensionless.

    Reference: LAMeTA eqs. (5), (6), (10).

    >>> round(float(waiting_time(4.0, jnp.array(8.0), jnp.array(1.0))), 6)  # M/M/1: rho/(mu - lambda) = 0.5/4
    0.125
    """
    rho = traffic_intensity(arrival_rate, service_rate)
    stable = arrival_rate < service_rate
    # mu - lambda rather than mu (1 - rho): one rounding less where it matters most, near saturation.
    margin = jnp.where(stable, service_rate - arrival_rate, 1.0)
    return jnp.where(stable, rho * (1 + service_cv**2) / (2 * margin), jnp.inf)


def agent_latency(
    arrival_rate: Scalar, service_rate: Float[Array, "*batch"], service_cv: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Mean service plus waiting time at an agent, L = 1/mu + W, in minutes, LAMeTA eq. (7)."""
    return 1 / service_rate + waiting_time(arrival_rate, service_rate, service_cv)


def chain_latency(latency: Float[Array, "*batch hops"]) -> Float[Array, "*batch"]:
    """Latency of a chain in minutes, the sum over its agents, LAMeTA eq. (8).

    Exact for the first agent; the others see Poisson arrivals only if service times are exponential.
    """
    return jnp.sum(latency, axis=-1)
