"""Requests per second through a chain of three agents: this package, Ciw, and Lindley loops in NumPy and Numba.

Needs the extra `bench`. Every contender draws its own exponential arrivals and services and measures mean latencies.
The variants that take seconds are run in turn, several times, and their medians are compared; Ciw is timed on fewer
requests. Writes experiments/results/queue_throughput.json.
"""

import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import report, write_results  # noqa: E402 the folder above

from lameta_jax.network.simulation import SimulationConfig, simulate_chain  # noqa: E402

ARRIVAL_RATE, RATES = 4.0, (8.0, 10.0, 6.0)
REPLICATIONS, CUSTOMERS, ROUNDS = 1000, 20_000, 5
CIW_CUSTOMERS = 10_000
LAWS = ("exponential",) * len(RATES)


def expected_latency() -> float:
    """Jackson's theorem: exponential agents in a row are M/M/1 queues."""
    return sum(1 / (rate - ARRIVAL_RATE) for rate in RATES)


def numpy_lindley(seed: int) -> float:
    """A loop over requests, all replications in one array operation."""
    random = np.random.default_rng(seed)
    sojourn = np.zeros((len(RATES), REPLICATIONS), np.float32)
    total = 0.0
    for _ in range(CUSTOMERS):
        gap = random.standard_exponential(REPLICATIONS, np.float32) / np.float32(ARRIVAL_RATE)
        for hop, rate in enumerate(RATES):
            service = random.standard_exponential(REPLICATIONS, np.float32) / np.float32(rate)
            idle = np.maximum(gap - sojourn[hop], 0)
            sojourn[hop] = np.maximum(sojourn[hop] - gap, 0) + service
            gap = service + idle
            total += sojourn[hop].mean()
    return total / CUSTOMERS


def numba_lindley():
    """The same recursion compiled, replications in parallel on all cores."""
    import numba

    rates = np.array(RATES)

    @numba.njit(parallel=True, fastmath=True)
    def run(seed):
        means = np.zeros(REPLICATIONS)
        for replication in numba.prange(REPLICATIONS):
            np.random.seed(seed + replication)
            sojourn = np.zeros(len(rates))
            total = 0.0
            for _ in range(CUSTOMERS):
                gap = np.random.standard_exponential() / ARRIVAL_RATE
                for hop in range(len(rates)):
                    service = np.random.standard_exponential() / rates[hop]
                    idle = max(gap - sojourn[hop], 0.0)
                    sojourn[hop] = max(sojourn[hop] - gap, 0.0) + service
                    gap = service + idle
                    total += sojourn[hop]
            means[replication] = total / CUSTOMERS
        return means.mean()

    return run


def run_ciw(seed: int) -> float:
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
    simulation.simulate_until_max_customers(CIW_CUSTOMERS, method="Finish")
    records = simulation.get_all_records()
    return float(np.sum([record.exit_date - record.arrival_date for record in records])) / CIW_CUSTOMERS


def ours(implementation: str):
    """Compiled program and the seconds that compiling took; `implementation` is that of the random bits."""
    config = SimulationConfig(
        num_customers=CUSTOMERS, num_warmup=0, num_replications=REPLICATIONS, num_batches=1
    )

    def run(key):
        batches = simulate_chain(
            key, jnp.array(ARRIVAL_RATE), jnp.array(RATES), jnp.ones(len(RATES)), LAWS, config
        )
        return (batches.waiting + batches.service).sum(axis=-1).mean()

    started = time.perf_counter()
    program = jax.jit(run).lower(jax.random.key(0, impl=implementation)).compile()
    compiled = time.perf_counter() - started
    return (
        lambda seed: float(program(jax.random.key(seed, impl=implementation))),
        compiled,
        config.measured,
    )


def timed(function, seed: int) -> tuple[float, float]:
    started = time.perf_counter()
    value = float(function(seed))
    return time.perf_counter() - started, value


def main() -> None:
    began = time.time()
    compiled_numba = numba_lindley()
    numba_compile, _ = timed(compiled_numba, 0)  # runs once, too: Numba compiles on the first call
    threefry, threefry_compile, measured = ours("threefry2x32")
    rbg, rbg_compile, _ = ours("rbg")
    contenders = {
        "lameta_jax": (threefry, measured),
        "lameta_jax, rbg keys": (rbg, measured),
        "numpy loop": (numpy_lindley, CUSTOMERS * REPLICATIONS),
        "numba loop": (compiled_numba, CUSTOMERS * REPLICATIONS),
        "ciw": (run_ciw, CIW_CUSTOMERS),
    }
    for name in ("lameta_jax", "lameta_jax, rbg keys"):
        contenders[name][0](0)
    speeds = {name: [] for name in contenders}
    latencies = {name: [] for name in contenders}
    for round_ in range(ROUNDS):
        for name, (function, customers) in contenders.items():
            seconds, latency = timed(function, 1000 * (round_ + 1))
            speeds[name].append(customers / seconds)
            latencies[name].append(latency)
        report(
            f"round {round_ + 1} of {ROUNDS}: " + ", ".join(f"{n} {s[-1]:.3g}/s" for n, s in speeds.items())
        )
    median = {name: statistics.median(values) for name, values in speeds.items()}
    results = {
        "hops": len(RATES),
        "replications": REPLICATIONS,
        "customers_per_replication": CUSTOMERS,
        "requests_per_second": {
            name: {"median": median[name], "all": values} for name, values in speeds.items()
        },
        "compile_seconds": {
            "lameta_jax": threefry_compile,
            "lameta_jax, rbg keys": rbg_compile,
            "numba loop (with its first run)": numba_compile,
        },
        "ratio_of_medians": {
            f"lameta_jax / {name}": median["lameta_jax"] / median[name]
            for name in ("numpy loop", "numba loop", "ciw")
        },
        "mean_latency": {
            "expected": expected_latency(),
            **{n: statistics.mean(v) for n, v in latencies.items()},
        },
    }
    path = write_results(
        "queue_throughput", results, seeds=[1000 * (r + 1) for r in range(ROUNDS)], started=began
    )
    report(f"wrote {path}")


if __name__ == "__main__":
    main()
