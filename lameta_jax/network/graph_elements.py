"""Graph files as they are: nodes, edges and attributes of GraphML, GML and node-link JSON, with no meaning yet."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from xml.etree import ElementTree

from lameta_jax.network.fields import plain, refuse, require_mapping, require_one_of, shown

Entry = dict[str, Any]


class Node(NamedTuple):
    """A node as its file has it."""

    id: Any  # None where the file gives none
    attributes: Entry


class Edge(NamedTuple):
    """An edge as its file has it."""

    ends: list[Any]  # ids of two nodes
    attributes: Entry


class GraphElements(NamedTuple):
    """What a graph file holds."""

    attributes: Entry  # of the graph itself
    nodes: list[Node]
    edges: list[Edge]
    directed: str | None  # why the graph is not undirected, as words of a refusal; None: it is


def graphml_elements(text: str, place: str) -> GraphElements:
    """The content of a GraphML file; numbers that do not parse stay text."""
    root = ElementTree.fromstring(text)
    if _tag(root) != "graphml":
        refuse(place, f"root element = {shown(_tag(root))} must be 'graphml'")
    graphs = [child for child in root if _tag(child) == "graph"]
    if len(graphs) != 1:
        refuse(place, f"number of graphs = {len(graphs)} must be 1")
    graph = graphs[0]
    keys = {child.get("id"): child for child in root if _tag(child) == "key"}
    directed = _directed(graph.get("edgedefault"))
    nodes, edges = [], []
    for child in graph:
        if _tag(child) == "node":
            name = child.get("id")
            here = f"{place}: nodes[{len(nodes)}]" if name is None else f"{place}: node {plain(name)}"
            nodes.append(Node(name, _data(child, "node", keys, here)))
        elif _tag(child) == "edge":
            ends = [child.get("source"), child.get("target")]
            here = f"link {' - '.join(plain(str(end)) for end in ends)}"
            if child.get("directed", "false") != "false":
                directed = directed or f"{here}: directed = {shown(child.get('directed'))} must be 'false'"
            edges.append(Edge(ends, _data(child, "edge", keys, f"{place}: {here}")))
        elif _tag(child) not in ("data", "desc"):
            refuse(place, f"element {shown(_tag(child))} must be one of node, edge, data, desc")
    return GraphElements(_data(graph, "graph", keys, place), nodes, edges, directed)


def gml_elements(text: str) -> GraphElements:
    """The content of a GML file; nodes go by their number, and may have a `label`."""
    import networkx as nx  # half a second, and other formats do not need it

    graph = nx.parse_gml(text, label=None)  # pyright: ignore[reportArgumentType] (nodes by number)
    return GraphElements(
        dict(graph.graph),
        [Node(node, dict(data)) for node, data in graph.nodes(data=True)],
        [Edge([first, second], dict(data)) for first, second, data in graph.edges(data=True)],
        _directed("directed" if graph.is_directed() else "undirected"),
    )


def is_node_link(content: Any) -> bool:
    """Whether JSON is a graph in the node-link form of networkx, not a network file."""
    return isinstance(content, Mapping) and "nodes" in content and "agents" not in content


def node_link_elements(content: Any, place: str) -> GraphElements:
    """The content of node-link JSON, as `networkx.node_link_data` makes it: nodes, and edges (or links)."""
    content = require_mapping(
        content, place, ("nodes",), ("edges", "links", "graph", "directed", "multigraph")
    )
    edges_key = require_one_of(content, ("edges", "links"), place)
    for key in ("nodes", edges_key):
        if not isinstance(content[key], list):
            refuse(place, f"{key} = {shown(content[key])} must be a list")
    attributes = content.get("graph", {})
    if not isinstance(attributes, Mapping):
        refuse(place, f"graph = {shown(attributes)} must be a mapping")
    # Parallel edges are told apart by a key, which is no attribute.
    structure = ("source", "target", "key") if content.get("multigraph") else ("source", "target")
    nodes, edges = [], []
    for index, entry in enumerate(content["nodes"]):
        _require_keys(entry, (), f"{place}: nodes[{index}]")
        nodes.append(Node(entry.get("id"), _without(entry, ("id",))))
    for index, entry in enumerate(content[edges_key]):
        _require_keys(entry, ("source", "target"), f"{place}: {edges_key}[{index}]")
        edges.append(Edge([entry["source"], entry["target"]], _without(entry, structure)))
    directed = content.get("directed", False)
    words = None if directed is False else f"directed = {shown(directed)} must be false"
    return GraphElements(dict(attributes), nodes, edges, words)


def _require_keys(entry: Any, keys: tuple[str, ...], place: str) -> None:
    if not isinstance(entry, Mapping):
        refuse(place, f"{shown(entry)} must be a mapping")
    for key in keys:
        if key not in entry:
            refuse(place, f"{key} is missing")


def _without(entry: Mapping[str, Any], keys: tuple[str, ...]) -> Entry:
    return {key: value for key, value in entry.items() if key not in keys}


def _directed(kind: str | None) -> str | None:
    return None if kind == "undirected" else f"edgedefault = {shown(kind)} must be 'undirected'"


def _tag(element: ElementTree.Element) -> str:
    """An element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def _data(element: ElementTree.Element, domain: str, keys: dict, place: str) -> Entry:
    """The attributes of a graph, node or edge, by name, with the defaults that its keys declare."""
    values: Entry = {}
    for child in element:
        if _tag(child) != "data":
            continue
        key = keys.get(child.get("key"))
        if key is None:
            refuse(place, f"data key {shown(child.get('key'))} must be declared by a <key>")
        name = key.get("attr.name", key.get("id"))
        if name in values:
            refuse(place, f"key {shown(name)} must be given once")
        values[name] = _typed(child.text, key)
    for key in keys.values():
        default = next((child for child in key if _tag(child) == "default"), None)
        if default is not None and key.get("for") in (domain, "all"):
            values.setdefault(key.get("attr.name", key.get("id")), _typed(default.text, key))
    return values


def _typed(text: str | None, key: ElementTree.Element) -> Any:
    text = (text or "").strip()
    kind = key.get("attr.type", "string")
    if kind == "boolean":
        return {"true": True, "1": True, "false": False, "0": False}.get(text, text)
    try:
        if kind in ("int", "long"):
            return int(text)
        if kind in ("float", "double"):
            return float(text)
    except ValueError:
        return text
    return text
