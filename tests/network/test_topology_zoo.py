"""Real topologies, and the rule that completes them."""

import json
import math
import time

import jax
import networkx as nx
import numpy as np
import pytest

from lameta_jax.network.files import load_scenario, parse_scenario, save_network
from lameta_jax.network.network import NetworkError
from lameta_jax.network.optimum import enumerate_chains
from lameta_jax.network.scenarios import ScenarioConfig, draw_scenario
from lameta_jax.network.topologies import Topology
from lameta_jax.network.topology_files import read_site_graph
from lameta_jax.network.topology_zoo import ber_of_length, great_circle, topology_network

# As the Topology Zoo writes: labels twice, "None" and none, parallel edges, a loop, a node without coordinates, an
# attribute `type` of its own, a capacity, a part of its own. Degrees of latitude are 111.195 km.
NODES = [
    {"id": "0", "label": "Oslo", "Latitude": 60.0, "Longitude": 10.0, "type": "PoP"},
    {"id": "1", "label": "Bergen", "Latitude": 61.0, "Longitude": 10.0, "type": "PoP"},
    {"id": "2", "label": "Bergen", "Latitude": 61.0, "Longitude": 10.0},
    {"id": "3", "label": "None", "hyperedge": 1},
    {"id": "4", "label": "Tromsø, port", "Latitude": 1.0, "Longitude": 10.0},
    {"id": "5"},
    {"id": "6"},
]
EDGES = [("0", "1"), ("1", "0"), ("1", "2"), ("2", "2"), ("2", "3"), ("3", "4"), ("4", "0"), ("5", "6")]


def graphml(nodes=NODES, edges=EDGES, edge_data="", top=' edgedefault="undirected"'):
    names = {
        "label": "string",
        "type": "string",
        "hyperedge": "int",
        "Latitude": "double",
        "Longitude": "double",
    }
    names |= {"ber": "double", "LinkSpeedRaw": "double", "service_rate": "double", "outages": "int"}
    keys = [f'<key id="{k}" for="all" attr.name="{k}" attr.type="{kind}"/>' for k, kind in names.items()]
    keys.append('<key id="Network" for="graph" attr.name="Network" attr.type="string"/>')
    body = ['<data key="Network">A  small\nnet </data>']
    for node in nodes:
        data = "".join(f'<data key="{key}">{value}</data>' for key, value in node.items() if key != "id")
        body.append(f'<node id="{node["id"]}">{data}</node>' if "id" in node else f"<node>{data}</node>")
    body += [f'<edge source="{a}" target="{b}">{edge_data}</edge>' for a, b in edges]
    return f"<graphml>{''.join(keys)}<graph{top}>{''.join(body)}</graph></graphml>"


@pytest.fixture
def zoo(tmp_path):
    path = tmp_path / "Small.graphml"
    path.write_text(graphml())
    return path


def test_sites_and_links_of_a_small_file(zoo):
    graph = read_site_graph(zoo)
    names = ["Oslo", "Bergen (1)", "Bergen (2)", "3", "Tromsø, port", "5", "6"]
    assert [site.name for site in graph.sites] == names
    assert [link.ends for link in graph.links] == [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (5, 6)]
    assert [site.position for site in graph.sites[2:4]] == [(61.0, 10.0), None]
    assert graph.notes[1:] == [
        "the source says: Network = A small net",
        "nodes without a label, named by their id: 3",
        "nodes that share their label, id added: 2",
        "nodes that stand for a link with several ends (hyperedge): 1",
        "links from a node to itself, dropped: 1",
        "parallel links, dropped but for the first of each pair: 1",
        "parts that are not connected to each other: 2, all kept",
    ]


def test_directions_and_capacities_are_noted(tmp_path):
    text = graphml(edge_data='<data key="LinkSpeedRaw">1e9</data>', top=' edgedefault="directed"')
    (tmp_path / "net.graphml").write_text(text)
    notes = read_site_graph(tmp_path / "net.graphml").notes
    assert "directions of links ignored" in notes
    assert any("(LinkSpeedRaw): 8, not used" in note for note in notes)


def test_the_same_graph_in_every_format(zoo, tmp_path):
    graph = nx.MultiGraph(nx.read_graphml(zoo))
    (tmp_path / "net.json").write_text(json.dumps(nx.node_link_data(graph)))
    plain = nx.MultiGraph()
    for number, (_, data) in enumerate(graph.nodes(data=True)):
        plain.add_node(number, **data)
    plain.add_edges_from((int(a), int(b)) for a, b in graph.edges())
    nx.write_gml(nx.relabel_nodes(plain, str), tmp_path / "net.gml")
    expected = read_site_graph(zoo)
    links = {link.ends for link in expected.links}
    from_json, from_gml = (read_site_graph(tmp_path / f"net.{suffix}") for suffix in ("json", "gml"))
    assert [site.name for site in from_json.sites] == [site.name for site in expected.sites]
    assert [site.position for site in from_gml.sites] == [site.position for site in expected.sites]
    assert {link.ends for link in from_json.links} == {link.ends for link in from_gml.links} == links


def test_a_label_that_is_the_id_of_another_node(tmp_path):
    nodes = [{"id": "a", "label": "b"}, {"id": "b"}, {"id": "c", "label": "d"}]
    (tmp_path / "net.graphml").write_text(graphml(nodes, []))
    assert [site.name for site in read_site_graph(tmp_path / "net.graphml").sites] == ["a", "b", "c"]


def test_distances_by_hand():
    # One degree of latitude: 6371.0088 pi / 180 = 111.195 km; half around the earth: 20015.1 km.
    assert great_circle((60.0, 10.0), (61.0, 10.0)) == pytest.approx(111.195, abs=1e-3)
    assert great_circle((0.0, -90.0), (0.0, 90.0)) == pytest.approx(20015.1, abs=0.1)
    # London to New York, spherical law of cosines
    a, b, l = np.radians([51.5, 40.7, 73.9])
    cosine = math.sin(a) * math.sin(b) + math.cos(a) * math.cos(b) * math.cos(l)
    assert great_circle((51.5, 0.0), (40.7, -73.9)) == pytest.approx(6371.0088 * math.acos(cosine), rel=1e-9)


def test_bit_error_rates_by_length():
    # 100 km are 10 spans: 1 - (1 - 10^-3.5)^10; as (3) has it, two halves in series lose as much as the whole
    p = 10**-3.5
    assert ber_of_length(100.0) == pytest.approx(1 - (1 - p) ** 10, rel=1e-12)
    assert 1 - (1 - ber_of_length(100.0)) ** 2 == pytest.approx(ber_of_length(200.0), rel=1e-12)
    assert (ber_of_length(0.0), ber_of_length(20_000.0)) == (p, 0.1)


def test_the_rule(zoo):
    with jax.enable_x64(True):
        mapping = topology_network(zoo, ["reader", "writer"], seed=3)
        drawn = draw_scenario(
            ScenarioConfig(num_agents=7, num_types=2, request=("type-1", "type-2")),
            3,
            Topology(7, np.array([link.ends for link in read_site_graph(zoo).links]), np.full(6, 0.01)),
        )
        network = parse_scenario(mapping, "small").network
    assert (mapping["name"], mapping["request"]) == ("Small", ["reader", "writer"])
    # agents by the draws of draw_scenario: the seven nodes in order
    for column in ("capability", "service_rate", "service_cv", "observations", "outages", "agent_type"):
        np.testing.assert_array_equal(getattr(network, column), getattr(drawn.network, column))
    ber = {tuple(link["between"]): link["ber"] for link in mapping["links"]}
    assert ber["Oslo", "Bergen (1)"] == pytest.approx(ber_of_length(111.195), rel=1e-6)
    assert ber["Bergen (1)", "Bergen (2)"] == 10**-3.5  # no distance
    assert ber["Oslo", "Tromsø, port"] == 0.1  # 59 degrees: 6560 km
    drawn_bers = [ber["Bergen (2)", "3"], ber["3", "Tromsø, port"], ber["5", "6"]]
    assert len(set(drawn_bers)) == 3 and all(10**-3.5 <= value <= 0.1 for value in drawn_bers)
    made_by = mapping["made_by"]
    assert (made_by["rule"], made_by["seed"], made_by["source"]) == ("lameta", 3, "Small.graphml")
    assert made_by["notes"][-1] == "bit error rates of links: 0 from the source, 3 by length, 3 drawn"


def test_a_seed_is_a_network_and_another_seed_another(zoo, tmp_path):
    first, again, other = (topology_network(zoo, ["a", "b"], seed=seed) for seed in (1, 1, 2))
    assert first == again and first["agents"] != other["agents"] and first["links"] != other["links"]
    save_network(first, tmp_path / "net.yaml")
    assert load_scenario(tmp_path / "net.yaml").made_by.seed == 1


def test_types_beside_those_of_the_request(zoo):
    mapping = topology_network(zoo, ["a", "b", "c"], ["b", "a", "b"])
    assert mapping["request"] == ["b", "a", "b"]
    assert sorted(agent["type"] for agent in mapping["agents"]) == list("aaabbcc")


def test_what_the_file_says_of_itself_is_kept(tmp_path):
    nodes = [node | {"service_rate": 44.0 + index} for index, node in enumerate(NODES)]
    (tmp_path / "net.graphml").write_text(graphml(nodes, edge_data='<data key="ber">0.25</data>'))
    mapping = topology_network(tmp_path / "net.graphml", ["a"], ["a", "a"])
    assert [agent["service_rate"] for agent in mapping["agents"]] == [44.0, 45, 46, 47, 48, 49, 50]
    assert all("service_cv" in agent and agent["type"] == "a" for agent in mapping["agents"])
    assert {link["ber"] for link in mapping["links"]} == {0.25}


def with_node(**attributes):
    return graphml([NODES[0] | attributes, *NODES[1:]])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a>", "not readable as graphml: "),
        ("<svg/>", "root element = 'svg' must be 'graphml'"),
        ("<graphml/>", "number of graphs = 0 must be 1"),
        (graphml([], []), "number of nodes = 0 must be > 0"),
        (graphml([{}], []), "nodes[0]: id is missing"),
        (graphml([{"id": "a"}] * 2, []), "node id = 'a' must be unique, 2 nodes have it"),
        (graphml(NODES[:2], [("0", "9")]), "link 0 - 9: end = '9' must be the id of a node"),
        (with_node(Latitude="north"), "node Oslo: Latitude = 'north' must be a number, in [-90, 90] degrees"),
        (with_node(Latitude="nan"), "node Oslo: Latitude = nan must be finite"),
        (with_node(Latitude="90.5"), "node Oslo: Latitude = 90.5 must be in [-90, 90] degrees"),
        (with_node(Longitude="-181"), "node Oslo: Longitude = -181.0 must be in [-180, 180] degrees"),
        (graphml([{"id": "a", "Longitude": 1}], []), "node a: Latitude is missing"),
        (with_node(service_rate="fast"), "agent Oslo: service_rate = 'fast' must be a number, > 0"),
        (with_node(service_rate="2"), "agent Oslo: unstable, rho >= 1: service_rate mu = 2.0"),
        (with_node(outages="1"), "agent Oslo: observations is missing"),
        (
            graphml(edge_data='<data key="ber">2</data>'),
            "link Oslo - Bergen (1): ber = 2.0 must be in [0, 1]",
        ),
        (graphml(NODES[:1], []), "number of types = 2 must be >= 1 and <= number of nodes = 1"),
        (graphml(NODES[:2], []), "request = type-1 -> type-2 must be served by a chain of linked"),
        (graphml(edge_data='<data key="x">2</data>'), "link 0 - 1: data key 'x' must be declared by a <key>"),
    ],
)
def test_refusals_are_one_line(text, expected, tmp_path):
    (tmp_path / "net.graphml").write_text(text)
    with pytest.raises(NetworkError) as caught:
        topology_network(tmp_path / "net.graphml", ["a", "b"])
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'net.graphml'}: ") and expected in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("types", "request_", "expected"),
    [
        ([], None, "number of types = 0 must be >= 1"),
        (["a", "a"], None, "types = ['a', 'a'] must be different from each other"),
        (["a", "b"], ["a", "c"], "request: type = 'c' must be one of a, b"),
        (["a", "b"], [], "request = [] must not be empty"),
        (["a", "b\n"], None, "must be printable text"),
    ],
)
def test_types_that_make_no_sense(zoo, types, request_, expected):
    with pytest.raises(NetworkError) as caught:
        topology_network(zoo, types, request_)
    assert expected in str(caught.value)


def test_another_suffix(tmp_path):
    with pytest.raises(NetworkError, match="suffix = '.txt' must be one of .graphml, .gml, .json"):
        read_site_graph(tmp_path / "net.txt")
    with pytest.raises(NetworkError, match="cannot be read: No such file"):
        read_site_graph(tmp_path / "net.graphml")


# Nodes and distinct pairs of linked nodes, from the README of the data.
ZOO = {
    "Abilene": (11, 14), "Nsfnet": (13, 15), "AttMpls": (25, 56), "Geant2012": (40, 61), "Garr201201": (61, 75),
    "Uninett2010": (74, 101), "RedBestel": (84, 93), "Interoute": (110, 146), "Colt": (153, 177),
    "UsCarrier": (158, 189), "Cogentco": (197, 243), "Kdl": (754, 895),
}  # fmt: skip


@pytest.mark.parametrize("name", ZOO)
def test_topology_zoo(data_dir, name, tmp_path):
    started = time.perf_counter()
    mapping = topology_network(data_dir / "topologies" / f"{name}.graphml", ["a", "b", "c"])
    save_network(mapping, tmp_path / "net.yaml")
    scenario = load_scenario(tmp_path / "net.yaml")
    assert time.perf_counter() - started < 10
    num_agents, num_links = ZOO[name]
    assert len(scenario.agent_ids) == num_agents and scenario.network.link_ends.shape == (num_links, 2)
    assert np.all((scenario.network.link_ber >= 10**-3.5 * 0.999) & (scenario.network.link_ber <= 0.1001))
    assert scenario.made_by.source == f"{name}.graphml" and scenario.made_by.rule == "lameta"
    assert not any("not connected" in note for note in scenario.made_by.notes)
    assert len(enumerate_chains(scenario.network, scenario.request).agents) > 0
