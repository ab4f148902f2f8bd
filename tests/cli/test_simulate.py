"""`lameta simulate`: what it reports beside closed forms, and what it refuses."""

import json

import pytest
from reference import queue_twin as twin

from lameta_jax.cli import simulated_chain

RATE = 4.0


def chain_of(agents, **top):
    """A network of one agent per type, linked in a row."""
    ids = [agent["id"] for agent in agents]
    links = [{"between": [one, other], "ber": 0.01} for one, other in zip(ids, ids[1:], strict=False)]
    types = [f"type-{index}" for index in range(len(agents))]
    common = {"capability": 0.9, "observations": 100, "outages": 10}
    entries = [common | agent | {"type": name} for agent, name in zip(agents, types, strict=True)]
    base = {"arrival_rate": RATE, "capability_threshold": 0.01, "max_latency": 10.0, "request": types}
    return base | {"agents": entries, "links": links} | top


TWO = chain_of(
    [{"id": "a", "service_rate": 6.0, "service_cv": 1.0}, {"id": "b", "service_rate": 5.0, "service_cv": 1.0}]
)
OPTIONS = ("--customers", "60000", "--law", "exponential")


def holds(value, truth):
    return value["low"] <= truth <= value["high"] < float("inf")


@pytest.fixture(scope="module")
def jackson(lameta, tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulate")
    (folder / "net.json").write_text(json.dumps(TWO))
    return lameta(
        "simulate", "--network", folder / "net.json", "--chain", "a,b", *OPTIONS, "--figure", folder / "f.png", "--json"
    ), folder  # fmt: skip


def test_two_exponential_agents(jackson):
    result = jackson[0].json
    assert result["chain"] == ["a", "b"]
    assert result["customers"] >= 60_000
    for row, rate in zip(result["agents"], (6.0, 5.0), strict=True):
        assert row["utilisation"] == pytest.approx(RATE / rate)
        assert row["latency"]["analytic"] == pytest.approx(1 / (rate - RATE), rel=1e-5)
        assert row["waiting"]["analytic"] == pytest.approx(1 / (rate - RATE) - 1 / rate, rel=1e-5)
        assert abs(row["latency"]["simulated"] * (rate - RATE) - 1) < 0.15
        error = row["latency"]["analytic"] / row["latency"]["simulated"] - 1
        assert row["latency"]["relative_error"] == pytest.approx(error, abs=1e-5)
    whole = result["end_to_end"]
    assert whole["analytic"] == pytest.approx(1 / 2 + 1 / 1)
    assert whole["relative_error_low"] < whole["relative_error"] < whole["relative_error_high"]
    crash = 1 - 0.9**2
    assert result["outage"]["analytic"] > crash
    assert holds(result["outage"], result["outage"]["analytic"])


def test_the_figure_is_a_picture(jackson):
    assert (jackson[1] / "f.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_numbers_for_people(lameta, network_file):
    arguments = (
        "simulate",
        "--network",
        network_file(TWO),
        "--chain",
        "a",
        "--customers",
        "2000",
        "--law",
        "exponential",
    )
    first, second = lameta(*arguments), lameta(*arguments, "--seed", "1")
    assert first == lameta(*arguments)
    assert first.out != second.out
    assert first.out.startswith("a: 2")
    assert "the chain" in first.out and "off by" in first.out


def test_long_simulations_say_how_far_they_are(lameta, network_file, monkeypatch):
    monkeypatch.setattr(simulated_chain, "MAX_ROUND", 2_000)
    run = lameta(
        "simulate", "--network", network_file(TWO), "--chain", "a,b", "--customers", "5000",
        "--law", "exponential", "--json",
    )  # fmt: skip
    assert run.json["replications"] == 3 and run.json["customers"] >= 5_000
    progress = [line for line in run.err.splitlines() if "requests simulated" in line]
    assert len(progress) == 3 and progress[-1].startswith(f"lameta: {run.json['customers']} of")


def test_where_the_formula_is_wrong_it_says_so(lameta, network_file):
    """Constant service: the second agent never queues, but (6) makes it wait rho / (2 (mu - lambda))."""
    run = lameta(
        "simulate", "--network", network_file(TWO), "--chain", "b,a", "--customers", "60000",
        "--law", "deterministic", "--json",
    )  # fmt: skip
    first, second = run.json["agents"]
    assert second["waiting"]["simulated"] == 0.0
    waits = RATE / 6 / (2 * (6 - RATE))
    assert second["latency"]["relative_error"] == pytest.approx(waits * 6, rel=1e-4)
    assert "lameta: agent a: the latency formula is 100.0% too high" in run.err
    assert "agent b: deterministic service has CV 0, the network says 1" in run.err
    assert first["latency"]["relative_error_low"] < 0.05


@pytest.mark.slow
def test_breakdowns(lameta, network_file):
    """Down 10% of busy time, repairs of 0.2 min: completion times as in the twin."""
    mapping = chain_of([{"id": "a", "service_rate": 8.0, "service_cv": 1.0}])
    run = lameta(
        "simulate", "--network", network_file(mapping), "--chain", "a", "--repair", "0.2", "--customers", "400000",
        "--law", "exponential", "--json",
    )  # fmt: skip
    s, d = 1 / 8, 0.2
    f = 0.1 / (0.9 * d)
    mean = s * (1 + f * d)
    second = mean**2 + s**2 * (1 + f * d) ** 2 + 2 * f * d**2 * s
    (row,) = run.json["agents"]
    expected = twin.pollaczek_khinchine(RATE, mean, second)
    assert row["waiting"]["simulated"] == pytest.approx(expected, rel=0.05)
    assert row["availability"]["simulated"] == pytest.approx(0.9, abs=0.005)
    assert run.json["undisturbed"]["simulated"] == pytest.approx(8 / (8 + f), abs=0.005)


@pytest.mark.slow
def test_shared_agents_meet_both_streams(lameta, network_file):
    """Exponential service: the shared agent is M/M/1 with the requests of both chains."""
    agents = [
        {"id": name, "service_rate": rate, "service_cv": 1.0} for name, rate in (("a", 6.0), ("b", 10.0))
    ]
    mapping = chain_of(agents)
    mapping["agents"].append(mapping["agents"][0] | {"id": "c"})
    mapping["links"].append({"between": ["c", "b"], "ber": 0.01})
    path = network_file(mapping)
    run = lameta(
        "simulate", "--network", path, "--chain", "a,b", "--also", "c,b", "--customers", "50000",
        "--law", "exponential", "--json",
    )  # fmt: skip
    own, shared = run.json["agents"]
    assert (own["arrival_rate"], shared["arrival_rate"]) == (4.0, 8.0)
    assert shared["latency"]["analytic"] == pytest.approx(1 / (10 - 8), rel=1e-5)
    assert shared["latency"]["simulated"] == pytest.approx(1 / (10 - 8), rel=0.1)
    assert own["latency"]["simulated"] == pytest.approx(1 / (6 - 4), rel=0.1)
    busy = lameta("simulate", "--network", path, "--chain", "a,b", "--also", "c,b", "--also", "c,b", *OPTIONS)
    assert busy.refusal == "lameta: agent b: utilisation with all chains = 1.2 must be < 1\n"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--chain", "a,x"), "--chain: 'x' must be the id of an agent"),
        (("--customers", "10"), "--customers: 10 must be 1000 to"),
        (("--law", "normal"), "--law: 'normal' must be one of exponential"),
        (("--law", "gamma,gamma,gamma,gamma,gamma"), "--law: 5 laws must be 1, or one for each of the"),
        (("--repair", "0"), "--repair: 0.0 must be finite and > 0"),
        (("--repair", "1", "--also", "a,b"), "--repair: cannot be combined with --also"),
        (("--also", "a"), "--also: 1 agents, must be as many as --chain has, 2"),
        (("--also", "b,a"), "--also: agent b must be in the same place in every chain"),
        (
            ("--also", "a,b", "--customers", "6000000"),
            "--customers: 6000000 must be at most 5000000 with --also",
        ),
        (("--also", "a,b", "--law", "gamma,exponential"), "--law: must be one for all agents with --also"),
        (("--warn", "-1"), "--warn: -1.0 must be finite and >= 0"),
        (("--seed", "-1"), "--seed: -1 must be 0 to 4294967295"),
        (("--figure", "no-such-folder/f.png"), "--figure: no-such-folder must be a folder"),
        (("--figure", "f.txt"), "--figure: f.txt must end in one of .png, .svg, .pdf"),
    ],
)
def test_refusals(lameta, network_file, options, line):
    options = options if "--chain" in options else ("--chain", "a,b", *options)
    assert line in lameta("simulate", "--network", network_file(TWO), *options).refusal


def test_an_agent_that_repairs_cannot_keep_up(lameta, network_file):
    fresh, other = TWO["agents"]
    worn = TWO | {"agents": [fresh, other | {"outages": 40}]}
    run = lameta("simulate", "--network", network_file(worn), "--chain", "a,b", "--repair", "1", *OPTIONS)
    assert run.refusal == "lameta: agent b: utilisation with repairs = 1.333 must be < 1\n"
    down = TWO | {"agents": [fresh | {"outages": 100}, other]}
    run = lameta("simulate", "--network", network_file(down), "--chain", "a,b", "--repair", "1", *OPTIONS)
    assert run.refusal == "lameta: --repair: agent a was never up, so it cannot be repaired\n"
