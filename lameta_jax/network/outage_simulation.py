"""Monte Carlo of crash, overload and outage, LAMeTA eqs. (9), (11)-(14), against the closed forms in `outage.py`."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lameta_jax.network.outage import sustainable_rate
from lameta_jax.statistics import Interval, share_interval

_CHUNK = 65536  # minutes in memory at a time


class OutageSimulation(NamedTuple):
    """Shares of the simulated minutes, with confidence intervals."""

    crash: Interval  # some agent of the chain is down: one minus (9)
    overload: Interval  # more requests than the slowest agent can serve in a minute, (13)
    outage: Interval  # either, (14)


@partial(jax.jit, static_argnums=(4, 5))
def simulate_outage(
    key: Key[Array, ""],
    arrival_rate: Float[Array, ""],
    service_rate: Float[Array, " hops"],
    crash: Float[Array, " hops"],
    num_minutes: int,
    confidence: float = 0.95,
) -> OutageSimulation:
    """Minutes in which agents are down and requests arrive at random, independently of each other.

    Args:
      arrival_rate: lambda, per minute.
      service_rate: mu of every agent of the chain, per minute.
      crash: probability that an agent is down, |F| / |O|.
      num_minutes: rounded up to whole chunks of 65536.
    """
    limit = jnp.floor(sustainable_rate(service_rate))

    def chunk(totals, key):
        key_crash, key_count = jax.random.split(key)
        down = jax.random.uniform(key_crash, (_CHUNK, crash.shape[0]), crash.dtype) < crash[None]
        crashed = jnp.any(down, axis=1)
        overloaded = jax.random.poisson(key_count, arrival_rate, (_CHUNK,)) > limit
        events = (crashed, overloaded, crashed | overloaded)
        return totals + jnp.stack([jnp.sum(event) for event in events]), None

    chunks = -(-num_minutes // _CHUNK)
    totals, _ = jax.lax.scan(chunk, jnp.zeros(3, int), jax.random.split(key, chunks))
    return OutageSimulation(*(share_interval(total, chunks * _CHUNK, confidence) for total in totals))
