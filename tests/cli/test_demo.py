"""The demo: interrupted for real, and in full on a tiny budget."""

import json
import os
import signal
import subprocess
import sys

import pytest

from lameta_jax.cli import main


def test_ctrl_c_leaves_a_readable_partial_summary_and_says_so(listening_program, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", listening_program, "demo", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "reading the intents" in first
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted: what was finished is in" in errors
    assert "Traceback" not in errors
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "interrupted"
    assert summary["network"]["feasible_chains"] == 699
    assert "stage" in output or "missing" in output or "not" in output  # the table says what is not there
    assert "<html" in (out / "report.html").read_text()


def test_an_output_folder_that_cannot_be_made_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["demo", "--out", str(tmp_path / "file" / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "--out" in lines[0]


def test_a_negative_number_of_updates_is_refused(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--updates", "-1"]) == 2
    assert "--updates = -1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_demo(tmp_path, capsys):
    assert main(["demo", "--out", str(tmp_path), "--updates", "60", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["status"] == "complete"
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    for name in summary["applications"]:
        errors = {(row["method"], row["elam"]): row["mse"] for row in summary["elam"][name]}
        assert errors["iokd", "large"] < errors["raw", "large"] < errors["even", None]
        shares = {row["method"]: row["fraction"] for row in summary["composition"][name]}
        assert shares["random"] < shares["SRL (IoKD translation)"] <= shares["optimum"] == 1.0
    for figure in ("elam_error", "network", "preferences", "qoe", "training"):
        assert (tmp_path / f"{figure}.png").stat().st_size > 1000
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) > 4
