"""A network in numbers."""

from collections import Counter
from typing import Any

import jax.numpy as jnp
import networkx as nx
import numpy as np

from lameta_jax.network.chains import count_walks
from lameta_jax.network.network import Scenario
from lameta_jax.network.optimum import optimum
from lameta_jax.network.outage import crash_probability
from lameta_jax.network.queueing import agent_latency, traffic_intensity
from lameta_jax.network.schema import made_by_mapping

MAX_CHAINS = 1_000_000  # counted one by one, which takes seconds
MAX_STEPS = 50_000_000  # agents times links: seconds, if the diameter needs a search from every agent


def network_overview(scenario: Scenario) -> dict[str, Any]:
    """Size, shape, ranges and chains of a network, as plain values that JSON can hold.

    `diameter` (in hops) is that of the largest connected part, None where it would take long; `chains` and
    `feasible_chains` (those that meet (18b), (18c)) are None where there are too many to count, and
    `chains_at_most` bounds them in any case. A range is the smallest and the largest value over agents or links.
    """
    network, request = scenario.network, scenario.request
    num_agents, num_links = len(scenario.agent_ids), network.link_ends.shape[0]
    types = Counter(scenario.type_names[index] for index in np.asarray(network.agent_type))
    walks = count_walks(network, request)
    counted = optimum(network, request, jnp.full((1, 4), 0.25)) if walks <= MAX_CHAINS else None
    return {
        "name": scenario.name,
        "agents": num_agents,
        "types": {name: types[name] for name in scenario.type_names},
        "links": num_links,
        "mean_degree": 2 * num_links / num_agents,
        **_shape(num_agents, np.asarray(network.link_ends)),
        "request": [scenario.type_names[index] for index in np.asarray(request.types)],
        "arrival_rate": float(network.arrival_rate),
        "capability_threshold": float(request.capability_threshold),
        "max_latency": float(request.max_latency),
        "chains": None if counted is None else counted.evaluated,
        "feasible_chains": None if counted is None else counted.feasible,
        "chains_at_most": walks,
        "ranges": _ranges(scenario),
        "made_by": None if scenario.made_by is None else made_by_mapping(scenario.made_by),
    }


def _shape(num_agents: int, link_ends: np.ndarray) -> dict[str, int | None]:
    graph = nx.empty_graph(num_agents)
    graph.add_edges_from(link_ends.tolist())
    parts = sorted(nx.connected_components(graph), key=len)
    is_quick = len(parts[-1]) * len(link_ends) <= MAX_STEPS
    return {
        "parts": len(parts),
        "largest_part": len(parts[-1]),
        "diameter": nx.diameter(graph.subgraph(parts[-1]), usebounds=True) if is_quick else None,
    }


def _ranges(scenario: Scenario) -> dict[str, list[float] | None]:
    """Smallest and largest values; time in minutes, prices in US$; None where there is nothing."""
    network = scenario.network
    latency = agent_latency(network.arrival_rate, network.service_rate, network.service_cv)
    columns = {
        "capability": network.capability,
        "service_rate": network.service_rate,
        "service_cv": network.service_cv,
        "utilisation": traffic_intensity(network.arrival_rate, network.service_rate),
        "latency": latency,
        "crash_probability": crash_probability(network.outages, network.observations),
        "link_ber": network.link_ber,
        "price": network.price,
    }
    ranges: dict[str, list[float] | None] = {
        name: [float(jnp.min(values)), float(jnp.max(values))] if values.size else None
        for name, values in columns.items()
    }
    if not jnp.any(network.price > 0):
        ranges["price"] = None
    return ranges
