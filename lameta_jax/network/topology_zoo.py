"""Agentic networks on real topologies, such as those of the Internet Topology Zoo, and the rule for what they lack.

S. Knight, H. X. Nguyen, N. Falkner, R. Bowden, M. Roughan, The Internet Topology Zoo, IEEE Journal on Selected
Areas in Communications 29(9), 2011. Its files say where routers stand and which are linked, nothing of agents.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lameta_jax.network.fields import plain, refuse, shown
from lameta_jax.network.network import NetworkError
from lameta_jax.network.scenarios import ScenarioConfig, draw_scenario
from lameta_jax.network.schema import ALTERNATIVES, parse_scenario, scenario_to_mapping
from lameta_jax.network.topologies import Topology
from lameta_jax.network.topology_files import Site, SiteGraph, read_site_graph

RULE = "lameta"
LOWEST_BER, HIGHEST_BER = 10**-3.5, 1e-1  # the range of drawn bit error rates
SPAN = 10.0  # km whose bit error rate is the lowest one
EARTH_RADIUS = 6371.0088  # km, mean
# What a file may say of an agent itself; what it says of a group replaces all that is drawn for the group.
OWN_KEYS = (*ALTERNATIVES, ("observations", "outages"), ("price",))


def topology_network(
    path: str | Path, types: Sequence[str], request: Sequence[str] | None = None, *, seed: int = 0
) -> dict[str, Any]:
    r"""The content of a network file: the graph of `read_site_graph`, completed by the rule "lameta".

    What the file says in the names of the network file (`service_rate`, `ber`, ... but not `type`) is kept. Else:

    - agents: the draws of `draw_scenario` from the seed; types as even as possible, in random order.
    - bit error rate of a link that is d km long, along the great circle between nodes with Latitude and Longitude:

          BER = 1 - (1 - 10^{-3.5})^{d / 10}    clipped to [10^{-3.5}, 10^{-1}]

      so that a link loses as much as its spans of 10 km do in series, by (3). Where a node has no coordinates,
      10^U(-3.5, -1) from the seed.

    Args:
      path: GraphML, GML, or node-link JSON (.graphml, .gml, .json).
      types: names of the agents' types.
      request: types of the default request, in order; all types if None.
      seed: of all draws.

    Raises:
      NetworkError: one line that names the file, the place, the value and the rule.
    """
    place = plain(str(path))
    graph = read_site_graph(path)
    request = types if request is None else request
    _check_types(types, request, len(graph.sites), place)
    link_ber, origin = _link_ber(graph, np.random.default_rng([seed, 0, 1]))

    numbered = {name: f"type-{number}" for number, name in enumerate(types, start=1)}
    named = {number: name for name, number in numbered.items()}
    config = ScenarioConfig(
        num_agents=max(2, len(graph.sites)),
        num_types=len(types),
        request=tuple(numbered[name] for name in request),
    )
    ends = np.array([link.ends for link in graph.links], dtype=int).reshape(-1, 2)
    try:
        drawn = draw_scenario(config, seed, Topology(len(graph.sites), ends, link_ber))
    except NetworkError as error:
        refuse(place, str(error).partition(": ")[2])
    mapping = scenario_to_mapping(drawn)
    agents = zip(mapping["agents"], graph.sites, strict=True)
    made_by = {"rule": RULE, "seed": seed, "source": plain(Path(path).name), "notes": [*graph.notes, *origin]}
    mapping |= {
        "name": plain(Path(path).stem),
        "made_by": made_by,
        "request": list(request),
        "agents": [_agent(agent, site, named[agent["type"]]) for agent, site in agents],
        "links": [
            {
                "between": [graph.sites[end].name for end in link.ends],
                "ber": link.attributes.get("ber", float(ber)),
            }
            for link, ber in zip(graph.links, link_ber, strict=True)
        ],
    }
    parse_scenario(mapping, str(path))  # what the file itself said is not checked yet
    return mapping


def great_circle(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Distance in km of two points on the earth, given by latitude and longitude in degrees (haversine formula).

    >>> round(great_circle((0.0, 0.0), (0.0, 90.0)))  # a quarter of the equator: 6371 pi / 2
    10008
    """
    (north, east), (other_north, other_east) = np.radians(first), np.radians(second)
    haversine = (
        np.sin((other_north - north) / 2) ** 2
        + np.cos(north) * np.cos(other_north) * np.sin((other_east - east) / 2) ** 2
    )
    return float(2 * EARTH_RADIUS * np.arcsin(np.sqrt(min(haversine, 1.0))))


def ber_of_length(length: float) -> float:
    """Bit error rate of a link of so many km; see `topology_network`.

    >>> round(ber_of_length(20.0), 9)  # two spans: 2 p - p^2 with p = 10^-3.5
    0.000632356
    """
    spans = -np.expm1(length / SPAN * np.log1p(-LOWEST_BER))
    return float(np.clip(spans, LOWEST_BER, HIGHEST_BER))


def _check_types(types: Sequence[str], request: Sequence[str], num_sites: int, place: str) -> None:
    if not 1 <= len(types) <= num_sites:
        refuse(place, f"number of types = {len(types)} must be >= 1 and <= number of nodes = {num_sites}")
    if len(set(types)) < len(types):
        refuse(place, f"types = {shown(list(types))} must be different from each other")
    if not request:
        refuse(place, "request = [] must not be empty")
    for name in request:
        if name not in types:
            refuse(place, f"request: type = {shown(name)} must be one of {plain(', '.join(types))}")


def _link_ber(graph: SiteGraph, generator: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Bit error rates by length or by chance, and a note on which; a draw for every link, needed or not."""
    drawn = 10 ** generator.uniform(np.log10(LOWEST_BER), np.log10(HIGHEST_BER), len(graph.links))
    by_length = given = 0
    for index, link in enumerate(graph.links):
        first, second = (graph.sites[end].position for end in link.ends)
        if "ber" in link.attributes:
            given += 1
        elif first is not None and second is not None:
            by_length += 1
            drawn[index] = ber_of_length(great_circle(first, second))
    count = len(graph.links) - by_length - given
    return drawn, [f"bit error rates of links: {given} from the source, {by_length} by length, {count} drawn"]


def _agent(drawn: dict[str, Any], site: Site, agent_type: str) -> dict[str, Any]:
    """A drawn agent with the name of its site, and with what the file says of it."""
    agent = drawn | {"id": site.name, "type": agent_type}
    for group in OWN_KEYS:
        own = {key: site.attributes[key] for key in group if key in site.attributes}
        if own:
            agent = {key: value for key, value in agent.items() if key not in group} | own
    return agent
