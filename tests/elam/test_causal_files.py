"""The file of a causal E-LAM and the digest of its model: what is not what it says is refused in one line."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from reference.causal_cases import write_model
from reference.qwen2_cases import config_json, tensors, write_by_hand
from safetensors import safe_open
from safetensors.numpy import save_file

from lameta_jax.elam.causal_files import CausalHeader, is_causal, load_causal, save_causal
from lameta_jax.elam.lora import LoRAConfig, save_adapters
from lameta_jax.elam.model_files import model_digest
from lameta_jax.elam.weights import WeightsError
from lameta_jax.intents.preference import EVEN

LORA = LoRAConfig(rank=2, targets=r"layers\.up")
ADAPTERS = {
    "layers": {
        "up": {
            "lora_a": np.ones((2, 16, 2), np.float32),
            "lora_b": np.full((2, 2, 24), 0.5, np.float32),
        }
    }
}


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "tiny")


@pytest.fixture
def file(folder, tmp_path):
    header = CausalHeader(
        application="games",
        mean_preference=(0.1, 0.2, 0.3, 0.4),
        instruction="safe",
        model=str(folder),
        model_sha256=model_digest(folder),
    )
    save_causal(tmp_path / "own.safetensors", ADAPTERS, LORA, header, {"seed": "1"})
    return tmp_path / "own.safetensors"


def refusal(*arguments):
    with pytest.raises(WeightsError) as caught:
        load_causal(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_header_says_what_it_takes_to_answer(file):
    assert is_causal(file)
    elam = load_causal(file)
    assert (elam.name, elam.application, tuple(elam.mean_preference)) == (
        "tiny",
        "games",
        (0.1, 0.2, 0.3, 0.4),
    )
    assert elam.tokenizer.prompt_ids(["fast"]) == [[5, 7, 2, 6, 4]]  # system, safe, user, fast, assistant
    with safe_open(file, framework="numpy") as reader:
        assert json.loads(reader.metadata()["notes"]) == {"seed": "1"}


def test_the_digest_is_that_of_sha256sum(folder):
    names = (
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "model.safetensors",
    )
    assert {path.name for path in folder.iterdir()} == set(names)
    lines = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    whole = model_digest(folder)
    assert whole == hashlib.sha256("".join(lines).encode()).hexdigest()
    (folder / "README.md").write_text("not read")
    (folder / "other.safetensors").write_text("not read, too")
    assert model_digest(folder) == whole


def test_the_digest_covers_every_file_of_weights(folder, tmp_path):
    sharded = tmp_path / "sharded"
    sharded.mkdir()
    write_by_hand(sharded, tensors(), config_json(), shards=3)
    seen = {model_digest(sharded)}
    for path in sorted(sharded.glob("*.safetensors")):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        seen.add(model_digest(sharded))
    assert len(seen) == 4
    path.unlink()
    with pytest.raises(WeightsError, match=f"sharded: no {path.name}"):
        model_digest(sharded)


def test_a_folder_that_is_gone_or_holds_another_model_is_refused(file, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    folder.rename(tmp_path / "moved")
    assert refusal(file) == f"{file}: no folder {folder} of the model that it belongs to"
    elam = load_causal(file, tmp_path / "moved")
    assert elam.name == "moved" and load_causal(file, tmp_path / "copy").name == "copy"
    for change in ({"rms_norm_eps": 1e-5}, {"model.norm.weight": np.ones(16, np.float32)}):
        shutil.rmtree(tmp_path / "copy")
        if "rms_norm_eps" in change:
            write_model(tmp_path / "copy", **change)
        else:
            write_model(tmp_path / "copy", tensors() | change)
        found = refusal(file, tmp_path / "copy")
        assert found == f"{file}: belongs to another model than the one in {tmp_path / 'copy'}"
    (tmp_path / "copy" / "config.json").unlink()
    assert refusal(file, tmp_path / "copy") == f"{tmp_path / 'copy'}: no config.json"


FIELDS = {
    "application": "games",
    "mean_preference": [0.25] * 4,
    "instruction": "",
    "model": "tiny",
    "model_sha256": "0",
}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (None, "not a distilled causal E-LAM ('causal')"),
        ("{", "not a distilled causal E-LAM"),
        ("[1]", "not a distilled causal E-LAM"),
        (json.dumps({"application": "games"}), "not a distilled causal E-LAM ('mean_preference')"),
        (json.dumps(FIELDS | {"more": 1}), "not a distilled causal E-LAM"),
        (json.dumps(FIELDS | {"model": 5}), "a field is of another kind"),
        (json.dumps(FIELDS | {"mean_preference": [0.5, 0.5]}), "a field is of another kind"),
        (json.dumps(FIELDS | {"mean_preference": "none"}), "not a distilled causal E-LAM"),
        (json.dumps(FIELDS | {"mean_preference": [2, -1, 0, 0]}), "must lie on the simplex"),
        (json.dumps(FIELDS | {"mean_preference": [float("nan")] * 4}), "must lie on the simplex"),
    ],
)
def test_a_header_that_cannot_be_used_is_refused(tmp_path, header, words):
    metadata = {"notes": "{}"} if header is None else {"causal": header}
    save_file({"x": np.zeros(1, np.float32)}, tmp_path / "own.safetensors", metadata)
    found = refusal(tmp_path / "own.safetensors")
    assert found.startswith(f"{tmp_path / 'own.safetensors'}: ") and words in found


def test_damaged_files_and_adapters_that_do_not_fit_are_refused(file, folder, tmp_path):
    header = CausalHeader(
        **FIELDS | {"mean_preference": EVEN, "model": str(folder), "model_sha256": model_digest(folder)}
    )
    wide = {"layers": {"up": ADAPTERS["layers"]["up"] | {"lora_b": np.zeros((2, 2, 5), np.float32)}}}
    save_causal(tmp_path / "wide.safetensors", wide, LORA, header, {})
    assert "layers.up.lora_b has shape (2, 2, 5), expected (2, 2, 24)" in refusal(
        tmp_path / "wide.safetensors"
    )
    save_adapters(tmp_path / "plain.safetensors", ADAPTERS, LORA, {})
    assert not is_causal(tmp_path / "plain.safetensors")
    file.write_bytes(file.read_bytes()[:-5])
    assert "cannot be read" in refusal(file)
    with pytest.raises(WeightsError, match="cannot be read"):
        is_causal(tmp_path / "none.safetensors")


@pytest.mark.parametrize("alpha", ["NaN", '"wide"', "Infinity"])
def test_a_scale_that_is_no_number_is_refused(file, alpha):
    content = file.read_bytes()
    assert content.count(b'\\"alpha\\": 16.0') == 1
    metadata, values = _parts(file)
    metadata["lora"] = metadata["lora"].replace("16.0", alpha)
    save_file(values, file, metadata)
    assert "not a file of LoRA adapters" in refusal(file)


def _parts(file):
    with safe_open(file, framework="numpy") as reader:
        return reader.metadata(), {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
