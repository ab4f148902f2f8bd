"""Sample-path simulation of several chains whose streams meet at shared agents.

An agent that serves more than one chain takes their requests in order of arrival. Requests of all chains are
followed hop by hop; at every hop they are sorted by agent and time of arrival, and each agent is a first-come-first-
served queue. Time is in minutes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lameta_jax.network.service_laws import draw_service
from lameta_jax.network.simulation import waiting_times

_CHUNK = 256  # requests that one associative scan takes at a time: its program grows with the logarithm


class Clock(NamedTuple):
    """Points in time as whole minutes and a fraction in [0, 1): no precision is lost as time goes by."""

    minute: Int[Array, "*batch"]
    fraction: Float[Array, "*batch"]


class SharedPaths(NamedTuple):
    """Every request in order of arrival at its first agent. Times in minutes."""

    chain: Int[Array, " customers"]
    waiting: Float[Array, "customers hops"]
    service: Float[Array, "customers hops"]


def merged_rates(
    chains: Int[Array, "chains hops"], arrival_rate: Float[Array, " chains"], num_agents: int
) -> Float[Array, " agents"]:
    """Requests per minute at every agent, of all chains through it: the lambda of LAMeTA eq. (4) where chains share.

    >>> merged_rates(jnp.array([[0, 2], [1, 2]]), jnp.array([1.0, 3.0]), 3).tolist()
    [1.0, 3.0, 4.0]
    """
    each = jnp.broadcast_to(arrival_rate[:, None], chains.shape)
    return jnp.zeros(num_agents, arrival_rate.dtype).at[chains].add(each)


def simulate_shared(
    key: Key[Array, ""],
    chains: Int[Array, "chains hops"],
    arrival_rate: Float[Array, " chains"],
    service_rate: Float[Array, " agents"],
    service_cv: Float[Array, " agents"],
    law: str,
    num_customers: int,
) -> SharedPaths:
    """Poisson streams through chains that may share agents, always at the same hop.

    May be vmapped over keys, rates and CVs. Memory grows with the number of requests: all are kept. The agents start
    empty, and the last requests lack the company of those that would have come after them: measure the middle.

    Args:
      chains: agents of every chain in order. One agent must not appear at two different hops.
      arrival_rate: lambda of every chain, per minute.
      service_rate, service_cv: mu (per minute) and V of every agent of the network.
      law: of the service times of all agents, of `SERVICE_LAWS`.
      num_customers: requests of all chains together, rounded up to whole chunks of 256.
    """
    key_gap, key_chain, *keys = jax.random.split(key, chains.shape[1] + 2)
    num_customers = -(-num_customers // _CHUNK) * _CHUNK
    gap = jax.random.exponential(key_gap, (num_customers,), arrival_rate.dtype) / arrival_rate.sum()
    chain = jax.random.categorical(key_chain, jnp.log(arrival_rate), shape=(num_customers,))
    clock = _clock(gap)
    waiting, service = [], []
    for hop, key_service in enumerate(keys):
        agent = chains[chain, hop]
        # Requests are numbered by arrival, so their service times are drawn before they are sorted.
        units = draw_service(key_service, law, service_cv[agent], agent.shape)
        service.append(units / service_rate[agent])
        waiting.append(_wait(agent, clock, service[-1]))
        clock = _later(clock, Clock(jnp.zeros_like(clock.minute), waiting[-1] + service[-1]))
    return SharedPaths(chain, jnp.stack(waiting, axis=1), jnp.stack(service, axis=1))


def _wait(agent, clock, service):
    """Waiting time of every request at its agent."""
    order = jnp.lexsort((clock.fraction, clock.minute, agent))
    sorted_agent, sorted_clock = agent[order], jax.tree.map(lambda leaf: leaf[order], clock)
    gap = jnp.diff(sorted_clock.minute).astype(service.dtype) + jnp.diff(sorted_clock.fraction)
    gap = jnp.where(sorted_agent[1:] == sorted_agent[:-1], gap, jnp.inf)  # the next agent starts empty
    gap = jnp.concatenate([jnp.full_like(gap[:1], jnp.inf), gap])

    def follow(sojourn, chunk):
        waiting = waiting_times(sojourn, *chunk)
        return waiting[-1] + chunk[0][-1], waiting

    chunks = (service[order].reshape(-1, _CHUNK), gap.reshape(-1, _CHUNK))
    _, waiting = jax.lax.scan(follow, jnp.zeros_like(service[0]), chunks)
    return jnp.zeros_like(service).at[order].set(waiting.ravel())


def _clock(gap):
    """Time of every arrival; sums are kept short by carrying whole minutes apart."""

    def advance(before, gaps):
        times = _later(before, Clock(jnp.zeros(gaps.shape, jnp.int32), jnp.cumsum(gaps)))
        return jax.tree.map(lambda leaf: leaf[-1], times), times

    start = Clock(jnp.zeros((), jnp.int32), jnp.zeros((), gap.dtype))
    _, times = jax.lax.scan(advance, start, gap.reshape(-1, _CHUNK))
    return jax.tree.map(jnp.ravel, times)


def _later(first: Clock, second: Clock) -> Clock:
    """The sum of two times."""
    fraction = first.fraction + second.fraction
    whole = jnp.floor(fraction)
    return Clock(first.minute + second.minute + whole.astype(first.minute.dtype), fraction - whole)
