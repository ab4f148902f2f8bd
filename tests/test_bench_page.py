"""The page on speed says what the results files say, and those were measured for it."""

import json

import pytest
from reference.pages import EXPERIMENTS, load_page

SUBJECTS = ("qoe", "env", "ppo", "queue", "dpo", "man", "sweep", "scaling", "profile")


def results(name):
    return json.loads((EXPERIMENTS / "results" / f"{name}.json").read_text())


def test_the_page_is_that_of_the_results(monkeypatch):
    assert (EXPERIMENTS / "bench.md").read_text() == load_page("bench_page", monkeypatch).page()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_quick_is_quoted(subject):
    found = results(f"bench_{subject}")
    assert not found["quick"] and "--quick" not in found["made_by"]["command"]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_ratios_are_those_of_the_medians(subject):
    for one in results(f"bench_{subject}")["comparisons"]:
        assert one["ratio"] == pytest.approx(one["ours_per_second"] / one["peer_per_second"])


def test_a_sweep_does_its_runs_in_about_the_fastest_way_and_within_its_budget():
    found = results("bench_sweep")["sweep"]
    times, runs = found["seconds_per_run_by_width"], found["runs_by_width"]
    most = max(runs, key=runs.get)
    assert times[most] < 1.1 * min(times.values())  # widths are compared while few runs have been done
    assert found["program_bytes"] <= found["budget_bytes"]


def test_aims_that_are_met():
    met = {
        one["what"]
        for one in results("bench_queue")["comparisons"]
        if one["aim"] and one["ratio"] >= one["aim"]
    }
    assert "queue simulation" in met
