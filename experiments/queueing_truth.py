"""How true the latency formula of LAMeTA is: (6) at the first agent, (8) over loads, variations and lengths of chains,
and whether simulated latencies change which chain is best.

    python experiments/queueing_truth.py            the whole study, experiments/results/queueing_truth.json
    python experiments/queueing_truth.py --quick    the same on a coarse grid, nothing written

The notebook `queueing_truth` shows what it found.
"""

import sys
import time
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from common import report, write_results

from lameta_jax.intents.corpus import BENCHMARKS, load_benchmark, preferences_of
from lameta_jax.network.chains import enumerate_chains
from lameta_jax.network.formula_error import relative_error, simulated_latencies
from lameta_jax.network.qoe import chain_factors, realised_qoe
from lameta_jax.network.queueing import agent_latency, waiting_time
from lameta_jax.network.scenarios import load_named
from lameta_jax.network.service_laws import law_cv
from lameta_jax.network.simulation import SimulationConfig, simulate_chain, summarise
from lameta_jax.statistics import Interval, mean_interval

ARRIVAL_RATE = 4.0  # per minute; only ratios matter here
FIRST_AGENT_LAWS = (
    ("exponential", 1.0),
    ("deterministic", 0.0),
    ("erlang", 0.5),
    ("gamma", 0.4),
    ("gamma", 2.0),
    ("lognormal", 0.7),
    ("lognormal", 1.5),
    ("hyperexponential", 2.0),
)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Grids and sizes of the study."""

    seeds: int = 10
    utilisations: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    cvs: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    hops: int = 6
    first_agent: SimulationConfig = SimulationConfig(
        num_customers=100_000, num_warmup=20_000, num_replications=8, num_batches=2
    )
    tandem: SimulationConfig = SimulationConfig(num_customers=100_000, num_warmup=20_000, num_batches=5)
    choice: SimulationConfig = SimulationConfig(
        num_customers=25_000, num_warmup=2_500, num_replications=8, num_batches=1
    )
    arrival_rates: tuple[float, ...] = (4.0, 5.2)  # of the choice of chain


_SMALL = SimulationConfig(num_customers=4_000, num_warmup=1_000, num_replications=8, num_batches=2)
QUICK = Preset(
    seeds=2,
    utilisations=(0.3, 0.8),
    cvs=(0.0, 1.0, 2.0),
    hops=3,
    first_agent=_SMALL,
    tandem=_SMALL,
    choice=replace(_SMALL, num_customers=256, num_warmup=0, num_batches=1),
    arrival_rates=(4.0,),
)


def first_agent(preset: Preset) -> list[dict]:
    """Mean wait at a single agent, simulated, beside (6): one row per law and utilisation, all seeds pooled."""
    rows = []
    utilisation = jnp.asarray(preset.utilisations, dtype=float)
    for number, (law, cv) in enumerate(FIRST_AGENT_LAWS):
        keys = [jax.random.fold_in(jax.random.key(seed), number) for seed in range(preset.seeds)]
        runs = [_waits(key, utilisation, jnp.array([cv]), law, preset.first_agent) for key in keys]
        waits = jnp.concatenate(runs, axis=2)
        formula = waiting_time(
            ARRIVAL_RATE, ARRIVAL_RATE / utilisation, law_cv(law, jnp.full_like(utilisation, cv))
        )
        for index, rho in enumerate(preset.utilisations):
            simulated = mean_interval(waits[index].ravel(), 0.99)
            rows.append(
                {
                    "law": law,
                    "cv": cv,
                    "utilisation": rho,
                    "formula": float(formula[index]),
                    **_bounds(simulated),
                }
            )
            together = mean_interval(
                waits[index].ravel(), 1 - 0.01 / (len(FIRST_AGENT_LAWS) * len(utilisation))
            )
            rows[-1]["within"] = rows[-1]["low"] <= rows[-1]["formula"] <= rows[-1]["high"]
            # Wider intervals, all of which hold at once with 99%.
            rows[-1]["within_together"] = bool(together.low <= formula[index] <= together.high)
        report(
            f"first agent, {law} {cv}: {sum(row['within'] for row in rows[-len(preset.utilisations) :])} within"
        )
    return rows


@partial(jax.jit, static_argnames=("law", "config"))
def _waits(key, utilisation, cv, law, config):
    """Mean waits [utilisations batches replications] at a single agent."""

    def at(one):
        key, rho = one
        return simulate_chain(key, jnp.array(ARRIVAL_RATE), ARRIVAL_RATE / rho[None], cv, (law,), config)

    # A key for each load: one unlucky stream of requests must not decide about all of them.
    return jax.lax.map(at, (jax.random.split(key, len(utilisation)), utilisation)).waiting[..., 0]


def error_map(preset: Preset) -> list[dict]:
    """Relative error of (8) for chains of equal agents; the first n agents of the longest chain are the chain of n."""
    rows = []

    @jax.jit
    def run(key, rho, cv):
        rates = jnp.full(preset.hops, ARRIVAL_RATE / rho)
        cvs = jnp.full(preset.hops, cv)
        batches = simulate_chain(
            key, jnp.array(ARRIVAL_RATE), rates, cvs, ("gamma",) * preset.hops, preset.tandem
        )
        sojourn = jnp.cumsum(batches.waiting + batches.service, axis=-1).reshape(-1, preset.hops)
        formula = jnp.cumsum(agent_latency(ARRIVAL_RATE, rates, cvs))
        return relative_error(formula, mean_interval(sojourn, 0.95)), summarise(batches).waiting.mean

    for cv in preset.cvs:
        for rho in preset.utilisations:
            error, waiting = run(jax.random.key(0), jnp.array(rho), jnp.array(cv))
            for hops in range(1, preset.hops + 1):
                at = Interval(*(leaf[hops - 1] for leaf in error))
                rows.append(
                    {
                        "cv": cv,
                        "utilisation": rho,
                        "hops": hops,
                        "wait": float(waiting[hops - 1]),
                        **_bounds(at),
                    }
                )
        report(f"tandem, CV {cv}: (8) is off by {rows[-1]['mean']:+.1%} at the highest load and length")
    return rows


def choice(preset: Preset) -> list[dict]:
    """Which chain of lameta-81 is best for each test user, by formula and by simulated latency."""
    scenario = load_named("lameta-81")
    table = enumerate_chains(scenario.network, scenario.request)
    users = np.concatenate([preferences_of(load_benchmark(name).test) for name in BENCHMARKS])
    users = jnp.asarray(users, dtype=float)
    rows = []
    for rate in preset.arrival_rates:
        network = replace(scenario.network, arrival_rate=jnp.asarray(rate))
        factors = jax.vmap(chain_factors, in_axes=(None, 0, 0))(network, *table)
        latency = simulated_latencies(jax.random.key(0), network, table.agents, "gamma", preset.choice)
        value = jax.vmap(
            lambda preference, factors: realised_qoe(
                factors, preference, scenario.request, jnp.ones(len(table.agents), bool)
            ),
            in_axes=(0, None),
        )
        by_formula, by_simulation = value(users, factors), value(users, factors._replace(latency=latency))
        chosen, best = by_formula.argmax(axis=1), by_simulation.argmax(axis=1)
        everyone = jnp.arange(len(users))
        reached = by_simulation[everyone, chosen] / by_simulation[everyone, best]
        error = factors.latency / latency - 1
        order = np.argsort(np.asarray(factors.latency))
        rows.append(
            {
                "arrival_rate": rate,
                "chains": len(latency),
                "users": len(users),
                "latency_error": {
                    name: float(jnp.percentile(error, share))
                    for name, share in (("lowest", 0), ("median", 50), ("highest", 100))
                },
                "optimum_changes": float(jnp.mean(chosen != best)),
                "share_of_best_kept": _bounds(mean_interval(reached)),
                "formula": np.asarray(factors.latency)[order].round(5).tolist(),
                "simulated": np.asarray(latency)[order].round(5).tolist(),
            }
        )
        report(f"choice at {rate} requests per minute: optimum changes for {rows[-1]['optimum_changes']:.0%}")
    return rows


def _bounds(interval: Interval) -> dict[str, float]:
    return {name: float(value) for name, value in interval._asdict().items()}


def study(preset: Preset) -> dict:
    """Everything, as the results file holds it."""
    return {"first_agent": first_agent(preset), "error_map": error_map(preset), "choice": choice(preset)}


def main() -> None:
    started = time.time()
    if "--quick" in sys.argv[1:]:
        study(QUICK)
    else:
        preset = Preset()
        path = write_results(
            "queueing_truth", study(preset), seeds=list(range(preset.seeds)), started=started
        )
        report(f"wrote {path}")


if __name__ == "__main__":
    main()
