"""Requests per second through a chain of three agents: this package, Ciw, and Lindley loops in NumPy and Numba.

    lameta bench queue                            # or: python experiments/benchmarks/bench_queue.py

Every contender draws its own exponential arrivals and services and measures mean latencies, which must be those of
Jackson's theorem, or nothing is written. Ciw, which the aim is about, is timed on fewer requests.
"""

from collections.abc import Callable
from itertools import count
from statistics import mean
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from benchmark import OURS, Contender, comparison, finish, measured, options

from lameta_jax.network.simulation import SimulationConfig, simulate_chain
from lameta_jax.scale.timing import Program, compiled

AIM = 1000
ARRIVAL_RATE, RATES = 4.0, (8.0, 10.0, 6.0)
LAWS = ("exponential",) * len(RATES)
NUMPY, NUMBA, CIW, RBG = "NumPy loop", "Numba loop", "Ciw", f"{OURS}, rbg keys"
MOST_ERROR = 0.15  # of a mean latency, relative; Ciw follows few requests


class Sizes(NamedTuple):
    """How many requests are followed."""

    replications: int
    customers: int  # of each
    ciw_customers: int


def expected_latency() -> float:
    """Jackson's theorem: exponential agents in a row are M/M/1 queues."""
    return sum(1 / (rate - ARRIVAL_RATE) for rate in RATES)


def numpy_lindley(sizes: Sizes, seed: int) -> float:
    """A loop over requests, all replications in one array operation."""
    random = np.random.default_rng(seed)
    sojourn = np.zeros((len(RATES), sizes.replications), np.float32)
    total = 0.0
    for _ in range(sizes.customers):
        gap = random.standard_exponential(sizes.replications, np.float32) / np.float32(ARRIVAL_RATE)
        for hop, rate in enumerate(RATES):
            service = random.standard_exponential(sizes.replications, np.float32) / np.float32(rate)
            idle = np.maximum(gap - sojourn[hop], 0)
            sojourn[hop] = np.maximum(sojourn[hop] - gap, 0) + service
            gap = service + idle
            total += sojourn[hop].mean()
    return total / sizes.customers


def numba_lindley(sizes: Sizes) -> Callable[[int], float]:
    """The same recursion compiled, replications in parallel on all cores."""
    import numba

    rates, (replications, customers, _) = np.array(RATES), sizes

    @numba.njit(parallel=True, fastmath=True)
    def run(seed):
        means = np.zeros(replications)
        for replication in numba.prange(replications):
            np.random.seed(seed + replication)
            sojourn = np.zeros(len(rates))
            total = 0.0
            for _ in range(customers):
                gap = np.random.standard_exponential() / ARRIVAL_RATE
                for hop in range(len(rates)):
                    service = np.random.standard_exponential() / rates[hop]
                    idle = max(gap - sojourn[hop], 0.0)
                    sojourn[hop] = max(sojourn[hop] - gap, 0.0) + service
                    gap = service + idle
                    total += sojourn[hop]
            means[replication] = total / customers
        return means.mean()

    return run


def run_ciw(sizes: Sizes, seed: int) -> float:
    import ciw

    hops = len(RATES)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(ARRIVAL_RATE), *[None] * (hops - 1)],
        service_distributions=[ciw.dists.Exponential(rate) for rate in RATES],
        routing=[[float(column == row + 1) for column in range(hops)] for row in range(hops)],
        number_of_servers=[1] * hops,
    )
    ciw.seed(seed)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(sizes.ciw_customers, method="Finish")
    records = simulation.get_all_records()
    return float(np.sum([record.exit_date - record.arrival_date for record in records])) / sizes.ciw_customers


def ours(sizes: Sizes, implementation: str) -> tuple[Callable[[int], float], Program, int]:
    """A call, its program and the requests that it measures; `implementation` is that of the random bits."""
    config = SimulationConfig(
        num_customers=sizes.customers, num_warmup=0, num_replications=sizes.replications, num_batches=1
    )

    def run(key):
        batches = simulate_chain(
            key, jnp.array(ARRIVAL_RATE), jnp.array(RATES), jnp.ones(len(RATES)), LAWS, config
        )
        return (batches.waiting + batches.service).sum(axis=-1).mean()

    program = compiled(jax.jit(run), jax.random.key(0, impl=implementation))
    return lambda seed: program.call(jax.random.key(seed, impl=implementation)), program, config.measured


def recorded(call: Callable[[int], float], latencies: list[float]) -> Callable[[], None]:
    """A call with a new seed every time, whose mean latencies are kept."""
    seeds = count(1000, 1000)
    return lambda: latencies.append(float(call(next(seeds))))


def main() -> None:
    given = options(__doc__)
    sizes, repeats = (Sizes(200, 2_000, 2_000), 2) if given.quick else (Sizes(1000, 20_000, 10_000), 5)
    calls = {}
    for label, implementation in ((OURS, "threefry2x32"), (RBG, "rbg")):
        call, program, measured_requests = ours(sizes, implementation)
        calls[label] = (call, measured_requests, program)
    numba, everyone = numba_lindley(sizes), sizes.replications * sizes.customers
    calls[NUMPY] = (lambda seed: numpy_lindley(sizes, seed), everyone, None)
    calls[NUMBA] = (numba, everyone, None)
    calls[CIW] = (lambda seed: run_ciw(sizes, seed), sizes.ciw_customers, None)
    latencies: dict[str, list[float]] = {label: [] for label in calls}
    contenders = {
        label: Contender(recorded(call, latencies[label]), amount, program)
        for label, (call, amount, program) in calls.items()
    }
    rows = measured(contenders, repeats)  # the warm-up compiles what Numba compiles
    found = {label: mean(values) for label, values in latencies.items()}
    if any(abs(value / expected_latency() - 1) > MOST_ERROR for value in found.values()):
        raise SystemExit(f"mean latencies should be {expected_latency():.4f}: {found}")
    comparisons = [
        comparison("queue simulation", rows, OURS, peer, unit="requests", aim=AIM if peer == CIW else None)
        for peer in (CIW, NUMPY, NUMBA)
    ]
    results = {
        "hops": len(RATES),
        **sizes._asdict(),
        "mean_latency": {"expected": expected_latency(), **found},
        "contenders": rows,
    }
    finish("queue", comparisons, results, given, seeds=[1000 * (turn + 1) for turn in range(repeats + 1)])


if __name__ == "__main__":
    main()
