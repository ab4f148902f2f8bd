"""Network files as graphs: GraphML in and out, GML in.

Node and edge attributes carry the names of the YAML file, a node's id is the agent's id, and the graph's own
attributes carry the top-level values: `request` as comma-separated types (or a JSON list), `elams` as JSON.
"""

import json
from typing import Any
from xml.etree import ElementTree

import networkx as nx

from lameta_jax.network.fields import plain, refuse, shown

Entry = dict[str, Any]

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
GIVEN_BY_GRAPH = ("agents", "links", "request", "elams")


def read_graphml(text: str, place: str) -> Entry:
    """The mapping of a GraphML file; numbers that do not parse stay text, for the schema to refuse."""
    root = ElementTree.fromstring(text)
    if _tag(root) != "graphml":
        refuse(place, f"root element = {shown(_tag(root))} must be 'graphml'")
    graphs = [child for child in root if _tag(child) == "graph"]
    if len(graphs) != 1:
        refuse(place, f"number of graphs = {len(graphs)} must be 1")
    graph = graphs[0]
    _require_undirected(graph.get("edgedefault"), place)
    keys = {child.get("id"): child for child in root if _tag(child) == "key"}

    top = _data(graph, "graph", keys, place)
    agents, links = [], []
    for child in graph:
        if _tag(child) == "node":
            agent_id = child.get("id")
            here, named = f"{place}: agents[{len(agents)}]", {}
            if agent_id is not None:
                here, named = f"{place}: agent {plain(agent_id)}", {"id": agent_id}
            agents.append(_merge(named, _data(child, "node", keys, here), here))
        elif _tag(child) == "edge":
            ends = [child.get("source"), child.get("target")]
            here = f"{place}: link {' - '.join(plain(str(end)) for end in ends)}"
            if child.get("directed", "false") != "false":
                refuse(here, f"directed = {shown(child.get('directed'))} must be 'false'")
            links.append(_merge({"between": ends}, _data(child, "edge", keys, here), here))
        elif _tag(child) not in ("data", "desc"):
            refuse(place, f"element {shown(_tag(child))} must be one of node, edge, data, desc")
    return _top_level(top, agents, links, place)


def read_gml(text: str, place: str) -> Entry:
    """The mapping of a GML file; an agent's id is its node's label, or the node's number if it has none."""
    graph = nx.parse_gml(text, label=None)  # pyright: ignore[reportArgumentType] (nodes by number)
    _require_undirected("directed" if graph.is_directed() else "undirected", place)
    labels = {node: str(data.get("label", node)) for node, data in graph.nodes(data=True)}
    agents = []
    for node, data in graph.nodes(data=True):
        attributes = {key: value for key, value in data.items() if key != "label"}
        agents.append(_merge({"id": labels[node]}, attributes, f"{place}: agent {plain(labels[node])}"))
    links = []
    for first, second, data in graph.edges(data=True):
        ends = [labels[first], labels[second]]
        here = f"{place}: link {' - '.join(plain(end) for end in ends)}"
        links.append(_merge({"between": ends}, dict(data), here))
    return _top_level(dict(graph.graph), agents, links, place)


def graphml_text(mapping: Entry) -> str:
    """A GraphML file with the content of a network file, agents and links in the same order."""
    root = ElementTree.Element("graphml", xmlns=NAMESPACE)
    graph = ElementTree.Element("graph", edgedefault="undirected")
    keys: dict[tuple[str, str], str] = {}

    def write(element: ElementTree.Element, domain: str, attributes: Entry) -> None:
        for name, value in attributes.items():
            if (domain, name) not in keys:
                keys[domain, name] = f"d{len(keys)}"
                kind = "string" if isinstance(value, str) else "double"
                declared = {"id": keys[domain, name], "for": domain, "attr.name": name, "attr.type": kind}
                ElementTree.SubElement(root, "key", declared)
            ElementTree.SubElement(element, "data", key=keys[domain, name]).text = str(value)

    request = ",".join(mapping["request"])
    if any("," in agent_type for agent_type in mapping["request"]) or request.startswith("["):
        request = json.dumps(mapping["request"])
    texts = {"request": request, "elams": json.dumps(mapping["elams"])}
    write(graph, "graph", {key: value for key, value in mapping.items() if key not in GIVEN_BY_GRAPH} | texts)
    for agent in mapping["agents"]:
        node = ElementTree.SubElement(graph, "node", id=agent["id"])
        write(node, "node", {key: value for key, value in agent.items() if key != "id"})
    for link in mapping["links"]:
        first, second = link["between"]
        write(
            ElementTree.SubElement(graph, "edge", source=first, target=second), "edge", {"ber": link["ber"]}
        )
    root.append(graph)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _top_level(top: Entry, agents: list[Entry], links: list[Entry], place: str) -> Entry:
    request = top.get("request")
    if isinstance(request, str):
        is_json = request.lstrip().startswith("[")
        top["request"] = (
            _json(request, "request", place) if is_json else [part.strip() for part in request.split(",")]
        )
    if isinstance(top.get("elams"), str):
        top["elams"] = _json(top["elams"], "elams", place)
    return _merge({"agents": agents, "links": links}, top, place)


def _json(text: str, field: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        refuse(place, f"{field} = {shown(text)} must be JSON")


def _merge(given: Entry, attributes: Entry, place: str) -> Entry:
    """Both together; an attribute must not repeat what the graph's structure says."""
    for key in given:
        if key in attributes:
            refuse(place, f"unknown key {shown(key)}: the graph itself says it")
    return given | attributes


def _require_undirected(kind: str | None, place: str) -> None:
    if kind != "undirected":
        refuse(place, f"edgedefault = {shown(kind)} must be 'undirected'")


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
