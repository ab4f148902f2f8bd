"""The page on intent understanding says what the results files say."""

import json

import pytest
from reference.pages import EXPERIMENTS, load_page

SIZES, APPLICATIONS = ("small", "large"), ("multimedia", "qa")


@pytest.fixture(scope="module")
def fig6():
    return json.loads((EXPERIMENTS / "results" / "fig6.json").read_text())


def test_the_page_is_that_of_the_results(monkeypatch):
    script = load_page("iokd_page", monkeypatch)
    assert (EXPERIMENTS / "iokd.md").read_text() == script.page()


def comparisons(fig6, what):
    """Of all sizes and applications."""
    return [fig6["comparisons"][f"{name} {size}: {what}"] for name in APPLICATIONS for size in SIZES]


@pytest.mark.parametrize("encoder", ["frozen", "LoRA"])
def test_iokd_is_below_raw_and_plain_dpo(fig6, encoder):
    for rival in ("raw", "raw, of other applications", f"dpo, {encoder}"):
        assert all(
            found["difference"]["high"] < 0 for found in comparisons(fig6, f"iokd, {encoder} - {rival}")
        )


def test_what_the_page_says_of_the_anchor_is_so(fig6):
    for found in comparisons(fig6, "iokd, frozen - dpo, anchored, frozen"):
        assert abs(found["difference"]["mean"]) < 0.05 * fig6["methods"]["qa"]["large"]["raw"]["mse"]["mean"]
    sft = [found["difference"]["mean"] for found in comparisons(fig6, "iokd, frozen - sft, frozen")]
    assert min(sft[:2]) > 0 > max(sft[2:])  # multimedia, then qa
    for name in APPLICATIONS:
        for size in SIZES:
            rows = fig6["methods"][name][size]
            assert rows["iokd, no anchor, frozen"]["mse"]["mean"] > rows["iokd, frozen"]["mse"]["high"]
            accuracy = {label: row["reward_accuracy"]["mean"] for label, row in rows.items()}
            assert accuracy["dpo, frozen"] > accuracy["iokd, frozen"] > accuracy["sft, frozen"]
            for label in ("iokd, frozen", "iokd, LoRA"):
                assert rows[label]["failure_rate"]["mean"] <= 0.01
            lora, frozen = rows["iokd, LoRA"]["mse"], rows["iokd, frozen"]["mse"]
            assert abs(lora["mean"] - frozen["mean"]) < lora["high"] - lora["low"]


def test_ten_seeds(fig6):
    assert fig6["made_by"]["seeds"] == list(range(10))
    for name in APPLICATIONS:
        for size in SIZES:
            assert {row["seeds"] for row in fig6["methods"][name][size].values()} == {10}
