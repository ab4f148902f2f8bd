"""Network files as graphs: GraphML in and out, GML and node-link JSON in.

Node and edge attributes carry the names of the YAML file, a node's id is the agent's id, and the graph's own
attributes carry the top-level values: `request` as comma-separated types (or a JSON list), `elams` and `made_by`
as JSON.
"""

import json
from typing import Any
from xml.etree import ElementTree

from lameta_jax.network.fields import plain, refuse, shown
from lameta_jax.network.graph_elements import (
    Entry,
    GraphElements,
    Node,
    gml_elements,
    graphml_elements,
    node_link_elements,
)

NAMESPACE = "http://graphml.graphdrawing.org/xmlns"
GIVEN_BY_GRAPH = ("agents", "links", "request", "elams", "made_by")


def read_graphml(text: str, place: str) -> Entry:
    """The mapping of a GraphML file; numbers that do not parse stay text, for the schema to refuse."""
    return _network(graphml_elements(text, place), place)


def read_node_link(content: Any, place: str) -> Entry:
    """The mapping of a file in the node-link form of networkx."""
    return _network(node_link_elements(content, place), place)


def read_gml(text: str, place: str) -> Entry:
    """The mapping of a GML file; an agent's id is its node's label, or the node's number if it has none."""
    graph = gml_elements(text)
    labels = {node.id: str(node.attributes.pop("label", node.id)) for node in graph.nodes}
    nodes = [Node(labels[node.id], node.attributes) for node in graph.nodes]
    edges = [edge._replace(ends=[labels[end] for end in edge.ends]) for edge in graph.edges]
    return _network(graph._replace(nodes=nodes, edges=edges), place)


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
    texts = {"request": request}
    texts |= {key: json.dumps(mapping[key]) for key in ("elams", "made_by") if key in mapping}
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


def _network(graph: GraphElements, place: str) -> Entry:
    """The content of a network file that is a graph."""
    if graph.directed is not None:
        refuse(place, graph.directed)
    agents, links = [], []
    for index, node in enumerate(graph.nodes):
        here, named = f"{place}: agents[{index}]", {}
        if node.id is not None:
            here, named = f"{place}: agent {plain(str(node.id))}", {"id": node.id}
        agents.append(_merge(named, node.attributes, here))
    for ends, attributes in graph.edges:
        here = f"{place}: link {' - '.join(plain(str(end)) for end in ends)}"
        links.append(_merge({"between": ends}, attributes, here))

    top = graph.attributes
    request = top.get("request")
    if isinstance(request, str):
        is_json = request.lstrip().startswith("[")
        parts = [part.strip() for part in request.split(",")]
        top["request"] = _json(request, "request", place) if is_json else parts
    for key in ("elams", "made_by"):
        if isinstance(top.get(key), str):
            top[key] = _json(top[key], key, place)
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
