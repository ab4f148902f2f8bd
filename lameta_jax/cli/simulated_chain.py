"""The simulations behind `lameta simulate`: one chain alone, or among others that share its agents."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lameta_jax.cli.common import BadInputError, read_chain, say
from lameta_jax.network.network import Scenario
from lameta_jax.network.outage import crash_probability
from lameta_jax.network.shared_simulation import merged_rates, simulate_shared
from lameta_jax.network.simulation import (
    Breakdowns,
    SimulationConfig,
    breakdowns_from_share,
    simulate_chain,
    summarise,
)
from lameta_jax.statistics import mean_interval

if TYPE_CHECKING:
    from lameta_jax.cli.simulate import SimulateConfig

CONFIDENCE = 0.95
REPLICATIONS = 16  # where chains share agents
MAX_ROUND = 20_000_000  # requests simulated between two words of progress
EDGE = 0.1  # share of requests at either end that is not measured where chains share agents

Chain = tuple[int, ...]
Found = tuple[list[float], dict[str, Any]]  # arrivals per minute at every agent; intervals and sizes by name


def run_chain(
    key, config: "SimulateConfig", scenario: Scenario, chain: Chain, laws: tuple[str, ...]
) -> Found:
    """Simulate a chain as the command asks for it.

    Raises:
      BadInputError: an agent has no steady state, or the chains of `--also` do not fit.
    """
    return (_shared if config.also else _alone)(key, config, scenario, chain, laws)


def _alone(key, config: "SimulateConfig", scenario: Scenario, chain: Chain, laws: tuple[str, ...]) -> Found:
    network, agents = scenario.network, jnp.asarray(chain)
    rounds = -(-config.customers // MAX_ROUND)
    rates, sizes = network.service_rate[agents], _sizes(-(-config.customers // rounds))
    breakdowns, utilisation = _breakdowns(config, scenario, chain)
    _require_stable(scenario, chain, utilisation, "with repairs")

    @jax.jit
    def run(key):
        cv = network.service_cv[agents]
        return simulate_chain(key, network.arrival_rate, rates, cv, laws, sizes, breakdowns)

    parts = []
    for number, round_key in enumerate(jax.random.split(key, rounds), start=1):
        parts.append(run(round_key))
        if rounds > 1:
            parts[-1].gap.block_until_ready()
            say(f"{number * sizes.measured} of {rounds * sizes.measured} requests simulated")
    replications = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *parts)
    summary = summarise(replications, CONFIDENCE)
    found = {
        "waiting": summary.waiting,
        "latency": summary.sojourn,
        "end_to_end": summary.end_to_end,
        "queue_length": summary.queue_length,
        "busy": summary.utilisation,
        "per_agent": ["queue_length", "busy"],
        "customers": rounds * sizes.measured,
        "replications": rounds * sizes.num_replications,
        "batch": sizes.chunks_per_batch * sizes.chunk_size,
    }
    if breakdowns is not None:
        found |= {"availability": summary.availability, "undisturbed": summary.undisturbed}
        found["per_agent"].append("availability")
    return [float(network.arrival_rate)] * len(chain), found


def _breakdowns(config: "SimulateConfig", scenario: Scenario, chain: Chain) -> tuple[Breakdowns | None, Any]:
    """Breakdowns if they are asked for, and the utilisation of every agent with them."""
    network, agents = scenario.network, jnp.asarray(chain)
    utilisation = network.arrival_rate / network.service_rate[agents]
    if config.repair is None:
        return None, utilisation
    share = crash_probability(network.outages[agents], network.observations[agents])
    if bool((share >= 1).any()):
        broken = scenario.agent_ids[chain[int(jnp.argmax(share))]]
        raise BadInputError(f"--repair: agent {broken} was never up, so it cannot be repaired")
    return breakdowns_from_share(share, jnp.full_like(share, config.repair)), utilisation / (1 - share)


def _shared(key, config: "SimulateConfig", scenario: Scenario, chain: Chain, laws: tuple[str, ...]) -> Found:
    """Intervals are over independent replications."""
    network, chains = scenario.network, _all_chains(config, scenario, chain)
    if len(set(laws)) > 1:
        raise BadInputError("--law: must be one for all agents with --also")
    table, arrivals = jnp.asarray(chains), jnp.full(len(chains), network.arrival_rate)
    load = merged_rates(table, arrivals, len(scenario.agent_ids))
    for one in chains:
        _require_stable(scenario, one, (load / network.service_rate)[jnp.asarray(one)], "with all chains")
    each = -(-config.customers * len(chains) // REPLICATIONS)
    total = int(each * (1 + 2 * EDGE))
    run = jax.jit(
        jax.vmap(
            lambda key: simulate_shared(
                key, table, arrivals, network.service_rate, network.service_cv, laws[0], total
            )
        )
    )
    paths = run(jax.random.split(key, REPLICATIONS))
    middle = slice(int(each * EDGE), int(each * (1 + EDGE)))
    own = (paths.chain[:, middle] == 0)[..., None]
    waiting, service = (
        jnp.sum(jnp.where(own, leaf[:, middle], 0.0), axis=1) / own.sum(axis=1)
        for leaf in (paths.waiting, paths.service)
    )
    sojourn = waiting + service
    found = {"waiting": waiting, "latency": sojourn, "end_to_end": sojourn.sum(axis=1)}
    found = {name: mean_interval(values, CONFIDENCE) for name, values in found.items()}
    counts = {"customers": int(own.sum()), "replications": REPLICATIONS, "batch": each // len(chains)}
    return [float(load[agent]) for agent in chain], found | counts | {"per_agent": []}


def _all_chains(config: "SimulateConfig", scenario: Scenario, chain: Chain) -> list[Chain]:
    """The chain and those of `--also`, every agent in one place only."""
    chains = [chain, *(read_chain(text, scenario, "--also") for text in config.also)]
    hop_of: dict[int, int] = {}
    for other in chains:
        if len(other) != len(chain):
            raise BadInputError(f"--also: {len(other)} agents, must be as many as --chain has, {len(chain)}")
        for hop, agent in enumerate(other):
            if hop_of.setdefault(agent, hop) != hop:
                name = scenario.agent_ids[agent]
                raise BadInputError(f"--also: agent {name} must be in the same place in every chain")
    return chains


def _require_stable(scenario: Scenario, chain: Sequence[int], utilisation, when: str) -> None:
    for agent, value in zip(chain, np.asarray(utilisation), strict=True):
        if not value < 1:
            raise BadInputError(
                f"agent {scenario.agent_ids[agent]}: utilisation {when} = {value:.4g} must be < 1"
            )


def _sizes(customers: int) -> SimulationConfig:
    replications = min(64, max(1, customers // 20_000))
    each = -(-customers // replications)
    return SimulationConfig(num_customers=each, num_warmup=each // 10, num_replications=replications)
