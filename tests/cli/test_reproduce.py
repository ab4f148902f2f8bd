"""`lameta reproduce`: figures made again by the studies that made them."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from lameta_jax.cli import main, reproduce

RESULTS = Path(__file__).parents[2] / "experiments" / "results"


def test_every_study_is_there_and_says_what_it_does():
    for study in reproduce.STUDIES:
        path = reproduce.experiments_folder() / f"{study.replace('-', '_')}.py"
        assert f"lameta reproduce {study}" in path.read_text()


def test_a_figure_made_again_is_the_published_one(tmp_path):
    command = [sys.executable, "-m", "lameta_jax.cli", "reproduce", "fig5", "--out", str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=240)
    paths = json.loads(run.stdout)
    found = json.loads(Path(paths["results"]).read_text())
    published = json.loads((RESULTS / "fig5.json").read_text())
    assert jax.tree.structure(found["applications"]) == jax.tree.structure(published["applications"])
    for made, expected in zip(
        *map(jax.tree.leaves, (found["applications"], published["applications"])), strict=True
    ):
        # machines add up in other orders; words must be the same
        assert made == (expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-9))
    assert Path(paths["figure"]).read_bytes().startswith(b"\x89PNG")
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fig1"], f"study = 'fig1' must be one of {', '.join(reproduce.STUDIES)}"),
        (["fig5", "--seeds", "3"], "--seeds: fig5 trains nothing, so it has none"),
        (["fig6", "--preset", "quick"], "--preset: only table1, man-fig2, man-fig3, man-fig4 have presets"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(arguments, message, capsys):
    assert main(["reproduce", *arguments]) == 2
    assert capsys.readouterr().err == f"lameta: {message}\n"


@pytest.mark.parametrize(("code", "expected"), [(2, 2), (1, 1), (0, 0)])
def test_the_exit_code_is_the_studys(code, expected, monkeypatch, tmp_path, capsys):
    (tmp_path / "fig7.py").write_text(f"import sys; print(sys.argv[1:]); sys.exit({code})")
    monkeypatch.setattr(reproduce, "experiments_folder", lambda: tmp_path)
    assert main(["reproduce", "fig7", "--seeds", "2"]) == expected


def test_a_preset_is_handed_on(monkeypatch, tmp_path, capfd):
    (tmp_path / "man_fig2.py").write_text("import sys; print(sys.argv[1:])")
    monkeypatch.setattr(reproduce, "experiments_folder", lambda: tmp_path)
    assert main(["reproduce", "man-fig2", "--preset", "quick"]) == 0
    assert capfd.readouterr().out == f"{['--out', 'runs/reproduce', '--preset', 'quick']}\n"


def test_without_its_studies_the_package_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(reproduce.lameta_jax, "__file__", str(tmp_path / "lameta_jax" / "__init__.py"))
    assert main(["reproduce", "fig5"]) == 2
    assert "reinstall, or use a clone" in capsys.readouterr().err
