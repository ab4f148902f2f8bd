"""`lameta compose --explain`: why each agent is in the chain, and what the chain would be worth with another one."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from lameta_jax.composition.compose import Composed
from lameta_jax.composition.evaluate import value_chains
from lameta_jax.network.network import Scenario
from lameta_jax.network.outage import crash_probability
from lameta_jax.network.queueing import agent_latency

ALTERNATIVES = 3  # shown for every place, the best ones


def explain(scenario: Scenario, composed: Composed, preference: Sequence[float]) -> list[dict[str, Any]]:
    """Every place of the chain: its agent, and the agents that would be best there if all others stayed.

    `probability` is how likely the policy held the agent, given those before; `subjective_qoe` that of the whole chain,
    -1 where it breaks (18b)-(18d); `ber` that of the link from the agent before, None at the first place.
    """
    network, chain = scenario.network, composed.chain
    latency = np.asarray(agent_latency(network.arrival_rate, network.service_rate, network.service_cv))
    crash = np.asarray(crash_probability(network.outages, network.observations))
    bers = {
        tuple(ends): float(ber)
        for ends, ber in zip(np.asarray(network.link_ends).tolist(), network.link_ber.tolist(), strict=True)
    }

    def shown(place: int, agent: int, qoe: float) -> dict[str, Any]:
        link = tuple(sorted((chain[place - 1], agent)))
        return {
            "agent": scenario.agent_ids[agent],
            "probability": float(composed.probability[place, agent]),
            "capability": float(network.capability[agent]),
            "latency": float(latency[agent]),
            "crash_probability": float(crash[agent]),
            "ber": bers.get(link) if place else None,
            "subjective_qoe": qoe,
        }

    places = []
    for place, agent in enumerate(chain):
        swaps = [agent, *_replacements(scenario, chain, place, set(bers))]
        chains = np.tile(np.array(chain, dtype=np.int32), (len(swaps), 1))
        chains[:, place] = swaps
        wanted = jnp.broadcast_to(jnp.asarray(preference, dtype=float), (len(swaps), 4))
        qoe = np.asarray(value_chains(network, scenario.request, jnp.asarray(chains), wanted)).tolist()
        best = sorted(range(1, len(swaps)), key=lambda index: -qoe[index])[:ALTERNATIVES]
        alternatives = [shown(place, swaps[index], qoe[index]) for index in best]
        kind = scenario.type_names[int(scenario.request.types[place])]
        places.append({"type": kind} | shown(place, agent, qoe[0]) | {"alternatives": alternatives})
    return places


def explanation_rows(places: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The output for people."""
    rows: list[tuple[str, ...]] = [
        ("type", "agent", "likely", "capability", "latency", "crashes", "link BER", "QoE with it")
    ]
    for place in places:
        rows.append(_row(place["type"], place["agent"], place))
        rows += [_row("", f"or {other['agent']}", other) for other in place["alternatives"]]
    return rows


def _row(kind: str, name: str, shown: dict[str, Any]) -> tuple[str, ...]:
    return (
        kind,
        name,
        f"{shown['probability']:.0%}",
        f"{shown['capability']:.4g}",
        f"{shown['latency']:.4g} min",
        f"{shown['crash_probability']:.2g}",
        "-" if shown["ber"] is None else f"{shown['ber']:.2g}",
        f"{shown['subjective_qoe']:.6g}",
    )


def _replacements(
    scenario: Scenario, chain: Sequence[int], place: int, links: set[tuple[int, int]]
) -> list[int]:
    """Agents of the type that the place needs, linked to the chain's agents before and after it."""
    beside = [chain[other] for other in (place - 1, place + 1) if 0 <= other < len(chain)]
    types = np.asarray(scenario.network.agent_type)
    fitting = np.flatnonzero(types == int(scenario.request.types[place])).tolist()
    return [
        agent
        for agent in fitting
        if agent not in chain and all(tuple(sorted((agent, other))) in links for other in beside)
    ]
