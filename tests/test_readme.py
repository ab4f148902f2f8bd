"""The README keeps its promises: its network, its commands, its code and its links."""

import contextlib
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lameta_jax.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language):
    """Contents of the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the README's network and the examples in it, as the reader has it."""
    [network] = blocks("yaml")
    (tmp_path / "my-network.yaml").write_text(network, "utf-8")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def console_cases():
    """Every `$ lameta …` with the lines below it."""
    return [
        (command, output)
        for block in blocks("console")
        for command, output in re.findall(r"^\$ lameta (.*)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE)
    ]


@pytest.mark.parametrize(("command", "output"), console_cases())
def test_commands_print_what_the_readme_shows(command, output, folder, capsys):
    assert main(shlex.split(command)) == 0
    assert capsys.readouterr().out == output


def test_python_prints_what_the_readme_shows(folder, capsys):
    codes, outputs = blocks("python"), blocks("text")
    assert len(codes) == len(outputs) == 3
    for code, output in zip(codes, outputs, strict=True):
        exec(compile(code, "README.md", "exec"), {})
        assert capsys.readouterr().out == output


def test_code_that_needs_a_server_runs_against_a_recorded_one(folder, monkeypatch):
    # The encoder and the teacher are replaced: 5 records ask for nothing when 5 suffice.
    import lameta_jax.elam.sentence_encoder as encoders
    import lameta_jax.intents.http_teacher as teachers
    from lameta_jax.intents.corpus import format_records, load_history, read_records
    from lameta_jax.intents.teacher import RecordedTeacher

    class Blind:
        def levels(self, prompts):
            return np.random.default_rng(0).normal(size=(len(prompts), 7, 384))

    monkeypatch.setattr(encoders, "SentenceEncoder", Blind)
    monkeypatch.setattr(teachers, "HttpTeacher", lambda path: contextlib.nullcontext(RecordedTeacher()))
    (folder / "my.jsonl").write_text(format_records(load_history()[:5]))
    [code] = blocks("py")
    exec(compile(code.replace("target=500", "target=5"), "README.md", "exec"), {})
    assert read_records(folder / "more.jsonl")[:5] == load_history()[:5]
    assert (folder / "more.statistics.json").is_file()


def test_links_and_files_exist():
    links = [target for target in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in target]
    table = re.findall(r"^\|.*?\| (`[^|]*\.py`) \|$", README, re.MULTILINE)
    files = [f"lameta_jax/{name}" for cell in table for name in re.findall(r"`([^`]+)`", cell)]
    folders = re.findall(r"^    ((?:lameta_jax|experiments|tests)/\S*)", README, re.MULTILINE)
    assert len(links) >= 3 and len(files) >= 15 and len(folders) >= 5
    missing = [name for name in links + files + folders if not (ROOT / name).exists()]
    assert not missing
