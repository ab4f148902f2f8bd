"""Qwen2 folders: presets, every key once, and every way in which a folder can be unusable."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference.qwen2_cases import config_json, tensors, write_by_hand

from lameta_jax.elam import qwen2_weights
from lameta_jax.elam.qwen2 import abstract_qwen2, new_qwen2
from lameta_jax.elam.qwen2_config import PRESETS, Qwen2Config, read_config
from lameta_jax.elam.qwen2_weights import load_qwen2
from lameta_jax.elam.weights import WeightsError, module_path
from lameta_jax.functional import functionalize

UP = "model.layers.1.mlp.up_proj.weight"


def refused(function, *arguments):
    """The one line with which the call is refused."""
    with pytest.raises(WeightsError) as refusal:
        function(*arguments)
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


@pytest.mark.parametrize(
    # the published sizes: 1,777,088,000 and 7,615,616,512 parameters
    ("name", "count"),
    [("deepseek-r1-distill-qwen-1.5b", 1_777_088_000), ("deepseek-r1-distill-qwen-7b", 7_615_616_512)],
)
def test_presets_have_the_published_number_of_parameters(name, count):
    _, params = functionalize(abstract_qwen2(PRESETS[name], jnp.bfloat16))
    assert sum(value.size for value in jax.tree.leaves(params)) == count
    assert {value.dtype.name for value in jax.tree.leaves(params)} == {"bfloat16"}


def test_every_parameter_has_exactly_one_key_for_every_layer(tmp_path):
    model = abstract_qwen2(read_config(write_by_hand(tmp_path, {}, config_json())))
    parameters = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model))}
    found = [module_path(qwen2_weights._KEYS, key) for key in tensors()]
    assert all(found) and len({path for path, _ in found}) == len(found) == 3 + 2 * 12
    assert {path.replace(".0.", ".").replace(".1.", ".") for path, _ in found} == parameters


@pytest.mark.parametrize("shards", [1, 3])
def test_values_arrive_where_they_belong(shards, tmp_path):
    values = tensors()
    model = load_qwen2(write_by_hand(tmp_path, values, config_json(), shards))
    _, params = functionalize(model)
    assert np.array_equal(params["layers"]["up"]["kernel"][1], values[UP].T)
    query = "model.layers.0.self_attn.q_proj"
    assert np.array_equal(params["layers"]["attention"]["query"]["kernel"][0], values[f"{query}.weight"].T)
    assert np.array_equal(params["layers"]["attention"]["query"]["bias"][0], values[f"{query}.bias"])
    norm = "model.layers.1.post_attention_layernorm.weight"
    assert np.array_equal(params["layers"]["mlp_norm"]["scale"][1], values[norm])
    assert np.array_equal(params["head"]["embedding"], values["lm_head.weight"])
    assert model.config == read_config(tmp_path)


def test_the_type_can_be_chosen(tmp_path):
    folder = write_by_hand(tmp_path, tensors(), config_json())
    _, params = functionalize(load_qwen2(folder, jnp.bfloat16))
    assert {value.dtype.name for value in jax.tree.leaves(params)} == {"bfloat16"}
    assert np.array_equal(params["layers"]["up"]["kernel"][1], tensors()[UP].T.astype(jnp.bfloat16))


def test_the_output_layer_of_a_tied_model_is_its_embedding(tmp_path):
    values = tensors()
    folder = write_by_hand(tmp_path, values, config_json(tie_word_embeddings=True))
    assert refused(load_qwen2, folder) == (
        f"{folder / 'model.safetensors'}: lm_head.weight is not a parameter of this model"
    )
    del values["lm_head.weight"]
    _, params = functionalize(
        load_qwen2(write_by_hand(tmp_path, values, config_json(tie_word_embeddings=True)))
    )
    assert "head" not in params


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (UP, None, "nothing for layers.1.up.kernel"),
        ("model.embed_tokens.weight", None, "nothing for model.embed_tokens.weight"),
        (UP, np.zeros((24, 15), np.float32), f"{UP} is read as (15, 24), expected (16, 24)"),
        (
            "model.norm.weight",
            np.zeros(15, np.float32),
            "model.norm.weight is read as (15,), expected (16,)",
        ),
        (UP, np.zeros((24, 16), np.int8), f"{UP} is of type I8, not of F32, BF16, F16"),
        (
            "model.layers.2.mlp.up_proj.weight",
            np.zeros((24, 16), np.float32),
            "model.layers.2.mlp.up_proj.weight is not a parameter of this model",
        ),
        ("score.weight", np.zeros(2, np.float32), "score.weight is not a parameter of this model"),
    ],
)
def test_other_tensors_are_refused(shards, key, value, message, tmp_path):
    values = {name: x for name, x in (tensors() | {key: value}).items() if x is not None}
    found = refused(load_qwen2, write_by_hand(tmp_path, values, config_json(), shards))
    assert found.startswith(str(tmp_path)) and found.endswith(f": {message}")


@pytest.mark.parametrize("size", [0, 5, 300, -4])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_truncated_file_is_refused(size, shards, tmp_path):
    write_by_hand(tmp_path, tensors(), config_json(), shards)
    file = sorted(tmp_path.glob("*.safetensors"))[-1]
    file.write_bytes(file.read_bytes()[:size])
    assert refused(load_qwen2, tmp_path).startswith(f"{file}: cannot be read (")


def test_missing_files_are_named(tmp_path):
    assert refused(load_qwen2, tmp_path) == f"{tmp_path}: no config.json"
    (tmp_path / "config.json").write_text(json.dumps(config_json()))
    assert refused(load_qwen2, tmp_path) == f"{tmp_path}: no model.safetensors"
    write_by_hand(tmp_path, tensors(), config_json(), 3)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    assert refused(load_qwen2, tmp_path) == f"{tmp_path}: no model-00002-of-00003.safetensors"


def test_an_index_that_is_wrong_is_refused(tmp_path):
    write_by_hand(tmp_path, tensors(), config_json(), 3)
    index = tmp_path / "model.safetensors.index.json"
    placed = json.loads(index.read_text())["weight_map"]

    def refusal(text):
        index.write_text(text)
        return refused(load_qwen2, tmp_path)

    moved = tmp_path / next(name for name in sorted(set(placed.values())) if name != placed[UP])
    message = refusal(json.dumps({"weight_map": placed | {UP: moved.name}}))
    assert message == f"{moved}: nothing for {UP}, which the index places there"
    assert refusal("{").startswith(f"{index}: not JSON (")
    assert refusal("[]") == f"{index}: not a JSON object"
    assert refusal("{}") == f"{index}: no weight_map"
    message = refusal(json.dumps({"weight_map": {UP: "../x.safetensors"}}))
    assert message == f"{index}: {UP} is in '../x.safetensors', must be the name of a file beside it"


def test_a_tensor_in_two_files_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    write_by_hand(tmp_path, tensors(), config_json(), 2)
    first, second = sorted(tmp_path.glob("*.safetensors"))
    key = next(iter(load_file(first)))
    save_file(load_file(second) | {key: tensors()[key]}, second)
    assert refused(load_qwen2, tmp_path) == f"{second}: {key} is in {first.name}, too"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "model_type 'llama' is not implemented, only 'qwen2' is"),
        ({"model_type": None}, "model_type None is not implemented, only 'qwen2' is"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu' is not implemented, only 'silu' is"),
        ({"use_sliding_window": True}, "use_sliding_window True is not implemented, only False is"),
        (
            {"layer_types": ["full_attention", "sliding_attention"]},
            "layer_types 'sliding_attention' is not implemented",
        ),
        (
            {"rope_parameters": {"rope_theta": 1e4, "rope_type": "yarn"}},
            "rope_type 'yarn' is not implemented, only 'default' is",
        ),
        (
            {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}},
            "rope_type 'linear' is not implemented, only 'default' is",
        ),
        (
            {"rope_parameters": {"rope_theta": 1e4, "partial_rotary_factor": 0.5}},
            "partial_rotary_factor 0.5 is not implemented, only 1.0 is",
        ),
        ({"quantization_config": {"bits": 4}}, "quantization_config {'bits': 4} is not implemented"),
        ({"head_dim": 8}, "head_dim 8 is not hidden_size / num_attention_heads"),
        ({"vocab_size": None}, "vocab_size is None, must be a whole number"),
        ({"hidden_size": 16.5}, "hidden_size is 16.5, must be a whole number"),
        ({"num_hidden_layers": 0}, "num_layers 0 must be at least 1"),
        ({"num_key_value_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
        ({"num_attention_heads": 3}, "hidden_size 16 is not a multiple of twice num_heads 3"),
        ({"rope_parameters": {"rope_theta": 0}}, "rope_theta is 0, must be a positive number"),
        ({"rms_norm_eps": "1e-6"}, "rms_norm_eps is '1e-6', must be a positive number"),
    ],
    ids=str,
)
def test_other_configurations_are_refused(change, message, tmp_path):
    write_by_hand(tmp_path, {}, config_json(**change))
    assert refused(read_config, tmp_path) == f"{tmp_path / 'config.json'}: {message}"


@pytest.mark.parametrize("text", ["", "{", "\x00"])
def test_a_configuration_that_is_not_json_is_refused(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    assert refused(read_config, tmp_path).startswith(f"{tmp_path / 'config.json'}: not JSON (")


def test_both_ways_to_write_theta(tmp_path):
    write_by_hand(tmp_path, {}, config_json(rope_parameters={"rope_theta": 77.0, "rope_type": "default"}))
    assert read_config(tmp_path).rope_theta == 77.0
    write_by_hand(tmp_path, {}, config_json(rope_parameters=None, rope_theta=78.0, rope_scaling=None))
    assert read_config(tmp_path).rope_theta == 78.0


def test_answers_end_as_the_generation_configuration_says(tmp_path):
    write_by_hand(tmp_path, {}, config_json())
    assert read_config(tmp_path).eos_tokens == (3,)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [4, 5]}')
    assert read_config(tmp_path).eos_tokens == (4, 5)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": "<end>"}')
    assert refused(read_config, tmp_path).endswith(
        "eos_token_id is '<end>', must be a token or a list of tokens"
    )


@pytest.mark.slow
def test_random_weights_have_the_type_asked_for():
    config = Qwen2Config(
        vocabulary_size=11, hidden_size=8, num_layers=3, num_heads=2, num_kv_heads=1, intermediate_size=6
    )
    _, params = functionalize(new_qwen2(jax.random.key(0), config, jnp.bfloat16))
    assert {value.dtype.name for value in jax.tree.leaves(params)} == {"bfloat16"}
    up = params["layers"]["up"]["kernel"]
    assert up.shape == (3, 8, 6) and not np.array_equal(up[0], up[1])
