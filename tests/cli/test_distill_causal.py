"""`lameta distill --model`: adapters of a tiny language model, interrupted, taken up again and read through."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference.causal_cases import causal_records, merged_tensors, write_model
from reference.qwen2_cases import tensors
from safetensors import safe_open

from lameta_jax.cli import compose, distill_causal, intent
from lameta_jax.cli import distill as command
from lameta_jax.cli.distill import METHOD_OPTIONS, DistillConfig
from lameta_jax.distillation.methods import METHODS
from lameta_jax.elam.qwen2_elam import load_qwen2_elam
from lameta_jax.intents.corpus import format_records, prompts_of
from lameta_jax.intents.translator import translate
from lameta_jax.pipeline.own_causal import CAUSAL_TRAINER, INSTRUCTION, OwnCausalConfig
from lameta_jax.pipeline.own_elam import SplitConfig, split_records

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-network.yaml"
GAMES, HISTORY = causal_records("games", 16), causal_records("poems", 12, 100)
QUICK = replace(CAUSAL_TRAINER, batch_size=4, adapter_learning_rate=1e-2)
SPLIT = split_records(GAMES, HISTORY, SplitConfig(validation=0.2))


def given(*more, model="tiny-qwen", out="my.safetensors", corpus="games.jsonl"):
    files = ("--corpus", corpus, "--history", "history.jsonl", "--model", model, "--out", out)
    return ("distill", *files, "--epochs", "60", "--validation", "0.2", *more)


def write_files(folder):
    """A corpus, a history and a model."""
    (folder / "games.jsonl").write_text(format_records(GAMES))
    (folder / "history.jsonl").write_text(format_records(HISTORY))
    write_model(folder / "tiny-qwen")
    return folder


@pytest.fixture(scope="module", autouse=True)
def quickly():
    """Steps large enough to learn from a dozen records."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill_causal, "CAUSAL_TRAINER", QUICK)
        yield


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return write_files(tmp_path)


@pytest.fixture(scope="module")
def distilled(tmp_path_factory, lameta, quickly):
    """`(folder, what distill did)` of a working folder in which an E-LAM was distilled."""
    folder = write_files(tmp_path_factory.mktemp("distilled"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, lameta(*given("--json"))


@pytest.fixture
def there(distilled, monkeypatch):
    """The working folder, entered."""
    monkeypatch.chdir(distilled[0])
    return distilled[0]


def contents_of(path):
    with safe_open(path, framework="numpy") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def test_a_corpus_becomes_adapters(distilled):
    folder, run = distilled
    result = run.json
    names = {"games.jsonl", "history.jsonl", "tiny-qwen", "my.safetensors"}
    assert names <= {path.name for path in folder.iterdir()}
    assert not list(folder.glob("*.part*"))
    assert (result["application"], result["elam"], result["method"]) == ("games", "tiny-qwen", "iokd")
    assert (result["epochs"], result["decoder_only"]) == (60, False)
    assert result["records"] == {"training": 13, "validation": 3, "history": 12}
    told = [line for line in run.err.splitlines() if "distilling the adapters: epoch" in line]
    assert len(told) == 10 and all("reward margin" in line for line in told)
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in told]
    assert losses[-1] < 0.5 * losses[0]
    assert [row["model"] for row in result["validation"]] == ["mean vector", "raw", "distilled"]
    header, adapters = contents_of(folder / "my.safetensors")
    fields, notes = json.loads(header["causal"]), json.loads(header["notes"])
    assert (fields["application"], fields["model"]) == ("games", "tiny-qwen")
    assert fields["instruction"] == INSTRUCTION
    assert notes["model"] == fields["model_sha256"] and notes["--epochs"] == "60"
    assert all(name.startswith("layers.") for name in adapters) and len(adapters) == 2 * 7


def expected_answers(folder, tmp_path, prompts):
    """What a checkpoint answers to whose weights the adapters were added in NumPy."""
    header, adapters = contents_of(folder / "my.safetensors")
    nested = {}
    for name, value in adapters.items():
        place = nested
        *path, last = name.split(".")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
    lora = json.loads(header["lora"])
    merged = write_model(tmp_path / "merged", merged_tensors(nested, lora["alpha"] / lora["rank"]))
    mean = np.mean([record.preference for record in SPLIT.training], axis=0)
    return translate(load_qwen2_elam(merged, mean, instruction=INSTRUCTION), prompts)


def test_intent_reads_by_it_and_what_was_measured_is_what_it_says(
    lameta, distilled, there, tmp_path, monkeypatch
):
    monkeypatch.setattr(intent, "CAUSAL_BATCH_SIZE", 2)  # the file is read in two parts
    (tmp_path / "in.jsonl").write_text(format_records(SPLIT.validation))
    run = lameta("intent", "--file", tmp_path / "in.jsonl", "--elam-file", "my.safetensors")
    found = [json.loads(line) for line in run.out.splitlines()]
    prompts = prompts_of(SPLIT.validation)
    expected = expected_answers(there, tmp_path, prompts)
    assert [row["answer"] for row in found] == [translation.answer for translation in expected]
    assert [row["failed"] for row in found] == [translation.failed for translation in expected]
    assert not all(row["failed"] for row in found)
    predicted = np.array([row["preference"] for row in found])
    np.testing.assert_allclose(predicted, [translation.preference for translation in expected], rtol=1e-6)
    assert {(row["elam"], row["application"]) for row in found} == {("tiny-qwen", "games")}
    actual = np.array([record.preference for record in SPLIT.validation])
    measured = distilled[1].json["validation"][2]
    assert measured["mse"] == pytest.approx(np.square(predicted - actual).mean(), rel=1e-5)
    assert measured["failure_rate"] == pytest.approx(np.mean([row["failed"] for row in found]))


def test_a_prompt_is_read_from_arguments_and_standard_input_and_composed_for(
    lameta, there, stdin, monkeypatch
):
    def compose_for(scenario, policy, preference, *options):
        return {"feasible": True, "composed for": preference}

    monkeypatch.setattr(compose, "compose_for", compose_for)
    arguments = ("--elam-file", "my.safetensors", "--json")
    one = lameta("intent", "fast now", *arguments).json
    assert (one["elam"], one["application"]) == ("tiny-qwen", "games")
    assert set(one) == {"preference", "answer", "failed", "elam", "application"}
    stdin(b"fast now")
    assert lameta("intent", "-", *arguments).json == one
    composed = lameta("compose", "fast now", "--network", EXAMPLE, *arguments).json
    assert composed == one | {"feasible": True, "composed for": one["preference"]}


@pytest.mark.slow
def test_a_chain_is_composed(lameta, there):
    arguments = ("--elam-file", "my.safetensors", "--network", EXAMPLE)
    composed = lameta("compose", "fast now", *arguments, "--json").json
    assert composed["feasible"] is True and composed["elam"] == "tiny-qwen"
    assert "tiny-qwen E-LAM of games" in lameta("compose", "fast now", *arguments).out


def test_interrupted_the_same_command_ends_with_the_same_adapters(lameta, distilled, files, monkeypatch):
    told = []

    def say(message):
        told.append(message)
        if "epoch 54 of 60" in message:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "say", say)
    run = lameta(*given())
    assert (run.code, run.out) == (130, "")
    assert told[-1] == "the same command goes on from my.safetensors.partial"
    assert (files / "my.safetensors.partial").exists() and not (files / "my.safetensors").exists()

    refused = "my.safetensors.partial: an unfinished run with another"
    assert f"{refused} --seed; delete it" in lameta(*given("--seed", "1")).refusal
    write_model(files / "other", rms_norm_eps=1e-5)
    assert f"{refused} model; delete it" in lameta(*given(model="other")).refusal
    remembering = lameta(*given("--gradient-checkpointing")).refusal
    assert f"{refused} --gradient-checkpointing; delete it" in remembering

    told.clear()
    run = lameta(*given())
    assert run.code == 0 and told[0] == "going on from my.safetensors.partial"
    assert [line.split(",")[0] for line in told if "epoch" in line] == [
        "distilling the adapters: epoch 60 of 60"
    ]
    header, adapters = contents_of(files / "my.safetensors")
    whole_header, whole = contents_of(distilled[0] / "my.safetensors")
    assert header == whole_header and set(adapters) == set(whole)
    for name, value in adapters.items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)
    assert not (files / "my.safetensors.partial").exists()
    assert "my.safetensors: tiny-qwen E-LAM of games, iokd, 13 records trained on, 3 held out" in run.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (given("--elam", "large"), "--elam and --model cannot both be given"),
        (given("--decoder-only"), "--decoder-only cannot be given with --model"),
        (given(model="none"), "none: no config.json"),
        (given(model="games.jsonl"), "games.jsonl: no config.json"),
        (given(model="bare"), "bare: no model.safetensors"),
        (given(model="mute"), "mute: no tokenizer.json"),
        (given(model="gpt"), "model_type 'gpt2' is not implemented, only 'qwen2' is"),
        (given(model="wide"), "down_proj.weight is read as (24, 16), expected (25, 16)"),
        (given(out="tiny-qwen/model.safetensors"), "must not be a file that is read"),
        (given(out="tiny-qwen/config.json"), "must not be a file that is read"),
        (given(corpus="long.jsonl"), "record 'long': the prompt takes"),
        (given("--epochs", "0"), "--epochs: 0 must be at least 1"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    lameta, files, monkeypatch, arguments, message
):
    monkeypatch.setattr(distill_causal, "say", lambda _: None)  # such as that the model is loaded
    write_model(files / "gpt", model_type="gpt2")
    write_model(files / "wide", intermediate_size=25)
    for name, file in {"bare": "model.safetensors", "mute": "tokenizer.json"}.items():
        (write_model(files / name) / file).unlink()
    long = [replace(record, id="long", prompt="fast " * 90) for record in GAMES[:1]]
    (files / "long.jsonl").write_text(format_records([*GAMES, *long]))
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert message in lameta(*arguments).refusal
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before


def test_options_of_language_models_need_one(lameta, files):
    minilm = ("distill", "--corpus", "games.jsonl", "--out", "my.safetensors", "--gradient-checkpointing")
    assert "--gradient-checkpointing needs --model" in lameta(*minilm).refusal
    for words in (("intent", "x"), ("compose", "x", "--network", EXAMPLE)):
        assert "--model needs --elam-file" in lameta(*words, "--model", "tiny-qwen").refusal


def test_where_the_model_is_not_what_it_was_one_line_says_so(lameta, there, tmp_path, monkeypatch):
    shutil.copy(there / "my.safetensors", tmp_path)
    monkeypatch.chdir(tmp_path)
    asked = [("intent", "x"), ("compose", "x", "--network", EXAMPLE), ("intent", "--file", "in.jsonl")]
    for words in asked:
        refused = lameta(*words, "--elam-file", "my.safetensors").refusal
        assert "my.safetensors: no folder tiny-qwen of the model that it belongs to" in refused
    shutil.copytree(there / "tiny-qwen", "moved")
    moved = ("--elam-file", "my.safetensors", "--model", "moved", "--json")
    assert lameta("intent", "fast now", *moved).json["elam"] == "moved"
    write_model(tmp_path / "tiny-qwen", tensors() | {"model.norm.weight": np.ones(16, np.float32)})
    refused = lameta("intent", "x", "--elam-file", "my.safetensors").refusal
    assert "my.safetensors: belongs to another model than the one in tiny-qwen" in refused


def test_files_that_are_no_elam_of_a_language_model_are_refused(lameta, there, tmp_path):
    from lameta_jax.elam.shipped import shipped_path

    shipped = shipped_path("small", "qa")
    refused = lameta("intent", "x", "--elam-file", shipped, "--model", there / "tiny-qwen").refusal
    assert "was not distilled by --model" in refused
    content = (there / "my.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(content[:-7])
    assert (
        "cut.safetensors: cannot be read"
        in lameta("intent", "x", "--elam-file", tmp_path / "cut.safetensors").refusal
    )


def test_every_option_says_how_it_is_made():
    config = DistillConfig(
        corpus="a",
        out="b",
        method="dpo-anchored",
        epochs=9,
        seed=5,
        validation=0.3,
        gradient_checkpointing=True,
    )
    method = METHODS["dpo, anchored"].with_trainer(replace(QUICK, num_epochs=9))
    assert distill_causal.causal_config(config, METHOD_OPTIONS[config.method]) == OwnCausalConfig(
        method=method, gradient_checkpointing=True, validation=0.3, seed=5
    )
    plain = DistillConfig(corpus="a", out="b")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distill_causal, "CAUSAL_TRAINER", CAUSAL_TRAINER)
        assert distill_causal.causal_config(plain, METHOD_OPTIONS[plain.method]) == OwnCausalConfig()
