"""`lameta distill`: a small E-LAM from a few made-up records, interrupted, taken up again and used."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import get_type_hints

import numpy as np
import pytest
from safetensors import safe_open

from lameta_jax.cli import distill as command
from lameta_jax.cli import distill_minilm
from lameta_jax.cli.distill import METHOD_OPTIONS, DistillConfig
from lameta_jax.distillation.methods import METHODS
from lameta_jax.elam import sentence_encoder
from lameta_jax.intents.corpus import Record, format_records, load_benchmark, load_history
from lameta_jax.pipeline.own_elam import OwnElamConfig, split_records

WORDS = ("quick", "cheap", "exact", "sure")
QUICKLY = ("--elam", "small", "--decoder-only", "--epochs", "3", "--validation", "0.2")


def made_up(application, count=12):
    """Prompts that name the factor that most of the preference is of."""
    return tuple(
        Record(
            id=f"{application}-{place}",
            application=application,
            prompt=f"{application} number {place}, be {WORDS[place % 4]}",
            preference=tuple(0.7 if factor == place % 4 else 0.1 for factor in range(4)),
        )
        for place in range(count)
    )


GAMES, HISTORY = made_up("games"), made_up("poems")


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A corpus and a history in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "games.jsonl").write_text(format_records(GAMES))
    (tmp_path / "history.jsonl").write_text(format_records(HISTORY))
    return tmp_path


ENCODER = cache(sentence_encoder.SentenceEncoder)


@pytest.fixture
def quickly(monkeypatch):
    """Pre-training of five epochs, and an encoder that is loaded and compiled once."""
    tuned, short = OwnElamConfig, replace(METHODS["sft"].decoder_trainer, num_epochs=5)
    monkeypatch.setattr(distill_minilm, "OwnElamConfig", lambda **fields: tuned(**fields, pretraining=short))
    for module in (distill_minilm, sentence_encoder):
        monkeypatch.setattr(module, "SentenceEncoder", ENCODER)


def model_of(path):
    """Notes and tensors of a file."""
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["notes"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def assert_same_model(first, second):
    (notes, tensors), (other_notes, others) = model_of(first), model_of(second)
    assert notes == other_notes and set(tensors) == set(others)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, others[name], err_msg=name)


def given(*more, corpus="games.jsonl", out="my.safetensors"):
    return ("distill", "--corpus", corpus, "--history", "history.jsonl", "--out", out, *QUICKLY, *more)


def test_a_corpus_becomes_an_elam_that_intent_reads_by(lameta, files, quickly):
    run = lameta(*given("--json"))
    result = run.json
    split = split_records(GAMES, HISTORY, OwnElamConfig(validation=0.2))
    assert result["records"] == {"training": 10, "validation": 2, "history": 12}
    assert (result["application"], result["elam"], result["method"]) == ("games", "small", "iokd")
    assert (result["epochs"], result["seed"], result["decoder_only"]) == (3, 0, True)
    assert sorted(path.name for path in files.iterdir()) == ["games.jsonl", "history.jsonl", "my.safetensors"]
    told = [line for line in run.err.splitlines() if "epoch" in line]
    assert len(told) == 5 + 3  # pre-training, then distillation
    assert all("loss" in line for line in told)
    assert ["reward margin" in line for line in told] == [False] * 5 + [True] * 3
    notes, _ = model_of("my.safetensors")
    assert notes["--epochs"] == "3" and notes["--method"] == "iokd" and len(notes["corpus"]) == 64

    # what was measured is what a user of the file gets
    (files / "in.jsonl").write_text(format_records(split.validation))
    read = lameta("intent", "--file", "in.jsonl", "--elam-file", "my.safetensors")
    answers = [json.loads(line) for line in read.out.splitlines()]
    assert {(answer["application"], answer["elam"]) for answer in answers} == {("games", "small")}
    predicted = np.array([answer["preference"] for answer in answers])
    actual = np.array([record.preference for record in split.validation])
    distilled = result["validation"][2]
    assert distilled["model"] == "distilled"
    assert distilled["mse"] == pytest.approx(np.square(predicted - actual).mean(), rel=1e-5)
    factors = np.abs(predicted - actual).mean(axis=0)
    assert list(distilled["factor_mae"].values()) == pytest.approx(factors.tolist(), rel=1e-5)
    assert list(distilled["factor_mae"]) == ["capability", "information", "latency", "outage"]

    refused = lameta("intent", "x", "--elam-file", "my.safetensors", "--application", "games").refusal
    assert "--application and --elam-file cannot both be given" in refused
    (files / "in.jsonl").write_text('{"prompt": "a", "application": "qa"}\n')
    read = lameta("intent", "--file", "in.jsonl", "--elam-file", "my.safetensors")
    assert "must be one of auto, games" in json.loads(read.out)["error"]


def test_interrupted_anywhere_the_same_command_ends_with_the_same_file(lameta, files, quickly, monkeypatch):
    assert lameta(*given(out="whole.safetensors")).code == 0
    told = []

    def say(message):
        told.append(message)
        if "epoch 2 of 5" in message or "epoch 1 of 3" in message:
            raise KeyboardInterrupt

    for module in (command, distill_minilm):
        monkeypatch.setattr(module, "say", say)
    for _ in range(2):
        run = lameta(*given())
        assert (run.code, run.out, run.err) == (130, "", "lameta: interrupted\n")
        assert told[-1] == "the same command goes on from my.safetensors.partial"
        assert not (files / "my.safetensors").exists() and (files / "my.safetensors.partial").exists()
    refused = lameta(*given("--seed", "1")).refusal
    assert "my.safetensors.partial: an unfinished run with another --seed; delete it" in refused
    (files / "games.jsonl").write_text(format_records(GAMES[:-1]))
    assert "another corpus; delete it" in lameta(*given()).refusal
    (files / "games.jsonl").write_text(format_records(GAMES))
    told.clear()
    run = lameta(*given())
    assert run.code == 0 and told[0] == "going on from my.safetensors.partial"
    assert [line.split(", loss")[0][-12:] for line in told if "epoch" in line] == [
        "epoch 2 of 3",
        "epoch 3 of 3",
    ]
    assert_same_model("my.safetensors", "whole.safetensors")
    assert not (files / "my.safetensors.partial").exists()
    assert "games, iokd, 10 records trained on, 2 held out" in run.out
    assert [line.split()[0] for line in run.out.splitlines()[2:]] == ["MSE", "mean", "raw", "distilled"]

    (files / "my.safetensors.partial").write_bytes(b"lameta")
    assert "my.safetensors.partial: damaged, or not an unfinished run; delete it" in lameta(*given()).refusal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (given(corpus="missing.jsonl"), "missing.jsonl: cannot be read"),
        (given(corpus="bad.jsonl"), "bad.jsonl:2: field 'prompt'"),
        (given(corpus="empty.jsonl"), "empty.jsonl: no records"),
        (given(corpus="few.jsonl"), "must be at least 8"),
        (given(corpus="mixed.jsonl"), "several applications, name one of games, poems"),
        (given("--application", "chess", corpus="mixed.jsonl"), "no records of application 'chess'"),
        (given("--history", "bad.jsonl"), "bad.jsonl:2"),
        (given("--epochs", "0"), "--epochs: 0 must be at least 1"),
        (given("--seed", "-1"), "--seed: -1"),
        (given("--validation", "1"), "validation = 1.0 must lie in [0, 1)"),
        (given("--method", "magic"), "magic"),
        (given(out="none/my.safetensors"), "--out: none/my.safetensors must be a file in a folder"),
        (given(out="."), "--out: . must be a file in a folder"),
        (given(out="games.jsonl"), "--out: games.jsonl must not be a file that is read"),
        (given(out="history.jsonl"), "--out: history.jsonl must not be a file that is read"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(lameta, files, arguments, message):
    for name, text in {
        "bad.jsonl": format_records(GAMES[:1]) + '{"id": "a", "application": "games"}\n',
        "empty.jsonl": "\n",
        "few.jsonl": format_records(GAMES[:7]),
        "mixed.jsonl": format_records(GAMES + HISTORY),
    }.items():
        (files / name).write_text(text)
    before = {path: path.read_bytes() for path in files.iterdir()}
    assert message in lameta(*arguments).refusal
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_a_file_that_is_no_elam_is_refused_where_it_is_used(lameta, files):
    from lameta_jax.cli.compose import SHIPPED_POLICY
    from lameta_jax.elam.shipped import shipped_folder

    policy = shipped_folder().parents[1].joinpath(*SHIPPED_POLICY)
    for path, words in {"games.jsonl": "cannot be read", policy: "not a distilled E-LAM"}.items():
        assert words in lameta("intent", "x", "--elam-file", path).refusal


def test_every_method_can_be_asked_for():
    assert list(METHOD_OPTIONS.values()) == list(METHODS.values())
    assert set(get_type_hints(DistillConfig)["method"].__args__) == set(METHOD_OPTIONS)


def test_every_option_says_how_it_is_made():
    config = DistillConfig(
        corpus="a", out="b", elam="small", method="dpo-anchored", epochs=9, seed=5, validation=0.3
    )
    dpo = METHODS["dpo, anchored"]
    expected = OwnElamConfig(
        elam="small", method=replace(dpo, trainer=replace(dpo.trainer, num_epochs=9)), validation=0.3, seed=5
    )
    assert distill_minilm.own_config(config, dpo) == expected
    alone = replace(dpo, decoder_trainer=replace(dpo.decoder_trainer, num_epochs=9))
    assert distill_minilm.own_config(replace(config, decoder_only=True), dpo) == replace(
        expected, method=alone, decoder_only=True
    )
    plain = DistillConfig(corpus="a", out="b")
    assert distill_minilm.own_config(plain, METHOD_OPTIONS[plain.method]) == OwnElamConfig()


def test_benchmark_prompts_are_in_no_default_and_told_where_they_are_given(capsys):
    command._warn_of_test_prompts(load_history() + load_benchmark("qa").demonstrations)
    assert capsys.readouterr().err == ""
    command._warn_of_test_prompts(GAMES + load_benchmark("qa").test[:3])
    assert capsys.readouterr().err.startswith("lameta: 3 records hold test prompts")


@pytest.mark.slow
def test_as_a_program_it_survives_ctrl_c_and_fine_tunes_the_encoder(lameta, files, listening_program):
    arguments = ["--corpus", "games.jsonl", "--elam", "small", "--history", "history.jsonl", "--json"]

    def start(out):
        program = [sys.executable, "-c", listening_program, "distill", *arguments, "--out", out]
        return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with start("whole.safetensors") as process:
        whole, errors = process.communicate()
    assert process.returncode == 0, errors
    for moment in (
        "pre-training on the history: epoch 60",
        "distilling the decoder: epoch 100",
        "fine-tuning",
    ):
        with start("my.safetensors") as process:
            assert any(moment in line for line in process.stderr)  # reads as far as that line
            os.kill(process.pid, signal.SIGINT)
            assert process.stderr.read().splitlines()[-1] == "lameta: interrupted"
        assert process.returncode == 130
        assert os.path.exists("my.safetensors.partial") and not os.path.exists("my.safetensors")
    with start("my.safetensors") as process:
        again, errors = process.communicate()
    assert "going on from my.safetensors.partial" in errors and "pre-training" not in errors
    assert json.loads(again) | {"out": ""} == json.loads(whole) | {"out": ""}
    assert_same_model("my.safetensors", "whole.safetensors")
    _, tensors = model_of("my.safetensors")
    assert any(name.startswith("adapters.") for name in tensors)
    one = lameta("intent", GAMES[0].prompt, "--elam-file", "my.safetensors")
    assert one.out.splitlines()[4].split() == ["read", "by", "small", "E-LAM", "of", "games"]
    composed = lameta(
        "compose", GAMES[0].prompt, "--network", "lameta-81", "--elam-file", "my.safetensors", "--json"
    )
    assert (composed.json["elam"], composed.json["application"]) == ("small", "games")
    assert (
        composed.json["answer"]
        == lameta("intent", GAMES[0].prompt, "--elam-file", "my.safetensors", "--json").json["answer"]
    )
    refused = lameta("compose", "x", "--network", "lameta-81", "--elam-file", "games.jsonl").refusal
    assert "games.jsonl: cannot be read" in refused
