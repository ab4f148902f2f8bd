"""Where agents could stand and who is linked to whom, from graph files that know nothing of agents."""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx

from lameta_jax.network.fields import Rule, plain, refuse, require_number, shown
from lameta_jax.network.files import one_line, read_json, read_text
from lameta_jax.network.graph_elements import (
    Entry,
    GraphElements,
    gml_elements,
    graphml_elements,
    node_link_elements,
)
from lameta_jax.network.network import NetworkError

LATITUDE = Rule("in [-90, 90] degrees", lambda x: -90 <= x <= 90, exact_zero=True)
LONGITUDE = Rule("in [-180, 180] degrees", lambda x: -180 <= x <= 180, exact_zero=True)
FACTS = ("Network", "GeoLocation", "NetworkDate")  # what the Topology Zoo says of a whole network


class Site(NamedTuple):
    """A node of the graph, which is to become an agent."""

    name: str  # unique
    attributes: Entry
    position: tuple[float, float] | None  # latitude and longitude, degrees


class SiteLink(NamedTuple):
    """A link between two different sites, by their places in the list."""

    ends: tuple[int, int]
    attributes: Entry


class SiteGraph(NamedTuple):
    """An undirected graph without parallel links and loops."""

    sites: list[Site]
    links: list[SiteLink]
    notes: list[str]  # what is worth knowing of the file, one line each


def read_site_graph(path: str | Path) -> SiteGraph:
    """Read GraphML, GML or node-link JSON (.graphml, .gml, .json), whatever its attributes.

    Parallel links count once (the first), links from a node to itself not at all, directions are ignored, and
    parts that are not connected stay. A site's name is its node's label, with the node's id where several share
    one; the id alone where there is no label (or "None", which the Topology Zoo writes).

    Raises:
      NetworkError: one line that names the file, the place, the value and the rule.
    """
    place = plain(str(path))
    graph = _read_elements(Path(path), place)
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    notes = [f"SHA-256 of the source: {digest}"]
    facts = [
        f"{key} = {' '.join(str(graph.attributes[key]).split())}" for key in FACTS if key in graph.attributes
    ]
    notes += [f"the source says: {plain(', '.join(facts))}"] if facts else []
    sites = _sites(graph, place, notes)
    links = _links(graph, place, notes)
    whole = nx.Graph(link.ends for link in links)
    whole.add_nodes_from(range(len(sites)))
    parts = nx.number_connected_components(whole)
    notes += [f"parts that are not connected to each other: {parts}, all kept"] if parts > 1 else []
    return SiteGraph(sites, links, notes)


def _read_elements(path: Path, place: str) -> GraphElements:
    readers = {
        ".graphml": lambda text: graphml_elements(text, place),
        ".gml": gml_elements,
        ".json": lambda text: node_link_elements(read_json(text), place),
    }
    suffix = path.suffix.lower()
    if suffix not in readers:
        refuse(place, f"suffix = {shown(suffix)} must be one of {', '.join(readers)}")
    text = read_text(path, place)
    try:
        return readers[suffix](text)
    except NetworkError:
        raise
    except Exception as error:  # whatever a parser makes of hostile input
        refuse(place, f"not readable as {suffix[1:]}: {one_line(error)}")


def _sites(graph: GraphElements, place: str, notes: list[str]) -> list[Site]:
    """The nodes as sites; adds to the notes."""
    if not graph.nodes:
        refuse(place, "number of nodes = 0 must be > 0")
    ids = [_node_id(node.id, f"{place}: nodes[{index}]") for index, node in enumerate(graph.nodes)]
    for node_id, count in Counter(ids).items():
        if count > 1:
            refuse(place, f"node id = {shown(node_id)} must be unique, {count} nodes have it")
    labels = [_label(node.attributes.get("label")) for node in graph.nodes]
    uses = Counter(labels)
    names = [
        node_id if not label else f"{label} ({node_id})" if uses[label] > 1 else label
        for node_id, label in zip(ids, labels, strict=True)
    ]
    if len(set(names)) < len(names):  # a label that looks like an id
        names = ids
    shared = sum(uses[label] > 1 for label in labels if label)
    notes += [f"nodes without a label, named by their id: {uses['']}"] if uses[""] else []
    notes += [f"nodes that share their label, id added: {shared}"] if shared else []
    junctions = sum("hyperedge" in node.attributes for node in graph.nodes)
    notes += [f"nodes that stand for a link with several ends (hyperedge): {junctions}"] if junctions else []
    return [
        Site(name, node.attributes, _position(node.attributes, f"{place}: node {plain(name)}"))
        for name, node in zip(names, graph.nodes, strict=True)
    ]


def _links(graph: GraphElements, place: str, notes: list[str]) -> list[SiteLink]:
    """The edges as links of different sites, each pair once; adds to the notes."""
    index_of = {str(node.id): index for index, node in enumerate(graph.nodes)}
    links: dict[tuple[int, int], SiteLink] = {}
    loops = parallel = 0
    for edge in graph.edges:
        for end in edge.ends:
            if str(end) not in index_of:
                between = " - ".join(plain(str(end)) for end in edge.ends)
                refuse(place, f"link {between}: end = {shown(end)} must be the id of a node")
        first, second = sorted(index_of[str(end)] for end in edge.ends)
        loops += first == second
        parallel += (first, second) in links
        if first != second:
            links.setdefault((first, second), SiteLink((first, second), edge.attributes))
    capacities = sum("LinkSpeedRaw" in edge.attributes for edge in graph.edges)
    unused = "not used, as links of this model have no capacity"
    notes += ["directions of links ignored"] if graph.directed is not None else []
    notes += [f"links from a node to itself, dropped: {loops}"] if loops else []
    notes += [f"parallel links, dropped but for the first of each pair: {parallel}"] if parallel else []
    notes += [f"links with a capacity (LinkSpeedRaw): {capacities}, {unused}"] if capacities else []
    return list(links.values())


def _node_id(value: Any, place: str) -> str:
    """A node's id as text that can name an agent."""
    text = " ".join(str(value).split())
    if value is None or not text:
        refuse(place, "id is missing")
    return plain(text)


def _label(value: Any) -> str:
    """A node's label as one printable line; empty where it has none that could be a name."""
    text = " ".join(str(value).split())
    return "" if text == "None" or not text.isprintable() else text


def _position(attributes: Entry, place: str) -> tuple[float, float] | None:
    given = [key in attributes for key in ("Latitude", "Longitude")]
    if not any(given):
        return None
    if not all(given):
        refuse(place, f"{'Longitude' if given[0] else 'Latitude'} is missing")
    return (
        require_number(attributes, "Latitude", place, LATITUDE),
        require_number(attributes, "Longitude", place, LONGITUDE),
    )
