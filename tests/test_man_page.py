"""The page on meta-learned adaptation says what the results files say."""

import json
import sys

import pytest
from reference.pages import EXPERIMENTS, load_page


def results(name):
    return json.loads((EXPERIMENTS / "results" / f"{name}.json").read_text())


def test_the_page_is_that_of_the_results(monkeypatch):
    script = load_page("man_page", monkeypatch)
    assert (EXPERIMENTS / "man.md").read_text() == script.page()
    assert sys.modules["man_page_table1"].readme_table() in (EXPERIMENTS.parent / "README.md").read_text()


@pytest.mark.parametrize(
    "name", ["table1", "table1_long", "man_fig2", "man_fig3", "man_fig4", "theorem1", "theorem2", "joining"]
)
def test_seeds(name):
    assert results(name)["made_by"]["seeds"] == list(range(5))


def test_tuning_and_results_share_no_seed():
    tuned = {
        seed for name in ("man_tuning", "man_tuning_quick") for seed in results(name)["made_by"]["seeds"]
    }
    assert not tuned & set(results("table1")["made_by"]["seeds"])


@pytest.mark.parametrize("data", ["digits", "mnist", "widar"])
def test_man_is_above_local_training_and_not_above_fine_tuned_fedavg(data):
    found = results("table1")["data"][data]["man_minus"]
    assert found["local training"]["seen (mean)"]["low"] > 0
    for group in ("seen (mean)", "unseen (mean)"):
        assert found["FedAvg, fine-tuned"][group]["low"] < 0
        if data != "digits":
            assert found["FedAvg, fine-tuned"][group]["high"] < 0


def test_with_more_rounds_man_reaches_the_papers_accuracies_but_not_fedavg():
    found = results("table1_long")["data"]["mnist"]
    for group, paper in found["paper_percent"]["MAN"].items():
        for part, percent in zip(("worst", "best"), paper, strict=True):
            assert 100 * found["rows"]["MAN"][f"{group} ({part})"]["mean"] >= percent
    assert found["man_minus"]["local training"]["seen (mean)"]["low"] > 0
    assert found["man_minus"]["joint training (FedAvg)"]["seen (mean)"]["high"] < 0


def test_one_update_per_round_at_the_printed_rates_learns_little():
    found = results("table1")["data"]["digits"]
    assert found["printed_long"]["rounds"] == 1000
    assert found["printed_long"]["row"]["seen (mean)"]["high"] < found["rows"]["MAN"]["seen (mean)"]["low"]


@pytest.mark.parametrize("variable", ["steps E", "step size beta"])
def test_more_adaptation_trades_one_error_for_the_other(variable):
    found = results("man_fig4")["sweeps"][variable]
    assert found["personalisation"]["change"]["high"] < 0 < found["generalisation"]["change"]["low"]


def test_memory_and_speed():
    found = results("bench_man")
    assert found["temporary_bytes"]["30"] <= 1.5 * found["temporary_bytes"]["5"]
    assert found["beside_pytorch"]["FedAvg round"]["times_as_fast"] > 1
