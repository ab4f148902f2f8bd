"""Sample-path simulation of first-come-first-served agents and chains: what the latency formula leaves out.

LAMeTA eqs. (6)-(8) treat every agent of a chain as an M/G/1 queue. That is exact for the first agent; the others
receive the departures of the one before, which are Poisson only if its service is exponential. Here every request
is followed through the chain. Time is in minutes.

No clock runs through the simulation, only differences (gaps between requests, time spent at an agent), so float32
is as exact after 10^7 requests as after ten. Requests are drawn, followed and forgotten chunk by chunk: memory does
not grow with their number.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lameta_jax.network.service_laws import draw_gamma, draw_service
from lameta_jax.statistics import Interval, mean_interval


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """Size of a simulation. Requests are rounded up to whole chunks in every batch, the warm-up to whole batches."""

    num_customers: int = 200_000  # measured requests of each replication
    num_warmup: int = 20_000  # requests before them that are not measured, as the agents start empty
    num_replications: int = 16  # independent runs, side by side
    num_batches: int = 10  # per replication; their means are the samples of the confidence interval
    chunk_size: int = 128  # requests of each replication that are in memory at a time

    def __post_init__(self):
        for name in ("num_customers", "num_replications", "num_batches", "chunk_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 1")
        if self.num_warmup < 0:
            raise ValueError(f"num_warmup = {self.num_warmup} must not be negative")

    @property
    def chunks_per_batch(self) -> int:
        return -(-self.num_customers // (self.num_batches * self.chunk_size))

    @property
    def warmup_batches(self) -> int:
        return -(-self.num_warmup // (self.chunks_per_batch * self.chunk_size))

    @property
    def measured(self) -> int:
        """Measured requests of all replications together."""
        return self.chunks_per_batch * self.num_batches * self.chunk_size * self.num_replications


@no_type_check
@flax.struct.dataclass
class Breakdowns:
    """Agents that break down while they work, are repaired, and resume the request they were at.

    Up and repair times are exponential. The time that a request occupies the agent is its service time plus the
    repairs during it.
    """

    failure_rate: Float[Array, " hops"]  # breakdowns per minute of work
    mean_repair: Float[Array, " hops"]  # minutes


def breakdowns_from_share(
    down_share: Float[Array, " hops"], mean_repair: Float[Array, " hops"]
) -> Breakdowns:
    """Breakdowns of agents that are down for the given share of their busy time, such as |F| / |O|."""
    return Breakdowns(failure_rate=down_share / ((1 - down_share) * mean_repair), mean_repair=mean_repair)


class BatchMeans(NamedTuple):
    """Means over the requests of each batch. Times in minutes."""

    waiting: Float[Array, "batches replications hops"]  # in the queue
    service: Float[Array, "batches replications hops"]  # occupying the agent, repairs included
    working: Float[Array, "batches replications hops"]  # being served, without repairs
    gap: Float[Array, "batches replications hops"]  # between arrivals at the agent
    undisturbed: Float[Array, "batches replications"]  # share of requests that met no breakdown anywhere


class ChainSimulation(NamedTuple):
    """What a simulation found, with confidence intervals over batches and replications. Times in minutes."""

    waiting: Interval  # [hops]
    sojourn: Interval  # [hops], waiting and service
    end_to_end: Interval  # of the whole chain
    utilisation: Interval  # [hops], share of time that the agent is occupied
    throughput: Interval  # [hops], requests per minute
    queue_length: Interval  # [hops], requests waiting or in service, by Little's law
    availability: Interval  # [hops], share of its busy time that the agent works
    undisturbed: Interval  # share of requests that met no breakdown anywhere


def waiting_times(
    sojourn: Float[Array, "*batch"],
    service: Float[Array, "customers *batch"],
    gap: Float[Array, "customers *batch"],
) -> Float[Array, "customers *batch"]:
    r"""Waiting times of successive requests at one first-come-first-served agent (Lindley's recursion).

        W_{k+1} = max(0, W_k + S_k - A_{k+1})

    Each step is a map w -> max(b, w + a). Such maps compose to their like, so a parallel prefix (associative scan)
    finds all waiting times in logarithmic depth.

    Args:
      sojourn: time at the agent of the request before the first one, 0 if the agent was empty.
      service: S_k of each request.
      gap: A_k, time since the arrival before; of the first request, since that of `sojourn`'s.

    Reference: Lindley, The theory of queues with a single server, 1952.

    >>> waiting_times(jnp.array(0.0), jnp.array([3.0, 1.0, 1.0]), jnp.array([1.0, 1.0, 4.0])).tolist()
    [0.0, 2.0, 0.0]
    """
    first = sojourn[None] - gap[:1]
    change = jnp.concatenate([first, service[:-1] - gap[1:]])

    def then(earlier, later):
        return earlier[0] + later[0], jnp.maximum(later[1], earlier[1] + later[0])

    return jax.lax.associative_scan(then, (change, jnp.maximum(change, 0.0)))[1]


def departure_gaps(
    sojourn: Float[Array, "*batch"],
    waiting: Float[Array, "customers *batch"],
    service: Float[Array, "customers *batch"],
    gap: Float[Array, "customers *batch"],
) -> Float[Array, "customers *batch"]:
    """Time between successive departures from an agent, which are the arrivals at the next one of the chain.

    The agent serves for S_k, after standing idle for what is left of the gap once the request before has gone:
    a sum of two times that are never negative, so nothing cancels. Arguments as in `waiting_times`.
    """
    before = jnp.concatenate([sojourn[None], waiting[:-1] + service[:-1]])
    return service + jnp.maximum(0.0, gap - before)


def simulate_chain(
    key: Key[Array, ""],
    arrival_rate: Float[Array, ""],
    service_rate: Float[Array, " hops"],
    service_cv: Float[Array, " hops"],
    laws: tuple[str, ...],
    config: SimulationConfig,
    breakdowns: Breakdowns | None = None,
) -> BatchMeans:
    """Requests in a Poisson stream through a chain of agents, each first come, first served.

    May be vmapped over keys, rates, CVs and breakdowns. `laws` and `config` are static.

    Args:
      arrival_rate: lambda, per minute.
      service_rate: mu of every agent of the chain, per minute.
      service_cv: V of every agent; see `law_cv` for what each law makes of it.
      laws: law of the service times of every agent, of `SERVICE_LAWS`.

    Raises:
      ValueError: not one law per agent, or an unknown law.
    """
    if len(laws) != service_rate.shape[0]:
        raise ValueError(f"number of laws = {len(laws)} must be that of agents = {service_rate.shape[0]}")
    step = partial(_chunk, arrival_rate, service_rate, service_cv, breakdowns, laws=laws, config=config)
    hops, replications = len(laws), config.num_replications
    state = jnp.zeros((hops, replications), dtype=float)
    per_agent = jnp.zeros((replications, hops), state.dtype)
    nothing = BatchMeans(per_agent, per_agent, per_agent, per_agent, jnp.zeros(replications, state.dtype))

    def chunk(carry, key):
        state, means = step(carry[0], key)
        return (state, jax.tree.map(jnp.add, carry[1], means)), None

    def batch(state, key):
        keys = jax.random.split(key, config.chunks_per_batch)
        (state, total), _ = jax.lax.scan(chunk, (state, nothing), keys)
        return state, jax.tree.map(lambda leaf: leaf / config.chunks_per_batch, total)

    _, batches = jax.lax.scan(batch, state, jax.random.split(key, config.warmup_batches + config.num_batches))
    return jax.tree.map(lambda leaf: leaf[config.warmup_batches :], batches)


def _chunk(arrival_rate, service_rate, service_cv, breakdowns, state, key, *, laws, config):
    """Follow one chunk of requests; `state` holds the time at each agent of the request before, per replication."""
    shape = (config.chunk_size, config.num_replications)
    key_gap, *keys = jax.random.split(key, len(laws) + 1)
    gap = jax.random.exponential(key_gap, shape, state.dtype) / arrival_rate
    undisturbed = jnp.ones(shape, bool)
    sojourns, means = [], []
    for hop, law in enumerate(laws):
        key_service, key_repair = jax.random.split(keys[hop])
        working = draw_service(key_service, law, service_cv[hop], shape) / service_rate[hop]
        service = working
        if breakdowns is not None:
            repair = _repairs(key_repair, working, breakdowns.failure_rate[hop], breakdowns.mean_repair[hop])
            service, undisturbed = working + repair, undisturbed & (repair == 0)
        waiting = waiting_times(state[hop], service, gap)
        means.append(tuple(jnp.mean(leaf, axis=0) for leaf in (waiting, service, working, gap)))
        gap = departure_gaps(state[hop], waiting, service, gap)
        sojourns.append(waiting[-1] + service[-1])
    waiting, service, working, gap = (jnp.stack(column, axis=-1) for column in zip(*means, strict=True))
    share = jnp.mean(undisturbed, axis=0, dtype=state.dtype)
    return jnp.stack(sojourns), BatchMeans(waiting, service, working, gap, share)


def _repairs(key, working, failure_rate, mean_repair):
    """Total repair time during each service: a Poisson number of exponential repairs."""
    key_number, key_time = jax.random.split(key)
    number = jax.random.poisson(key_number, failure_rate * working).astype(working.dtype)
    time = draw_gamma(key_time, jnp.maximum(number, 1.0), working.shape)
    return jnp.where(number > 0, mean_repair * time, 0.0)


def summarise(batches: BatchMeans, confidence: float = 0.95) -> ChainSimulation:
    """Estimates with confidence intervals from batch means, which are taken as independent.

    Batches must be long against the time in which a queue forgets its past, about 2 / (1 - rho)^2 requests.
    """
    samples = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batches)
    sojourn = samples.waiting + samples.service
    values = (
        samples.waiting,
        sojourn,
        sojourn.sum(axis=-1),
        samples.service / samples.gap,
        1 / samples.gap,
        sojourn / samples.gap,
        samples.working / samples.service,
        samples.undisturbed,
    )
    return ChainSimulation(*(mean_interval(value, confidence) for value in values))
