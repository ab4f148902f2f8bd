"""Qwen2 against transformers, in torch: in one file, since importing torch takes long."""

import json
from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.qwen2_cases import torch_logits, write_with_transformers

from lameta_jax.elam.generation import generate
from lameta_jax.elam.lora import LoRAConfig, add_lora, join_adapters, split_adapters
from lameta_jax.elam.qwen2_weights import load_qwen2
from lameta_jax.functional import functionalize

torch = pytest.importorskip("torch")

MASK = np.arange(7)[None] >= np.array([0, 3, 5])[:, None]  # prompts of 7, 4 and 2 tokens
PROMPTS = np.where(MASK, np.random.default_rng(1).integers(5, 40, size=MASK.shape), 0).astype(np.int32)


def compiled(model):
    apply, params = functionalize(model)
    return jax.jit(apply, static_argnames=("method", "gradient_checkpointing")), params


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """`(transformers' model, ours, apply, params)` of one checkpoint."""
    folder = tmp_path_factory.mktemp("qwen2")
    reference = write_with_transformers(folder)
    model = load_qwen2(folder)
    return reference, model, *compiled(model)


VARIANTS = {
    "untied, two heads share": {},
    "tied": {"tie_word_embeddings": True},
    "all heads share": {"num_key_value_heads": 1},
    "no heads share": {"num_key_value_heads": 4},
    "sharded": {"max_shard_size": "4KB"},
    "longer wavelengths": {"rope_parameters": {"rope_theta": 50.0, "rope_type": "default"}},
}


SLOW = ("all heads share", "longer wavelengths")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in VARIANTS]
)
def test_logits_are_those_of_transformers(name, tmp_path):
    reference = write_with_transformers(tmp_path, **VARIANTS[name])
    assert (tmp_path / "model.safetensors.index.json").exists() == (name == "sharded")
    apply, params = compiled(load_qwen2(tmp_path))
    found = apply(params, jnp.asarray(PROMPTS), jnp.asarray(MASK))
    expected = torch_logits(reference, PROMPTS, MASK)
    assert np.asarray(found)[MASK] == pytest.approx(expected[MASK], abs=1e-5)


@pytest.mark.slow
def test_the_older_way_to_write_theta(case, tmp_path):
    reference = write_with_transformers(
        tmp_path, rope_parameters={"rope_theta": 50.0, "rope_type": "default"}
    )
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("rope_parameters")["rope_theta"] == 50.0  # the way of transformers 5
    (tmp_path / "config.json").write_text(json.dumps(config | {"rope_theta": 50.0}))
    apply, params = compiled(load_qwen2(tmp_path))
    found = np.asarray(apply(params, jnp.asarray(PROMPTS), jnp.asarray(MASK)))[MASK]
    assert found == pytest.approx(torch_logits(reference, PROMPTS, MASK)[MASK], abs=1e-5)
    other = np.asarray(case[2](case[3], jnp.asarray(PROMPTS), jnp.asarray(MASK)))[MASK]
    assert np.abs(found - other).max() > 0.01  # same weights, theta 10000


def test_bfloat16_is_close(case, tmp_path):
    reference = write_with_transformers(tmp_path, dtype="bfloat16")
    apply, params = compiled(load_qwen2(tmp_path))
    assert {value.dtype.name for value in jax.tree.leaves(params)} == {"bfloat16"}
    found = apply(params, jnp.asarray(PROMPTS), jnp.asarray(MASK))
    assert found.dtype == jnp.float32
    exact = torch_logits(case[0], PROMPTS, MASK)[MASK]
    # as far from the float32 model as bfloat16 in torch is: 8 bits of mantissa, a few roundings
    error = np.abs(np.asarray(found)[MASK] - exact)
    assert error.mean() < 1.5 * np.abs(torch_logits(reference, PROMPTS, MASK)[MASK] - exact).mean()
    _, wide = functionalize(load_qwen2(tmp_path, jnp.float32))
    chex.assert_trees_all_equal(wide, jax.tree.map(lambda value: value.astype(jnp.float32), params))


@pytest.mark.slow
def test_padding_on_the_left_changes_nothing(case):
    _, _, apply, params = case
    alone = apply(params, jnp.asarray(PROMPTS[1:2, 3:]), jnp.ones((1, 4), bool))
    padded = apply(params, jnp.asarray(PROMPTS).at[1, :3].set(17), jnp.asarray(MASK))
    assert np.asarray(padded)[1, 3:] == pytest.approx(np.asarray(alone)[0], abs=1e-5)


@pytest.mark.parametrize(
    "change",
    [{}, pytest.param({"num_key_value_heads": 4, "tie_word_embeddings": True}, marks=pytest.mark.slow)],
)
def test_greedy_answers_are_those_of_transformers(change, tmp_path):
    reference = write_with_transformers(tmp_path, eos_token_id=[9, 33], **change)
    model = load_qwen2(tmp_path)
    assert model.config.eos_tokens == (9, 33)
    apply, params = compiled(model)
    expected = reference.generate(
        torch.from_numpy(PROMPTS).long(),
        attention_mask=torch.from_numpy(MASK).long(),
        max_new_tokens=12,
        do_sample=False,
    )[:, 7:].numpy()
    found, counts = generate(apply, model.config, params, jnp.asarray(PROMPTS), jnp.asarray(MASK), 12)
    assert found.shape == (3, 12)
    assert np.array_equal(found[:, : expected.shape[1]], expected)
    assert not np.asarray(found)[:, expected.shape[1] :].any()
    ends = np.isin(expected, (9, 33))
    assert change or len(set(ends.argmax(axis=1).tolist())) == 3  # two end, at different places, one does not
    assert np.array_equal(counts, np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, 12))


@pytest.mark.slow
def test_one_row_ends_before_the_others(case):
    """The model's own second token is made the end."""
    _, model, apply, params = case
    endless = replace(model.config, eos_tokens=())
    free, counts = generate(apply, endless, params, jnp.asarray(PROMPTS), jnp.asarray(MASK), 6)
    assert counts.tolist() == [6, 6, 6]
    ended = replace(model.config, eos_tokens=(int(free[0, 1]),))
    found, counts = generate(apply, ended, params, jnp.asarray(PROMPTS), jnp.asarray(MASK), 6)
    ends = np.asarray(free) == int(free[0, 1])
    expected = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, 6)
    assert np.array_equal(counts, expected) and counts.min() <= 2
    assert np.array_equal(found, np.where(np.arange(6)[None] < expected[:, None], free, 0))


ANSWERS = np.random.default_rng(2).integers(5, 40, size=(3, 2, 4)).astype(np.int32)
ANSWER_MASK = np.arange(4)[None, None] < np.array([[4, 1], [2, 3], [4, 4]])[:, :, None]


def torch_log_prob(model, row, answer):
    """log pi of one answer: prompt and answer alone, without padding."""
    prompt, said = PROMPTS[row][MASK[row]], ANSWERS[row, answer][ANSWER_MASK[row, answer]]
    tokens = torch.from_numpy(np.concatenate([prompt, said])[None]).long()
    logps = model(tokens).logits[0, len(prompt) - 1 : -1].log_softmax(dim=-1)
    return logps.gather(-1, torch.from_numpy(said)[:, None].long()).sum()


def tokens():
    return tuple(map(jnp.asarray, (PROMPTS, MASK, np.where(ANSWER_MASK, ANSWERS, 9), ANSWER_MASK)))


def test_log_probabilities_of_answers_are_those_of_torch(case):
    reference, _, apply, params = case
    with torch.no_grad():
        expected = [[float(torch_log_prob(reference, row, place)) for place in range(2)] for row in range(3)]
    found = apply(params, *tokens(), method="answer_log_prob")
    assert np.asarray(found) == pytest.approx(np.array(expected), abs=1e-5)


CONFIG = LoRAConfig(rank=3, alpha=6.0, targets=r"layers\.(attention\.(query|value)|down)")
LAYERS = {"query": "self_attn.q_proj", "value": "self_attn.v_proj", "down": "mlp.down_proj"}


@pytest.fixture(scope="module")
def adapted(case):
    """`(apply, adapters, base)` with adapters away from their start."""
    apply, params = compiled(add_lora(jax.random.key(0), case[1], CONFIG))
    adapters, base = split_adapters(params)
    leaves, structure = jax.tree.flatten(adapters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    noise = [0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return apply, jax.tree.unflatten(structure, noise), base


@pytest.fixture(scope="module")
def gradient(adapted):
    """Gradient of the summed log-probabilities with respect to the adapters."""
    return total_gradient(*adapted)


def total_gradient(apply, adapters, base, **options):
    def total(adapters):
        return apply(join_adapters(base, adapters), *tokens(), method="answer_log_prob", **options).sum()

    return jax.jit(jax.grad(total))(adapters)


def test_gradients_of_adapters_are_those_of_torch(case, adapted, gradient):
    reference, parts, hooks = case[0], {}, []
    for name, place in LAYERS.items():
        tree = adapted[1]["layers"] if name == "down" else adapted[1]["layers"]["attention"]
        for layer in range(2):
            a, b = (
                torch.tensor(np.asarray(tree[name][part][layer]), requires_grad=True)
                for part in ("lora_a", "lora_b")
            )
            parts[name, layer] = (a, b)
            module = reference.get_submodule(f"model.layers.{layer}.{place}")
            hooks.append(module.register_forward_hook(lambda _, x, y, a=a, b=b: y + 2.0 * x[0] @ a @ b))
    try:
        sum(torch_log_prob(reference, row, place) for row in range(3) for place in range(2)).backward()
    finally:
        for hook in hooks:
            hook.remove()
    for (name, layer), (a, b) in parts.items():
        tree = gradient["layers"] if name == "down" else gradient["layers"]["attention"]
        assert np.asarray(tree[name]["lora_a"][layer]) == pytest.approx(a.grad.numpy(), abs=1e-5, rel=1e-4)
        assert np.asarray(tree[name]["lora_b"][layer]) == pytest.approx(b.grad.numpy(), abs=1e-5, rel=1e-4)


@pytest.mark.slow
def test_checkpointing_gives_the_same_gradient(adapted, gradient):
    again = total_gradient(*adapted, gradient_checkpointing=True)
    chex.assert_trees_all_close(again, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_drawn_tokens_follow_the_softmax(case):
    """The first token of 4000 answers, against the probabilities of torch at temperature 2."""
    reference, model, apply, params = case
    many = np.tile(PROMPTS[1:2], (4000, 1))
    mask = np.tile(MASK[1:2], (4000, 1))
    found, _ = generate(
        apply, model.config, params, jnp.asarray(many), jnp.asarray(mask), 1, jax.random.key(0), 2.0
    )
    frequency = np.bincount(np.asarray(found)[:, 0], minlength=40) / 4000
    logits = torch_logits(reference, PROMPTS[1:2], MASK[1:2])[0, -1] / 2.0
    expected = np.exp(logits) / np.exp(logits).sum()
    assert frequency == pytest.approx(expected, abs=4.5 * float(np.sqrt(expected.max() / 4000)))
    assert np.abs(expected - 1 / 40).max() > 0.02  # not everything is equally likely


@pytest.mark.slow
def test_almost_no_temperature_is_greedy(case):
    _, model, apply, params = case
    arguments = (apply, model.config, params, jnp.asarray(PROMPTS), jnp.asarray(MASK), 6)
    chex.assert_trees_all_equal(generate(*arguments), generate(*arguments, jax.random.key(0), 1e-6))


def test_batches_of_one_shape_compile_once(case):
    _, model, apply, params = case
    traces = []

    def counted(*arguments, **named):
        traces.append(named["method"])
        return apply(*arguments, **named)

    def run(rows):
        generate(counted, model.config, params, jnp.asarray(PROMPTS[rows]), jnp.asarray(MASK[rows]), 5)
        return len(traces)

    first = run([0, 1, 2])
    assert run([2, 1, 0]) == run([1, 1, 1]) == first
    assert run([0, 1]) == 2 * first
