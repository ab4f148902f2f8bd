"""Network files in and out."""

import json
from pathlib import Path

import jax
import networkx as nx
import numpy as np
import pytest
from reference import network_twin as twin
from reference.network_cases import DELETE, WRITERS, changed, small_network

from lameta_jax.network.files import load_scenario, parse_scenario, save_network, save_scenario
from lameta_jax.network.network import MadeBy, NetworkError

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-network.yaml"


def assert_same(first, second):
    for tree in ("network", "request"):
        leaves = zip(*(jax.tree.leaves(getattr(each, tree)) for each in (first, second)), strict=True)
        for left, right in leaves:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
    for name in ("name", "agent_ids", "type_names", "elam_names", "made_by"):
        assert getattr(first, name) == getattr(second, name)
    np.testing.assert_array_equal(first.elam_fees, second.elam_fees)


def test_columns_by_hand():
    scenario = parse_scenario(small_network(), "small.yaml")
    network = scenario.network
    assert scenario.type_names == ("artist", "other", "reader", "writer")
    assert network.agent_type.tolist() == [2, 3, 3, 0, 1]
    assert scenario.request.types.tolist() == [2, 3, 0]
    np.testing.assert_allclose(network.service_rate, [30, 20, 12, 15, 9])
    np.testing.assert_allclose(network.outages, [0, 1, 2, 3, 4])
    assert network.link_ends.tolist() == [[0, 1], [0, 2], [1, 3], [1, 2], [2, 3], [3, 4]]
    np.testing.assert_allclose(network.link_ber, [0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert float(network.arrival_rate) == 4.0


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_same_network_in_every_format(suffix, tmp_path):
    path = tmp_path / f"net{suffix}"
    path.write_text(WRITERS[suffix](small_network()))
    assert_same(load_scenario(path), parse_scenario(small_network(), "small"))


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("suffix", WRITERS)
def test_saved_and_loaded_again(suffix, x64, tmp_path):
    with jax.enable_x64(x64):
        scenario = load_scenario(EXAMPLE)
        save_scenario(scenario, tmp_path / f"again{suffix}")
        assert_same(load_scenario(tmp_path / f"again{suffix}"), scenario)


def test_awkward_names_survive(tmp_path):
    mapping = small_network()
    names = ["yes", "007", "1e3", "naïve, [café]", "~"]
    for agent, name in zip(mapping["agents"], names, strict=True):
        agent["id"] = agent["type"] = name
    mapping["request"] = ["yes", "007", "naïve, [café]"]
    pairs = [("yes", "007"), ("naïve, [café]", "007")]
    mapping["links"] = [{"between": list(pair), "ber": 1e-20} for pair in pairs]
    mapping["elams"] = [{"name": "<&>\"'", "fee": 0.0}]
    scenario = parse_scenario(mapping, "awkward")
    for suffix in WRITERS:
        save_scenario(scenario, tmp_path / f"awkward{suffix}")
        assert_same(load_scenario(tmp_path / f"awkward{suffix}"), scenario)


MADE_BY = {
    "rule": "by hand",
    "seed": 2**60,
    "source": "naïve: [map]",
    "notes": ["yes", "0: {1}", "€ 5, 'quoted'"],
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_who_made_a_network_is_kept(suffix, tmp_path):
    mapping = small_network() | {"made_by": MADE_BY}
    (tmp_path / f"net{suffix}").write_text(WRITERS[suffix](mapping))
    scenario = load_scenario(tmp_path / f"net{suffix}")
    assert scenario.made_by == MadeBy(**MADE_BY | {"notes": tuple(MADE_BY["notes"])})
    save_scenario(scenario, tmp_path / f"again{suffix}")
    assert_same(load_scenario(tmp_path / f"again{suffix}"), scenario)
    assert parse_scenario(small_network(), "small").made_by is None


@pytest.mark.parametrize("suffix", WRITERS)
def test_prices_are_kept(suffix, tmp_path):
    scenario = parse_scenario(changed(small_network(), "agents", 1, "price", 0.003), "small")
    np.testing.assert_allclose(scenario.network.price, [0, 0.003, 0, 0, 0])
    save_scenario(scenario, tmp_path / f"net{suffix}")
    assert_same(load_scenario(tmp_path / f"net{suffix}"), scenario)


def test_notes_and_links_are_written_one_per_line(tmp_path):
    mapping = small_network() | {"made_by": MADE_BY}
    save_network(mapping, tmp_path / "net.yaml")
    lines = (tmp_path / "net.yaml").read_text().splitlines()
    assert "  - € 5, 'quoted'" in lines and "- {between: [r1, w1], ber: 0.01}" in lines


def test_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(NetworkError, match="cannot be written: No such file or directory"):
        save_network(small_network(), tmp_path / "absent" / "net.yaml")


def test_whole_numbers_as_ids():
    mapping = small_network()
    for number, agent in enumerate(mapping["agents"]):
        for link in mapping["links"]:
            link["between"] = [number if end == agent["id"] else end for end in link["between"]]
        agent["id"] = number
    assert parse_scenario(mapping, "small").agent_ids == ("0", "1", "2", "3", "4")


def test_alternative_fields_are_converted_in_double_precision():
    mapping = small_network()
    agent = mapping["agents"][1]
    del agent["capability"], agent["service_rate"], agent["service_cv"]
    agent |= {"compute_budget": 3e21, "mean_service_time": 0.05, "service_std": 0.04}
    with jax.enable_x64(True):
        network = parse_scenario(mapping, "small").network
    assert float(network.capability[1]) == pytest.approx(twin.capability(agent), rel=1e-12)
    # 1 / 0.05 = 20 per minute, 0.04 * 20 = 0.8
    assert float(network.service_rate[1]) == pytest.approx(20, rel=1e-15)
    assert float(network.service_cv[1]) == pytest.approx(0.8, rel=1e-15)


def test_a_rate_just_below_a_whole_number_stays_below_it_in_single_precision():
    # (13) takes floor(mu): 20.9999999999 arrivals per minute are 20, though the nearest float32 is 21
    scenario = parse_scenario(changed(small_network(), "agents", 0, "service_rate", 20.9999999999), "small")
    assert float(np.floor(scenario.network.service_rate[0])) == 20
    assert float(scenario.network.service_rate[0]) == pytest.approx(21, rel=1e-6)


def test_defaults():
    mapping = changed(changed(small_network(), "name", DELETE), "elams", DELETE)
    scenario = parse_scenario(mapping, "folder/my-net.yaml")
    assert scenario.name == "my-net"
    assert scenario.elam_names == ("small", "large")
    np.testing.assert_allclose(scenario.elam_fees, [0.01, 0.05])


@pytest.mark.parametrize("written", ["2e1", "20", "+20.0", ".2e2", "2E+1", "20."])
def test_numbers_of_yaml_1_2(written, tmp_path):
    text = json.dumps(changed(small_network(), "agents", 0, "service_rate", "RATE")).replace(
        '"RATE"', written
    )
    (tmp_path / "net.yaml").write_text(text)
    assert float(load_scenario(tmp_path / "net.yaml").network.service_rate[0]) == 20


def test_anchors_and_merges(tmp_path):
    agents = "".join(
        f"  - {{<<: *usual, id: {name}, type: {kind}}}\n" for name, kind in [("b", "writer"), ("c", "artist")]
    )
    (tmp_path / "net.yml").write_text(
        "arrival_rate: 1\ncapability_threshold: 0.01\nmax_latency: 1\nrequest: [writer, artist]\nagents:\n"
        "  - &usual {id: a, type: reader, capability: 0.5, service_rate: 9, service_cv: 1, "
        f"observations: 9, outages: 0}}\n{agents}links:\n  - {{between: [b, c], ber: 0}}\n"
    )
    assert load_scenario(tmp_path / "net.yml").agent_ids == ("a", "b", "c")


def test_gml_by_networkx(tmp_path):
    mapping = small_network()
    graph = nx.Graph()
    for agent in mapping["agents"]:
        graph.add_node(agent["id"], **{key: value for key, value in agent.items() if key != "id"})
    for link in mapping["links"]:
        graph.add_edge(*link["between"], ber=link["ber"])
    graph.graph = {
        key: mapping[key] for key in ("name", "arrival_rate", "capability_threshold", "max_latency")
    }
    graph.graph["request"] = "reader, writer, artist"
    nx.write_gml(graph, tmp_path / "net.gml")
    assert_same(load_scenario(tmp_path / "net.gml"), parse_scenario(mapping, "small"))


def test_graphml_by_networkx(tmp_path):
    mapping = small_network()
    graph = nx.Graph(arrival_rate=4, capability_threshold=0.01, max_latency=1, request="reader,writer,artist")
    graph.graph["name"] = "small"
    for agent in mapping["agents"]:
        graph.add_node(agent["id"], **{key: value for key, value in agent.items() if key != "id"})
    for link in mapping["links"]:
        graph.add_edge(*link["between"], ber=link["ber"])
    nx.write_graphml(graph, tmp_path / "net.graphml")
    assert_same(load_scenario(tmp_path / "net.graphml"), parse_scenario(mapping, "small"))


def test_graphml_defaults_of_keys(tmp_path):
    # Key k declares ber = 0.25 where a link says nothing.
    mapping = small_network()
    mapping["links"] = [{"between": link["between"]} for link in mapping["links"]]
    default = '<key id="k" for="edge" attr.name="ber" attr.type="double"><default>0.25</default></key>'
    text = WRITERS[".graphml"](mapping).replace("<graphml>", f"<graphml>{default}")
    (tmp_path / "net.graphml").write_text(text)
    np.testing.assert_array_equal(load_scenario(tmp_path / "net.graphml").network.link_ber, [0.25] * 6)


def test_a_byte_order_mark_is_no_content(tmp_path):
    (tmp_path / "net.json").write_bytes(b"\xef\xbb\xbf" + json.dumps(small_network()).encode())
    assert_same(load_scenario(tmp_path / "net.json"), parse_scenario(small_network(), "small"))


def test_unknown_suffix_to_write(tmp_path):
    with pytest.raises(NetworkError, match="suffix = '.gml' must be one of .yaml, .yml, .json, .graphml"):
        save_scenario(parse_scenario(small_network(), "small"), tmp_path / "net.gml")


def test_saved_graphml_is_read_by_networkx(tmp_path):
    save_scenario(parse_scenario(small_network(), "small"), tmp_path / "net.graphml")
    graph = nx.read_graphml(tmp_path / "net.graphml")
    assert not graph.is_directed()
    assert graph.nodes["w1"]["service_rate"] == 20 and graph.edges["r1", "w1"]["ber"] == 0.01
    assert graph.graph["request"] == "reader,writer,artist"
