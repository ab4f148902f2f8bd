"""How wrong the latency formula (8) is for a chain: simulated beside analytic."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lameta_jax.network.network import AgenticNetwork
from lameta_jax.network.queueing import agent_latency
from lameta_jax.network.service_laws import law_cv
from lameta_jax.network.simulation import SimulationConfig, simulate_chain, summarise
from lameta_jax.statistics import Interval


class LatencyComparison(NamedTuple):
    """Latency of every agent of a chain and of the whole, by formula and by simulation. Minutes."""

    formula: Float[Array, " hops"]  # (7), with the CV that the service law really has
    simulated: Interval  # [hops]
    chain_formula: Float[Array, ""]  # (8)
    chain_simulated: Interval


def relative_error(formula: Float[Array, "*batch"], simulated: Interval) -> Interval:
    """What the formula is off by as a share of the simulated value, with the interval that the simulation leaves.

    >>> truth = Interval(jnp.array(2.0), jnp.array(1.6), jnp.array(2.5))
    >>> [round(float(x), 2) for x in relative_error(jnp.array(1.5), truth)]    # low: against the high end
    [-0.25, -0.4, -0.06]
    """
    return Interval(
        formula / simulated.mean - 1,
        formula / simulated.high - 1,
        # An interval that reaches 0 allows any error.
        jnp.where(simulated.low > 0, formula / jnp.where(simulated.low > 0, simulated.low, 1.0) - 1, jnp.inf),
    )


@partial(jax.jit, static_argnames=("laws", "config", "confidence"))
def compare_latency(
    key: Key[Array, ""],
    arrival_rate: Float[Array, ""],
    service_rate: Float[Array, " hops"],
    service_cv: Float[Array, " hops"],
    laws: tuple[str, ...],
    config: SimulationConfig,
    confidence: float = 0.95,
) -> LatencyComparison:
    """Simulate one chain and put (7), (8) beside. Arguments as in `simulate_chain`; may be vmapped likewise."""
    cv = jnp.stack([law_cv(law, service_cv[hop]) for hop, law in enumerate(laws)])
    formula = agent_latency(arrival_rate, service_rate, cv)
    batches = simulate_chain(key, arrival_rate, service_rate, service_cv, laws, config)
    found = summarise(batches, confidence)
    return LatencyComparison(formula, found.sojourn, formula.sum(), found.end_to_end)


@partial(jax.jit, static_argnames=("law", "config"))
def simulated_latencies(
    key: Key[Array, ""],
    network: AgenticNetwork,
    chains: Int[Array, "chains hops"],
    law: str,
    config: SimulationConfig,
) -> Float[Array, "chains"]:
    """End-to-end latency in minutes of many chains, each served alone, by simulation; one chain after the other.

    All chains meet the same arrivals and the same draws, so that they differ by their agents only.
    """

    def latency(chain):
        rate, cv = network.service_rate[chain], network.service_cv[chain]
        laws = (law,) * chains.shape[1]
        batches = simulate_chain(key, network.arrival_rate, rate, cv, laws, config)
        return (batches.waiting + batches.service).sum(axis=-1).mean()

    return jax.lax.map(latency, chains)
