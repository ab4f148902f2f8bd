"""`lameta bench`: its refusals, the table of results files, and what it hands to the programs that measure."""

import json

import pytest

from lameta_jax.cli import bench, main

ROW = {"what": "steps", "ours": "lameta_jax", "peer": "Other", "unit": "steps", "ratio": 3.14159, "aim": 3}
SCRIPT = """
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
folder.mkdir(exist_ok=True)
name = pathlib.Path(sys.argv[0]).stem
kept = {{"arguments": sys.argv[1:], "cache": os.environ.get("JAX_COMPILATION_CACHE_DIR")}}
(folder / f"{{name}}.json").write_text(json.dumps({{"comparisons": {rows}, "kept": kept}}))
print("not for the table")
sys.exit({code})
"""


@pytest.fixture
def studies(tmp_path, monkeypatch):
    """A folder of studies with two benchmarks that measure nothing."""
    folder = tmp_path / "experiments"
    (folder / "benchmarks").mkdir(parents=True)
    monkeypatch.setattr(bench, "experiments_folder", lambda: folder)
    monkeypatch.setattr(bench, "SUBJECTS", {"one": bench.Subject("first"), "two": bench.Subject("second")})

    def write(subject, rows=(ROW,), code=0):
        (folder / "benchmarks" / f"bench_{subject}.py").write_text(SCRIPT.format(rows=list(rows), code=code))

    write("one")
    write("two", [ROW | {"what": "other steps", "ratio": 0.5}])
    return write


def test_every_benchmark_is_there():
    for subject, (about, _) in bench.SUBJECTS.items():
        text = (bench.experiments_folder() / "benchmarks" / f"bench_{subject}.py").read_text()
        assert f"lameta bench {subject}" in text, about


def test_the_help_names_every_subject(capsys):
    assert main(["bench", "--help"]) == 0
    assert ", ".join(bench.SUBJECTS) in " ".join(capsys.readouterr().out.split())


def test_all_are_run_and_a_table_is_made(studies, tmp_path, capfd):
    assert main(["bench", "--out", str(tmp_path / "out")]) == 0
    out, err = capfd.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["SUBJECT", "WHAT", "OURS", "PEER", "RATIO", "AIM", "MET"]
    assert lines[1] == ["one", "steps", "lameta_jax", "Other", "3.14", "3", "yes"]
    assert lines[2] == ["two", "other", "steps", "lameta_jax", "Other", "0.5", "3", "no"]
    assert "one: first" in err and "two: second" in err


def test_json_and_what_is_handed_on(studies, tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept programs would make compiling look quick")
    out = tmp_path / "out"
    assert main(["bench", "two", "two", "--quick", "--json", "--out", str(out)]) == 0
    found = json.loads(capfd.readouterr().out)
    path = out / "bench_two.json"
    assert found["results"] == {"two": str(path)} and found["quick"] is True
    assert found["comparisons"]["two"][0]["ratio"] == 0.5
    kept = json.loads(path.read_text())["kept"]
    assert kept == {"arguments": ["--out", str(out), "--quick"], "cache": None}


def test_one_that_fails_does_not_stop_the_others(studies, tmp_path, capfd):
    studies("one", code=3)
    assert main(["bench", "--out", str(tmp_path / "out")]) == 1
    out, err = capfd.readouterr()
    assert "other steps" in out and "3.14" not in out
    assert "benchmarks failed: one with exit code 3, see above" in err


@pytest.mark.parametrize(
    ("changes", "ratio", "met"),
    [
        ({}, "3.14", "yes"),
        ({"aim": None}, "3.14", ""),
        ({"ratio": 2.999}, "3", "no"),
        ({"ratio": 2048.1, "lower_bound": True}, ">= 2.05e+03", "yes"),
        ({"reached_by_ours": False}, "3.14", "no"),
    ],
)
def test_a_line_of_the_table(changes, ratio, met):
    row = bench.table({"one": [ROW | changes]})[1]
    assert (row[4], row[6]) == (ratio, met)


def test_refusals(studies, tmp_path, capsys, monkeypatch):
    assert main(["bench", "three"]) == 2
    assert capsys.readouterr().err == "lameta: subject = 'three' must be one of one, two\n"
    file = tmp_path / "file"
    file.write_text("")
    assert main(["bench", "one", "--out", str(file)]) == 2
    assert capsys.readouterr().err == f"lameta: --out: {file} must be a folder\n"
    subjects = bench.SUBJECTS | {"two": bench.Subject("second", ("json", "no_such_peer"))}
    monkeypatch.setattr(bench, "SUBJECTS", subjects)
    assert main(["bench"]) == 2
    assert capsys.readouterr().err == (
        "lameta: no_such_peer not installed, which two needs: pip install 'lameta_jax[bench]'\n"
    )
