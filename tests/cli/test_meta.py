"""`lameta meta`: an initialisation, cut anywhere and gone on with, and refusals."""

import json

import jax
import numpy as np
import pytest

from lameta_jax.cli import meta as command
from lameta_jax.meta.model_files import InitialisationError, load_initialisation, save_initialisation

SMALL = ("--rounds", "3", "--steps", "2", "--rounds-per-report", "1", "--collaborators", "3")


@pytest.fixture(scope="module")
def whole(lameta, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    return out, lameta("meta", "--out", out, "--json", *SMALL)


def test_it_says_what_agents_get(whole):
    out, run = whole
    summary = json.loads(run.out)
    assert summary["out"] == str(out) and summary["rounds"] == 3
    for group in ("seen", "unseen"):
        for model in ("as it is", "adapted"):
            spread = summary["accuracy"][group][model]
            assert 0 <= spread["worst"] <= spread["mean"] <= spread["best"] <= 1
    assert "round 3 of 3: mean loss" in run.err


def test_cut_and_gone_on_with_it_ends_with_the_same_bits(lameta, whole, tmp_path, monkeypatch):
    cut, said = tmp_path / "cut.safetensors", []

    def say(text):
        said.append(text)
        if len(said) == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "say", say)
        assert lameta("meta", "--out", cut, *SMALL).code == 130
    assert said[2].startswith("the same command goes on") and not cut.exists()
    other = lameta("meta", "--out", cut, *SMALL, "--meta-rate", "0.2")
    assert "an unfinished run with another --meta-rate; delete it" in other.refusal
    run = lameta("meta", "--out", cut, *SMALL)
    assert run.code == 0 and "agents" in run.out and "round 1 of 3" not in run.err
    found, expected = load_initialisation(cut), load_initialisation(whole[0])
    assert found.cnn == expected.cnn
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    assert not (tmp_path / "cut.safetensors.partial").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--rounds", "0"), "--rounds: 0 must be at least 1"),
        (("--collaborators", "11"), "--collaborators: 11 must be at most 10"),
        (("--meta-rate", "0"), "--meta-rate: 0.0 must be > 0"),
        (("--concentration", "inf"), "--concentration: inf must be > 0 and finite"),
        (("--steps", "1"), "--steps: man takes two gradients per update"),
        (("--seed", "-1"), "--seed: -1 must lie between"),
    ],
)
def test_bad_input_is_refused(lameta, tmp_path, arguments, words):
    run = lameta("meta", "--out", tmp_path / "it.safetensors", *arguments)
    assert run.code == 2 and words in run.refusal


def test_missing_data_and_folders_are_refused(lameta, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMETA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    run = lameta("meta", "--out", tmp_path / "it.safetensors", "--preset", "mnist")
    assert "mnist: train-images-idx3-ubyte.gz" in run.refusal and "LAMETA_DATA_DIR" in run.refusal
    run = lameta("meta", "--out", tmp_path / "no" / "it.safetensors")
    assert "must be a file in a folder that exists" in run.refusal


def test_files_that_are_no_initialisation_are_refused(whole, tmp_path):
    found = load_initialisation(whole[0])
    path = tmp_path / "it.safetensors"
    path.write_bytes(b"no")
    with pytest.raises(InitialisationError, match="not readable as safetensors"):
        load_initialisation(path)
    with pytest.raises(InitialisationError, match="cannot be read"):
        load_initialisation(tmp_path / "none.safetensors")
    save_initialisation(
        path, found.cnn, {**found.params, "first": {"kernel": np.zeros(3), "bias": np.zeros(8)}}
    )
    with pytest.raises(
        InitialisationError, match=r"tensor first\.kernel: shape = \(3,\) must be \(2, 2, 1, 8\)"
    ):
        load_initialisation(path)
