"""Networks in the node-link JSON of networkx, told apart from network files by their keys."""

import json

import networkx as nx
import numpy as np
import pytest
from reference.network_cases import DELETE, changed, small_network

from lameta_jax.network.files import load_scenario, parse_scenario
from lameta_jax.network.network import NetworkError


def graph_of(mapping, kind=nx.Graph):
    top = {key: value for key, value in mapping.items() if key not in ("agents", "links")}
    graph = kind(**top)
    for agent in mapping["agents"]:
        graph.add_node(agent["id"], **{key: value for key, value in agent.items() if key != "id"})
    for link in mapping["links"]:
        graph.add_edge(*link["between"], ber=link["ber"])
    return graph


def node_link(mapping, kind=nx.Graph, edges="edges"):
    return nx.node_link_data(graph_of(mapping, kind), edges=edges)


@pytest.mark.parametrize("kind", [nx.Graph, nx.MultiGraph])
@pytest.mark.parametrize("edges", ["edges", "links"])  # the name of networkx from 3.6, and that before
def test_what_networkx_writes(kind, edges, tmp_path):
    mapping = small_network() | {"made_by": {"rule": "by hand", "seed": 1, "source": "a map"}}
    (tmp_path / "net.json").write_text(json.dumps(node_link(mapping, kind, edges)))
    scenario, expected = load_scenario(tmp_path / "net.json"), parse_scenario(mapping, "net")
    assert (scenario.agent_ids, scenario.name) == (expected.agent_ids, "small")
    assert scenario.made_by == expected.made_by
    for column in ("agent_type", "capability", "service_rate", "link_ends", "link_ber", "arrival_rate"):
        np.testing.assert_array_equal(*(getattr(each.network, column) for each in (scenario, expected)))


def test_nodes_by_number_and_a_request_as_text(tmp_path):
    content = node_link(small_network() | {"request": "reader, writer"})
    number = {node["id"]: index for index, node in enumerate(content["nodes"])}
    for node in content["nodes"]:
        node["id"] = number[node["id"]]
    for edge in content["edges"]:
        edge |= {end: number[edge[end]] for end in ("source", "target")}
    (tmp_path / "net.json").write_text(json.dumps(content))
    assert load_scenario(tmp_path / "net.json").agent_ids == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("colour", 1), "unknown key 'colour': must be one of nodes, edges, links, graph"),
        (("edges", DELETE), "neither is given: must be exactly one of edges, links"),
        (("links", []), "both are given: must be exactly one of edges, links"),
        (("nodes", {}), "nodes = {} must be a list"),
        (("edges", 3), "edges = 3 must be a list"),
        (("graph", []), "graph = [] must be a mapping"),
        (("nodes", 1, "w1"), "nodes[1]: 'w1' must be a mapping"),
        (("nodes", 1, "id", DELETE), "agents[1]: id is missing"),
        (("nodes", 1, "id", [1]), "agents[1]: id = [1] must be text"),
        (("nodes", 1, "type", DELETE), "agent w1: type is missing"),
        (("nodes", 1, "service_rate", "fast"), "agent w1: service_rate = 'fast' must be a number"),
        (("edges", 0, None), "edges[0]: None must be a mapping"),
        (("edges", 0, "source", DELETE), "edges[0]: source is missing"),
        (("edges", 0, "source", "ghost"), "link ghost - w1: between = 'ghost' must be the id of an agent"),
        (("edges", 0, "key", 1), "links[0]: unknown key 'key'"),
        (("edges", 0, "ber", 2), "link r1 - w1: ber = 2 must be in [0, 1]"),
        (("directed", True), "directed = True must be false"),
        (("graph", "agents", []), "unknown key 'agents': the graph itself says it"),
        (("graph", "elams", "["), "elams = '[' must be JSON"),
    ],
)
def test_refusals_are_one_line(change, expected, tmp_path):
    (tmp_path / "net.json").write_text(json.dumps(changed(node_link(small_network()), *change)))
    with pytest.raises(NetworkError) as caught:
        load_scenario(tmp_path / "net.json")
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'net.json'}: ") and expected in message
    assert message.isprintable()
