"""`lameta compose` with an E-LAM that answers at once and an untrained policy."""

import jax
import pytest
from reference.composition_cases import six_agents
from reference.composition_twin import power_qoe

from lameta_jax.cli import compose as command
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.policy_files import TrainedPolicy, save_policy

CONFIG = PolicyConfig(width=4, num_layers=1, context_width=6, intent_width=3, elam_width=2)
PROMPT = "quick, please"  # 13 characters: s = 0.13, 0.37, 0.3, 0.2


@pytest.fixture(scope="module")
def policy_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("policy") / "policy.safetensors"
    save_policy(path, TrainedPolicy(config=CONFIG, params=make_policy(CONFIG).init(jax.random.key(0))))
    return path


@pytest.fixture
def composed(lameta, elams, network_file, policy_file):
    """Runs `lameta compose` on a network."""

    def run(mapping, *options):
        path = network_file(mapping)
        return lameta(
            "compose", PROMPT, "--network", path, "--policy", policy_file, "--application", "qa", *options
        )

    return run


def test_the_chain_its_qoe_and_the_gap_to_the_optimum(composed):
    result = composed(six_agents(), "--json").json
    preference = [0.13, 0.37, 0.3, 0.2]
    assert result["preference"] == preference
    assert (result["elam"], result["application"], result["failed"]) == ("large", "qa", False)
    qoe = {
        (a, b, c): power_qoe(six_agents(), (a, b, c), preference)
        for a in ("a0", "a1")
        for b in ("b0", "b1")
        for c in ("c0", "c1")
    }
    best = max(qoe, key=qoe.__getitem__)
    assert result["feasible"] is True and result["violations"] == []
    assert result["subjective_qoe"] == pytest.approx(qoe[tuple(result["chain"])], rel=1e-5)
    assert result["optimum"]["chain"] == list(best) and result["optimum"]["exact"] is True
    assert result["optimum"]["subjective_qoe"] == pytest.approx(qoe[best], rel=1e-5)
    assert result["gap"] == pytest.approx(1 - qoe[tuple(result["chain"])] / qoe[best], abs=1e-9)


def test_of_all_chains_proposed_the_best_one_is_the_optimum(composed):
    result = composed(six_agents(), "--proposals", "8", "--explain", "--json").json  # there are eight
    assert result["chain"] == result["optimum"]["chain"] and result["gap"] == pytest.approx(0, abs=1e-9)
    chosen = [place["agent"] for place in result["explanation"]]
    assert chosen == result["chain"] and all(0 < one["probability"] <= 1 for one in result["explanation"])


def test_the_output_for_people(composed):
    run = composed(six_agents())
    assert run.code == 0 and run.err == ""
    for words in ("chain", "subjective QoE", "optimum QoE", "gap", "large E-LAM of qa"):
        assert words in run.out


def test_explained_each_agent_stands_beside_those_that_might_replace_it(composed):
    result = composed(six_agents(), "--explain", "--json").json
    chain, preference = result["chain"], result["preference"]
    assert [place["agent"] for place in result["explanation"]] == chain
    by_id = {agent["id"]: agent for agent in six_agents()["agents"]}
    for number, place in enumerate(result["explanation"]):
        [other] = place["alternatives"]  # there are two of every type
        assert place["probability"] + other["probability"] == pytest.approx(1, abs=1e-5)
        assert place["probability"] >= other["probability"]
        for shown in (place, other):
            swapped = [*chain[:number], shown["agent"], *chain[number + 1 :]]
            expected = power_qoe(six_agents(), tuple(swapped), preference)
            assert shown["subjective_qoe"] == pytest.approx(expected, rel=1e-5)
            assert shown["capability"] == pytest.approx(by_id[shown["agent"]]["capability"])
            assert shown["latency"] == pytest.approx(1 / (by_id[shown["agent"]]["service_rate"] - 4.0))
            assert (shown["ber"] is None) is (number == 0)


def test_the_explanation_for_people(composed):
    run = composed(six_agents(), "--explain")
    assert run.out.count("\nor ") == 0 and run.out.count(" or ") == 3
    assert "link BER" in run.out and run.code == 0


def test_a_chain_that_fails_is_said_to_fail(composed):
    run = composed(six_agents() | {"max_latency": 1e-3}, "--json")
    result = run.json
    assert result["feasible"] is False and "(18b)" in result["violations"][0]
    assert result["subjective_qoe"] == -1
    assert result["optimum"] == {"chain": None, "subjective_qoe": None, "exact": True}
    assert result["gap"] is None
    assert run.err.count("\n") == 1 and "found no chain" in run.err


def test_with_too_many_chains_the_optimum_is_only_bounded(composed, monkeypatch):
    monkeypatch.setattr(command, "MAX_CHAINS", 1)
    result = composed(six_agents(), "--json").json
    assert result["gap"] is None and result["optimum"]["exact"] is False
    assert result["optimum"]["bound"] >= result["subjective_qoe"]
    assert "bound" in composed(six_agents()).out


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--network", "missing.yaml"], "missing.yaml"),
        (["--network", "lameta-81", "--policy", "missing.safetensors"], "missing.safetensors"),
        (["--network", "lameta-81", "--policy", __file__], "safetensors"),
        (["--network", "lameta-81", "--application", "games"], "games"),
        (["--network", "lameta-81", "--proposals", "0"], "--proposals"),
        ([], "--network"),
    ],
)
def test_bad_input_is_refused_in_one_line(lameta, elams, options, named):
    assert named in lameta("compose", PROMPT, *options).refusal
    assert not elams  # refused before a language model is loaded
