"""The page on composing chains says what the results files say."""

import json

import pytest
from reference.pages import EXPERIMENTS, load_page

APPLICATIONS = ("multimedia", "qa")
HELD_OUT, NOMINAL = "held-out slots", "nominal network"


def results(name):
    return json.loads((EXPERIMENTS / "results" / f"{name}.json").read_text())


@pytest.fixture(scope="module", params=APPLICATIONS)
def fig8(request):
    return results("fig8")["applications"][request.param]


def test_the_page_is_that_of_the_results(monkeypatch):
    script = load_page("srl_page", monkeypatch)
    assert (EXPERIMENTS / "srl.md").read_text() == script.page()


def test_told_what_users_want_srl_is_near_the_optimum(fig8):
    for where in (HELD_OUT, NOMINAL):
        assert fig8["learned"]["SRL, own preference"][where]["share"]["low"] >= 0.98


def test_srl_is_above_random_greedy_and_even_and_below_exact_search(fig8):
    for told, rows in fig8["margins"][HELD_OUT].items():
        for method in ("random", "greedy", "greedy on the step reward", "DRL-even", "beam search of width 1"):
            assert rows[method]["low"] > 0, (told, method)
        assert rows["exact search"]["mean"] < 0


def test_the_language_model_composes_better_than_what_is_told_by_an_elam_in_multimedia():
    found = results("fig8")["applications"]["multimedia"]
    zero_shot = found["others"][NOMINAL]["LLM zero-shot"]["the prompts"]["share"]
    assert zero_shot > found["others"][NOMINAL]["exact search"]["IoKD, large"]["share"]
    for method in ("SRL, IoKD", "SRL, IoKD, large alone"):
        assert zero_shot > found["learned"][method][NOMINAL]["share"]["high"]


def test_better_reading_serves_better():
    for name in APPLICATIONS:
        rows = results("srl_ablations")["applications"][name]["elam_quality"].values()
        share = [row["policy"]["share"]["mean"] for row in rows]
        assert share == sorted(share)


def test_the_printed_form_gives_what_ignoring_users_gives():
    for name in APPLICATIONS:
        rows = results("srl_ablations")["applications"][name]["qoe_form"]
        even = rows["even weights, exact search"]["share"]
        assert abs(rows["printed, policy"]["share"]["mean"] - even) < 0.01
        assert rows["power, policy"]["share"]["low"] > rows["printed, policy"]["share"]["high"] + 0.05


def test_what_a_policy_is_told_decides_about_fig10():
    found = results("fig10")["populations"]
    for kind in ("any users", "users of the applications"):
        assert found[f"{kind}, told the mean of its application"]["not_worse"]["low"] > 0.9
        assert found[f"{kind}, told what the user wants"]["not_worse"]["high"] < 0.9


def test_the_generalist():
    found = results("generalist")
    for group, rows in found["networks_never_met"].items():
        assert rows["generalist"]["share"]["low"] >= 0.95, group
        assert rows["generalist"]["feasible"] == 1
    for name in APPLICATIONS:
        assert found["lameta-81"][name]["generalist_minus_own"]["low"] > -0.02
    assert found["lameta-1k"]["generalist"]["share_of_beam_search"]["low"] >= 0.93


def test_proposing_chains_reaches_exact_search_told_the_same():
    found = results("proposals")
    for name in APPLICATIONS:
        told = found["applications"][name]["IoKD, large"]
        for width in ("8", "16"):
            assert told["less_plug_in"][width]["high"] >= 0 and told["less_plug_in"][width]["low"] > -0.001
        assert found["applications"][name]["own preference"]["share"]["16"]["low"] > 0.999
    assert found["lameta-1k"]["16"] > 0.995


def test_training_is_short():
    found = results("srl_time")
    assert found["target"] == 0.95 and found["seconds_to_target"]["high"] < 60


@pytest.mark.parametrize(
    ("name", "seeds"),
    [
        ("fig8", 10),
        ("fig9", 10),
        ("fig10", 10),
        ("fig11", 10),
        ("srl_ablations", 10),
        ("changing_network", 10),
        ("proposals", 10),
        ("generalist", 5),
    ],
)
def test_seeds(name, seeds):
    assert results(name)["made_by"]["seeds"] == list(range(seeds))
