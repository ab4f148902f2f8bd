"""`lameta network`: show, from-graphml, from-catalogue."""

import json
from pathlib import Path

import pytest
from reference.network_cases import changed, small_network

from lameta_jax.network.files import load_scenario

EXAMPLE = Path(__file__).parents[2] / "examples" / "real-llms.yaml"
GRAPH = """<graphml>
<key id="a" for="node" attr.name="label" attr.type="string"/>
<key id="b" for="node" attr.name="Latitude" attr.type="double"/>
<key id="c" for="node" attr.name="Longitude" attr.type="double"/>
<graph edgedefault="undirected">
<node id="0"><data key="a">Oslo</data><data key="b">60</data><data key="c">10</data></node>
<node id="1"><data key="a">Bergen</data><data key="b">60.4</data><data key="c">5.3</data></node>
<node id="2"><data key="a">Tromsø</data><data key="b">69.6</data><data key="c">19</data></node>
<edge source="0" target="1"/><edge source="1" target="2"/><edge source="2" target="0"/>
</graph></graphml>"""
CATALOGUE = """model,provider,training_flop,median_latency_s,tokens_per_s,input_price_per_mtok,output_price_per_mtok
small,A,1e22,0.5,100,1,2
large,B,1e24,1,20,10,30
silent,C,1e24,,20,10,30
"""


@pytest.fixture
def graph(tmp_path):
    (tmp_path / "Norway.graphml").write_text(GRAPH, encoding="utf-8")
    return tmp_path / "Norway.graphml"


@pytest.fixture
def catalogue(tmp_path):
    (tmp_path / "models.csv").write_text(CATALOGUE)
    return tmp_path / "models.csv"


def test_from_graphml(lameta, graph, tmp_path):
    out = tmp_path / "net.yaml"
    run = lameta("network", "from-graphml", graph, "--seed", "2", "--types", "3", "--out", out, "--json")
    assert run.err == ""
    assert run.json["out"] == str(out) and run.json["types"] == {"type-1": 1, "type-2": 1, "type-3": 1}
    scenario = load_scenario(out)
    assert scenario.agent_ids == ("Oslo", "Bergen", "Tromsø") and scenario.name == "net"
    made_by = run.json["made_by"]
    assert (made_by["rule"], made_by["seed"], made_by["source"]) == ("lameta", 2, "Norway.graphml")
    assert made_by["notes"][-1] == "bit error rates of links: 0 from the source, 3 by length, 0 drawn"
    assert lameta("network", "show", out, "--json").json == {
        key: value for key, value in run.json.items() if key != "out"
    }
    # written again without a question; the same seed gives the same file
    before = out.read_bytes()
    assert lameta("network", "from-graphml", graph, "--seed", "2", "--types", "3", "--out", out).code == 0
    assert out.read_bytes() == before
    chain = ",".join(sorted(scenario.agent_ids, key=lambda name: scenario.type_names[
        int(scenario.network.agent_type[scenario.agent_ids.index(name)])]))  # fmt: skip
    assert lameta("evaluate", "--network", out, "--chain", chain, "--json").json["feasible"] in (True, False)


def test_types_and_request_by_name(lameta, graph, tmp_path):
    options = ["--types", "reader, writer", "--request", "writer,reader", "--out", tmp_path / "net.json"]
    run = lameta("network", "from-graphml", graph, *options)
    assert run.code == 0 and "writer -> reader" in run.out and "rule lameta, seed 0" in run.out
    assert load_scenario(tmp_path / "net.json").type_names == ("reader", "writer")


def test_from_catalogue(lameta, catalogue, tmp_path):
    out = tmp_path / "net.yaml"
    options = ["--types", "plan,write", "--out", out, "--answer-tokens", "100", "--arrival-rate", "1"]
    run = lameta("network", "from-catalogue", catalogue, *options, "--json")
    assert run.json["dropped"] == [{"line": 4, "name": "silent@C", "reason": "median_latency_s is missing"}]
    assert run.err == f"lameta: {catalogue}: rows dropped because median_latency_s is missing: 1 (line 4)\n"
    assert run.json["agents"] == 2 and run.json["request"] == ["plan", "write"] and run.json["chains"] == 1
    # 500 * 1 + 100 * 2 and 500 * 10 + 100 * 30 US$ per million
    assert run.json["ranges"]["price"] == pytest.approx([0.0007, 0.008])
    # 60 / (0.5 + 100 / 100) and 60 / (1 + 100 / 20)
    assert run.json["ranges"]["service_rate"] == pytest.approx([10, 40])
    run = lameta("network", "from-catalogue", catalogue, *options)
    assert "US$ per request" in run.out and "rows dropped because median_latency_s is missing: 1" in run.out


def test_show_for_people(lameta, network_file):
    mapping = small_network() | {
        "made_by": {"rule": "by hand", "seed": 7, "source": "a map", "notes": ["one"]}
    }
    run = lameta("network", "show", network_file(mapping))
    assert run.code == 0 and run.err == ""
    rows = dict(line.split("  ", 1) for line in run.out.splitlines() if not line.startswith(" "))
    rows = {key.strip(): value.strip() for key, value in rows.items()}
    assert rows.pop("latency").endswith(" min, of an agent alone")
    assert rows == {
        "network": "small",
        "agents": "5: 1 artist, 1 other, 1 reader, 2 writer",
        "links": "6, 2.4 per agent",
        "connected parts": "1; diameter 3 hops",
        "request": "reader -> writer -> artist",
        "arrival rate": "4 per minute",
        "needed": "capability >= 0.01, latency <= 1 min",
        "chains": "2, 2 of them feasible",
        "capability": "0.5 to 0.7",
        "service rate": "9 to 30 per minute",
        "service cv": "0.5 to 0.5",
        "utilisation": "0.1333 to 0.4444",
        "crash probability": "0 to 0.04",
        "link bit error rate": "0.01 to 0.06",
        "made by": "rule by hand, seed 7, from a map",
    }
    assert run.out.splitlines()[-1].strip() == "one"


def test_networks_in_parts_and_too_many_chains(lameta, network_file, monkeypatch):
    monkeypatch.setattr("lameta_jax.network.overview.MAX_CHAINS", 1)
    monkeypatch.setattr("lameta_jax.network.overview.MAX_STEPS", 0)
    mapping = small_network()
    mapping["links"] = mapping["links"][:5]  # x1 stands alone
    out = lameta("network", "show", network_file(mapping)).out
    assert "connected parts      2, the largest of 4\n" in out and "chains               at most 2\n" in out


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".svg", b"<?xml"), (".PDF", b"%PDF")])
def test_the_drawing(lameta, tmp_path, suffix, start):
    out = tmp_path / f"net{suffix}"
    assert lameta("network", "show", EXAMPLE, "--out", out, "--json").code == 0
    assert out.read_bytes().startswith(start)


def test_ids_that_the_font_lacks(lameta, network_file, tmp_path):
    path = network_file(json.loads(json.dumps(small_network()).replace('"w1"', '"写手 $x"')))
    run = lameta("network", "show", path, "--out", tmp_path / "net.png", "--json")
    assert (run.code, run.err) == (0, "")


def test_large_networks_are_drawn_without_ids(lameta, tmp_path):
    run = lameta("network", "show", "lameta-81", "--out", tmp_path / "net.svg", "--json")
    assert run.json["agents"] == 81 and (tmp_path / "net.svg").stat().st_size > 10_000


@pytest.mark.parametrize("command", ["show", "from-graphml", "from-catalogue"])
def test_every_command_explains_its_options(lameta, command):
    run = lameta("network", command, "--help")
    assert run.code == 0 and "--json" in run.out and run.err == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "show, from-graphml, from-catalogue"),
        (["dance"], "dance"),
        (["show"], "NETWORK"),
        (["show", "missing.yaml"], "missing.yaml: cannot be read"),
        (["show", "lameta-2"], "lameta-2"),
        (["show", EXAMPLE, "--out", "net.txt"], "--out: suffix of 'net.txt' must be one of .png, .svg, .pdf"),
        (["show", EXAMPLE, "--out", "absent/net.png"], "absent/net.png cannot be written (No such file"),
        (["from-graphml", "GRAPH"], "--out"),
        (
            ["from-graphml", "missing.graphml", "--out", "net.yaml"],
            "missing.graphml: cannot be read: No such file",
        ),
        (["from-graphml", "GRAPH", "--out", "GRAPH"], "must not be the file that is read"),
        (["from-graphml", "GRAPH", "--out", "net.txt"], "net.txt: suffix = '.txt' must be one of .yaml"),
        (
            ["from-graphml", "GRAPH", "--out", "absent/net.yaml"],
            "absent/net.yaml: cannot be written: No such file",
        ),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--seed", "-1"], "--seed: -1 must be >= 0"),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--seed", "x"], "x"),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--types", "0"], "number of types = 0 must be >= 1"),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--types", "9" * 30], "must have at most 5 digits"),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--types", "99999"], "<= number of nodes = 3"),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--types", "4"], "<= number of nodes = 3"),
        (["from-graphml", "GRAPH", "--out", "net.yaml", "--types", "a,,b"], "--types: 'a,,b' must be names"),
        (
            ["from-graphml", "GRAPH", "--out", "net.yaml", "--request", "poet"],
            "type = 'poet' must be one of type-1",
        ),
        (
            ["from-graphml", "CATALOGUE", "--out", "net.yaml"],
            "suffix = '.csv' must be one of .graphml, .gml, .json",
        ),
        (["from-catalogue", "CATALOGUE", "--out", "net.yaml"], "--types"),
        (
            ["from-catalogue", "CATALOGUE", "--out", "net.yaml", "--types", "a,b,c"],
            "type 'c' must have a service",
        ),
        (
            ["from-catalogue", "CATALOGUE", "--out", "net.yaml", "--types", "a,b", "--ber", "2"],
            "ber = 2.0 must be in",
        ),
        (
            ["from-catalogue", "CATALOGUE", "--out", "net.yaml", "--types", "a", "--answer-tokens", "0"],
            "answer_tokens = 0.0 must be > 0",
        ),
        (
            ["from-catalogue", "CATALOGUE", "--out", "net.yaml", "--types", "a", "--arrival-rate", "60"],
            "service rate must be > arrival rate = 60 per minute: 2 (lines 2-3)",
        ),
        (
            ["from-catalogue", "GRAPH", "--out", "net.yaml", "--types", "a"],
            "Norway.graphml: line 1: the columns",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(lameta, graph, catalogue, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    files = {"GRAPH": graph, "CATALOGUE": catalogue}
    assert named in lameta("network", *(files.get(argument, argument) for argument in arguments)).refusal
    assert not list(tmp_path.glob("net.*"))


def test_prices_in_evaluate_and_optimum(lameta, network_file):
    mapping = small_network()
    for agent, price in zip(mapping["agents"], [0.001, 0.02, 0.003, 0.0005, 0], strict=True):
        agent["price"] = price
    path = network_file(mapping)
    free, charged = (
        lameta("evaluate", "--network", path, "--chain", "r1,w1,d1", "--price-weight", weight, "--json").json
        for weight in ("0", "10")
    )
    # 0.001 + 0.02 + 0.0005
    assert free["price"] == charged["price"] == pytest.approx(0.0215)
    assert charged["subjective_qoe"] == pytest.approx(free["subjective_qoe"] - 0.215)
    assert charged["qoe"] == free["qoe"]
    broken = lameta("evaluate", "--network", path, "--chain", "r1,w1", "--price-weight", "10", "--json").json
    assert broken["subjective_qoe"] == -1
    assert "0.0215 US$" in lameta("evaluate", "--network", path, "--chain", "r1,w1,d1").out

    search = ["optimum", "--network", path, "--preference", "1,0,0,0"]
    # 0.5 * 0.55 * 0.65 / 3 against 0.5 * 0.6 * 0.65 / 3: w2 is better, and cheaper; at w1's price times 0 as well
    best = lameta(*search, "--json").json
    assert best["chain"] == ["r1", "w2", "d1"] and best["price"] == pytest.approx(0.0045)
    assert best["alternatives"][0]["price"] == pytest.approx(0.0215)
    dear = lameta(*search, "--price-weight", "1000", "--json").json
    gap = best["subjective_qoe"] - best["alternatives"][0]["subjective_qoe"]
    assert dear["subjective_qoe"] - dear["alternatives"][0]["subjective_qoe"] == pytest.approx(gap + 17)
    beam = lameta(*search, "--price-weight", "1000", "--beam", "5", "--json").json
    assert (beam["chain"], beam["price"]) == (dear["chain"], dear["price"])
    assert beam["subjective_qoe"] == pytest.approx(dear["subjective_qoe"]) == pytest.approx(beam["bound"])
    lines = lameta(*search).out.splitlines()
    assert "price (US$)" in lines[0] and lines[1].split()[:3] == [
        "1",
        f"{best['subjective_qoe']:.6g}",
        "0.0045",
    ]


def test_prices_that_are_not_there(lameta, network_file):
    path = network_file(small_network())
    run = lameta("evaluate", "--network", path, "--chain", "r1,w1,d1", "--price-weight", "2")
    assert run.code == 0 and "price" not in run.out
    assert run.err == "lameta: no agent of network small has a price, so --price-weight changes nothing\n"
    for weight in ("-1", "nan", "inf"):
        options = ["--preference", "1,0,0,0", "--price-weight", weight]
        assert "--price-weight" in lameta("optimum", "--network", path, *options).refusal


def test_what_is_wrong_in_a_file_is_said_once(lameta, network_file, tmp_path):
    path = network_file(changed(small_network(), "made_by", {"rule": "x"}))
    assert lameta("network", "show", path).refusal == f"lameta: {path}: made_by: seed is missing\n"
    (tmp_path / "graph.json").write_text(json.dumps({"nodes": [], "edges": []}))
    refusal = lameta(
        "network", "from-graphml", tmp_path / "graph.json", "--out", tmp_path / "net.yaml"
    ).refusal
    assert "graph.json: number of nodes = 0 must be > 0" in refusal
