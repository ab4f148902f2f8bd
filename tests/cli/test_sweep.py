"""`lameta sweep`: tables, policies and a figure; taken up again; refusals."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from reference.composition_cases import six_agents

from lameta_jax.composition.policy_files import load_policy

SMALL = ("--updates", "2", "--users", "8", "--seeds", "2", "--devices", "1")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "six.yaml"
    content = six_agents()
    content["links"] = [{**link, "between": list(link["between"])} for link in content["links"]]
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def swept(lameta, network, tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "out"
    vary = ("--vary", "learning_rate=1e-3,1e-1", "context_width=8")
    command = ("sweep", "--network", network, "--out", out, *vary, "--width", "4", "--keep", "2", *SMALL)
    return out, command, lameta(*command, "--json")


def test_it_writes_tables_policies_and_a_figure(swept):
    out, _, run = swept
    summary = run.json
    assert summary == json.loads((out / "sweep.json").read_text())
    with (out / "runs.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    assert [(float(row["learning_rate"]), int(row["seed"])) for row in runs] == [
        (rate, seed) for rate in (1e-3, 1e-1) for seed in (0, 1)
    ]
    assert {row["network"] for row in runs} == {"by-hand"} and {row["context_width"] for row in runs} == {"8"}
    by_rate = {
        rate: [float(r["score"]) for r in runs if float(r["learning_rate"]) == rate] for rate in (1e-3, 1e-1)
    }
    best = max(by_rate, key=lambda rate: sum(by_rate[rate]))
    assert summary["best"]["learning_rate"] == best
    assert summary["best"]["score_iqm"] == pytest.approx(sum(by_rate[best]) / 2, rel=1e-5)
    shares = [float(row["test_share"]) for row in runs if float(row["learning_rate"]) == best]
    assert summary["best"]["test_share"] == pytest.approx(sum(shares) / 2)
    assert (out / "sweep.png").stat().st_size > 1000
    for place, kept in enumerate(summary["best_runs"]):
        assert load_policy(out / f"policy-{place + 1}.safetensors").config.context_width == 8
        assert kept["score"] == float(runs[kept["run"]]["score"])


def test_what_is_done_is_not_done_again(lameta, swept):
    out, command, run = swept
    again = lameta(*command)
    assert again.code == 0 and "all 4 runs were done before" in again.err
    table = again.out.splitlines()
    assert table[0].split()[0] == "learning_rate" and table[1].split()[1] in ("0.001", "0.1")
    assert json.loads((out / "sweep.json").read_text())["best"] == run.json["best"]
    other = lameta(*command[:-2], "--devices", "1", "--updates", "3")
    assert "another --updates" in other.refusal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--vary", "rate=1"), "rate: not a setting"),
        (("--vary", "learning_rate"), "must be NAME=VALUE"),
        (("--vary", "learning_rate=fast"), "'fast' in 'learning_rate=fast' must be a number"),
        (("--vary", "learning_rate=log:1"), "must have a range"),
        (("--vary", "learning_rate=1..2"), "a grid needs values"),
        (("--vary", "learning_rate=2..1", "--random", "3"), "2.0 must be less than 1.0"),
        (("--vary", "width=log:8..16", "--random", "3"), "a list of whole numbers"),
        (("--preference", "0.5,0.5,0.5,0.5"), "--preference"),
        (("--preference", "any", "any"), "none twice"),
        (("--seeds", "0"), "--seeds: 0 must be at least 1"),
        (("--users", "6"), "multiple of the 4 minibatches"),
        (("--stages", "3"), "1 configurations must be at least eta"),
        (("--memory-gb", "0"), "--memory-gb"),
    ],
)
def test_bad_input_is_refused_in_a_line(lameta, network, tmp_path, arguments, message):
    run = lameta("sweep", "--network", network, "--out", tmp_path / "out", "--devices", "1", *arguments)
    assert message in run.refusal


@pytest.mark.slow
def test_halving_stops_the_worse_ones(lameta, network, tmp_path):
    rates = "learning_rate=1e-3,3e-3,1e-2,1e-1"
    out = tmp_path / "out"
    lameta(
        "sweep",
        "--network",
        network,
        "--out",
        out,
        "--vary",
        rates,
        *SMALL,
        "--stages",
        "2",
        "--eta",
        "2",
        "--json",
    )
    with (out / "runs.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    assert sorted(row["stages"] for row in runs) == ["1"] * 4 + ["2"] * 4


@pytest.mark.slow
def test_killed_at_any_time_it_ends_in_the_same_table(network, tmp_path):
    def command(out):
        vary = ("--vary", "learning_rate=1e-3,3e-3,1e-2,1e-1", "gamma=0.9,1.0")
        options = ("--network", network, "--out", out, *vary, *SMALL, "--width", "2")
        return [sys.executable, "-m", "lameta_jax.cli", "sweep", *map(str, options)]

    subprocess.run(command(tmp_path / "whole"), check=True)
    killed = tmp_path / "killed"
    for wanted in (1, 4):
        process = subprocess.Popen(command(killed))
        while len(list(killed.glob("chunks/*.chunk"))) < wanted and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert not (killed / "runs.csv").exists()
    subprocess.run(command(killed), check=True)
    assert (killed / "runs.csv").read_text() == (tmp_path / "whole" / "runs.csv").read_text()


@pytest.mark.slow
def test_optuna_chooses_sizes(lameta, network, tmp_path):
    vary = ("--vary", "learning_rate=1e-2,1e-1", "context_width=4,8,16")
    out = tmp_path / "out"
    command = ("sweep", "--network", network, "--out", out, *vary, *SMALL, "--trials", "3", "--width", "4")
    summary = lameta(*command, "--json").json
    with (out / "runs.csv").open(newline="") as file:
        runs = list(csv.DictReader(file))
    scores = {}
    for row in runs:
        scores.setdefault((row["context_width"], row["learning_rate"]), []).append(float(row["score"]))
    best = max(scores, key=lambda one: sum(scores[one]))
    assert (str(summary["best"]["context_width"]), str(summary["best"]["learning_rate"])) == best
    again = lameta(*command, "--json").json
    assert again["best"] == summary["best"] and again["runs"] == summary["runs"]


def test_a_search_needs_sizes(lameta, network, tmp_path):
    run = lameta("sweep", "--network", network, "--out", tmp_path / "out", "--devices", "1", "--trials", "2")
    assert "a search needs --vary of a size" in run.refusal


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs the extra `ray`")
def test_ray_brings_the_same_table(network, tmp_path):
    def table(engine, *options):
        out = tmp_path / engine
        vary = ("--vary", "learning_rate=1e-3,1e-2,1e-1")
        given = (
            "--network",
            network,
            "--out",
            out,
            *vary,
            *SMALL,
            "--width",
            "2",
            "--engine",
            engine,
            *options,
        )
        subprocess.run([sys.executable, "-m", "lameta_jax.cli", "sweep", *map(str, given)], check=True)
        return (out / "runs.csv").read_text()

    assert table("ray", "--workers", "2") == table("local")
