"""`lameta evaluate` against the float64 twin, and what it says of chains that fail."""

import json
import math

import jax
import pytest
from hypothesis import given, settings
from reference import network_twin as twin
from reference.network_cases import changed, random_network, small_network, valued_chains

from lameta_jax.network.network import NetworkError
from lameta_jax.network.schema import parse_scenario

KEYS = ["chain", "capability", "information_loss", "latency", "outage", "qoe", "subjective_qoe"]
KEYS += ["feasible", "violations"]
REQUEST = ("t0", "t1", "t2", "t0", "t1")
FORMS = {"power": twin.power, "printed": twin.printed}


def close(value):
    return pytest.approx(value, rel=1e-5, abs=1e-12)


def assert_agrees(result, mapping, chain, bers, preference, form):
    """Every number of the output against the twin; `chain` holds positions in the file."""
    agents = [mapping["agents"][place] for place in chain]
    c, b, l, p = twin.factors(agents, bers, mapping["arrival_rate"])
    assert list(result) == KEYS
    assert result["chain"] == [agent["id"] for agent in agents]
    assert result["capability"] == close(c)
    assert result["information_loss"] == close(b)
    assert result["latency"] == close(l)
    assert result["outage"] == close(p)
    feasible = l <= mapping["max_latency"] and c >= mapping["capability_threshold"]
    assert result["feasible"] is feasible is (result["violations"] == [])
    threshold = mapping["capability_threshold"]
    if feasible:
        assert result["qoe"] == close(twin.objective(c, b, l, p, threshold))
        assert result["subjective_qoe"] == close(FORMS[form](c, b, l, p, threshold, preference))
    else:
        assert result["qoe"] == result["subjective_qoe"] == -1


@pytest.mark.parametrize(("hops", "form"), [(2, "power"), (3, "printed"), (4, "power"), (5, "power")])
def test_every_chain_of_a_random_network_agrees_with_the_twin(lameta, network_file, hops, form):
    mapping = random_network(hops, request=REQUEST[:hops])
    path = network_file(mapping)
    chains = list(twin.chains(mapping["agents"], mapping["links"], mapping["request"]))
    assert chains
    for chain, bers in chains[:20]:
        ids = ",".join(mapping["agents"][place]["id"] for place in chain)
        options = ["--preference", "0.1,0.4,0.2,0.3", "--qoe-form", form, "--json"]
        result = lameta("evaluate", "--network", path, "--chain", ids, *options).json
        assert_agrees(result, mapping, chain, bers, (0.1, 0.4, 0.2, 0.3), form)


@settings(max_examples=30)
@given(case=valued_chains(5) | valued_chains(2))
def test_a_chain_of_extreme_agents_agrees_with_the_twin(lameta, tmp_path_factory, case):
    agents, bers, arrival_rate, threshold, preference = case
    form = "power" if len(agents) == 5 else "printed"  # two programs to compile, not four
    mapping = {
        "arrival_rate": arrival_rate,
        "capability_threshold": threshold,
        "max_latency": 1e6,
        "request": [f"t{place}" for place in range(len(agents))],
        "agents": [agent | {"id": f"n{i}", "type": f"t{i}"} for i, agent in enumerate(agents)],
        "links": [{"between": [f"n{i}", f"n{i + 1}"], "ber": ber} for i, ber in enumerate(bers)],
    }
    try:
        with jax.enable_x64(True):
            parse_scenario(mapping, "case")
    except NetworkError:
        return  # not a valid network, for instance a capability too small for single precision
    path = tmp_path_factory.getbasetemp() / "extreme.json"
    path.write_text(json.dumps(mapping))
    ids = ",".join(agent["id"] for agent in mapping["agents"])
    weights = ",".join(map(repr, map(float, preference)))
    run = lameta(
        "evaluate", "--network", path, "--chain", ids, "--preference", weights, "--qoe-form", form, "--json"
    )
    assert_agrees(run.json, mapping, range(len(agents)), bers, preference, form)


def test_even_weights_are_the_default_and_give_the_objective_qoe(lameta, network_file):
    result = lameta(
        "evaluate", "--network", network_file(small_network()), "--chain", "r1,w1,d1", "--json"
    ).json
    assert result["subjective_qoe"] == pytest.approx(result["qoe"], rel=1e-12)
    assert result["qoe"] > 0


@pytest.mark.parametrize(
    ("chain", "violations"),
    [
        ("r1,w1", ["(18d) 2 agents, but the request reader -> writer -> artist needs 3"]),
        ("r1", ["(18d) 1 agents, but the request reader -> writer -> artist needs 3"]),
        (
            "w2,w1,d1",
            ["(18d) agent w2 in place 1 has type writer, the request needs reader"],
        ),
        (
            "r1,w1,r1",
            [
                "(18d) agent r1 in place 3 has type reader, the request needs artist",
                "(18d) agent r1 appears 2 times",
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_chain_is_said(lameta, network_file, chain, violations):
    result = lameta("evaluate", "--network", network_file(small_network()), "--chain", chain, "--json").json
    assert result["violations"] == violations
    assert result["feasible"] is False
    assert result["qoe"] == result["subjective_qoe"] == -1
    assert isinstance(result["information_loss"], float)  # all links are there
    assert result["latency"] > 0


def test_a_missing_link_has_no_information_loss(lameta, network_file):
    mapping = small_network()
    mapping["links"] = [link for link in mapping["links"] if link["between"] != ["w1", "d1"]]
    result = lameta("evaluate", "--network", network_file(mapping), "--chain", "r1,w1,d1", "--json").json
    assert result["information_loss"] is None
    assert result["violations"] == ["(18d) no link between w1 and d1"]
    run = lameta("evaluate", "--network", network_file(mapping), "--chain", "r1,w1,d1")
    assert run.code == 0 and "no link between w1 and d1" in run.out


def test_a_network_without_links(lameta, network_file):
    mapping = changed(changed(small_network(), "links", []), "request", ["reader"])
    path = network_file(mapping)
    assert lameta("evaluate", "--network", path, "--chain", "r1", "--json").json["information_loss"] == 0
    assert (
        lameta("evaluate", "--network", path, "--chain", "r1,w1", "--json").json["information_loss"] is None
    )


def test_a_chain_that_is_too_slow_or_not_capable_enough(lameta, network_file):
    # C = 0.5 * 0.55 * 0.65 / 3 = 0.0595833; L is above the 1/30 + 1/20 + 1/15 = 0.15 minutes of service alone
    mapping = changed(changed(small_network(), "max_latency", 0.1), "capability_threshold", 0.06)
    result = lameta("evaluate", "--network", network_file(mapping), "--chain", "r1,w1,d1", "--json").json
    slow, weak = result["violations"]
    assert slow.startswith("(18b) latency 0.1") and slow.endswith("exceeds max_latency 0.1 min")
    assert weak == "(18c) capability 0.0595833 is below capability_threshold 0.06"


def test_the_output_for_people(lameta, network_file):
    run = lameta("evaluate", "--network", network_file(small_network()), "--chain", "r1, w1, d1")
    assert run.code == 0 and run.err == ""
    assert "r1 -> w1 -> d1" in run.out and " min" in run.out
    assert not math.isnan(
        float(next(line for line in run.out.splitlines() if "objective" in line).split()[-1])
    )


def test_ids_that_hold_commas(lameta, network_file):
    mapping = json.loads(json.dumps(small_network()).replace('"w1"', '"w,1"'))
    path = network_file(mapping)
    result = lameta("evaluate", "--network", path, "--chain", '["r1", "w,1", "d1"]', "--json").json
    assert result["feasible"] is True and result["chain"][1] == "w,1"


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--chain", "r1,nobody,d1", "'nobody'"),
        ("--chain", "", "''"),
        ("--chain", "r1,,d1", "''"),
        ("--chain", "[]", "''"),
        ("--chain", '["r1"', "'[\"r1\"'"),
        ("--preference", "0.5,0.5,0", "4 numbers"),
        ("--preference", "0.5,0.5,0,0,0", "4 numbers"),
        ("--preference", "", "''"),
        ("--preference", "a,b,c,d", "'a'"),
        ("--preference", "-0.5,0.5,0.5,0.5", "[-0.5"),
        ("--preference", "nan,0.5,0.5,0", "[nan"),
        ("--preference", "inf,0,0,0", "[inf"),
        ("--preference", "0.5,0.5,0.5,0", "sum"),
        ("--preference", "0.251,0.25,0.25,0.2505", "sum"),
        ("--network", "missing.yaml", "missing.yaml"),
        ("--network", "lameta-2", "lameta-2"),
        ("--network", "", "suffix"),
    ],
)
def test_bad_input_is_refused_in_one_line(lameta, network_file, option, value, named):
    options = {"--network": network_file(small_network()), "--chain": "r1,w1,d1"} | {option: value}
    assert named in lameta("evaluate", *(part for pair in options.items() for part in pair)).refusal


def test_an_invalid_network_is_refused_in_one_line(lameta, network_file):
    path = network_file(changed(small_network(), "agents", 0, "service_rate", -1.0))
    refusal = lameta("evaluate", "--network", path, "--chain", "r1,w1,d1").refusal
    assert "net.json: agent r1: service_rate = -1.0" in refusal


def test_networks_by_name(lameta):
    result = lameta("evaluate", "--network", "lameta-81", "--chain", "a18,a39,a49", "--json").json
    assert result["feasible"] is True


def test_the_float_type_outside_is_left_alone(lameta, network_file):
    lameta("evaluate", "--network", network_file(small_network()), "--chain", "r1,w1,d1")
    assert not jax.config.jax_enable_x64
