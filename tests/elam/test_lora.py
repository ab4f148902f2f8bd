"""LoRA: nothing changes at first, only adapters are trained, merging is the same function, files are checked."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from lameta_jax.elam.lora import (
    LoRAConfig,
    add_lora,
    join_adapters,
    load_adapters,
    merge_adapters,
    save_adapters,
    split_adapters,
)
from lameta_jax.elam.weights import WeightsError
from lameta_jax.functional import functionalize


class Tower(nnx.Module):
    """Two layers in a list and a head."""

    def __init__(self, *, param_dtype=jnp.float32, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(5, 5, param_dtype=param_dtype, rngs=rngs) for _ in range(2)])
        self.head = nnx.Linear(5, 3, param_dtype=param_dtype, use_bias=False, rngs=rngs)

    def __call__(self, x):
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return self.head(x)


CONFIG = LoRAConfig(rank=2, alpha=6.0, targets=r"layers\.\d+")
INPUTS = jax.random.normal(jax.random.key(1), (7, 5))


@pytest.fixture(scope="module")
def tower():
    return Tower(rngs=nnx.Rngs(0))


@pytest.fixture(scope="module")
def adapted(tower):
    """`(apply, adapters, base)` with adapters away from their start."""
    apply, params = functionalize(add_lora(jax.random.key(0), tower, CONFIG))
    adapters, base = split_adapters(params)
    noise = jax.random.normal(jax.random.key(2), (2,))
    adapters = jax.tree.map(
        lambda x: x + 0.3 * noise[0] + 0.1 * jnp.arange(x.size).reshape(x.shape), adapters
    )
    return apply, adapters, base


def by_hand(tower, adapters, x):
    """The tower in NumPy: `x W + b + (6 / 2) x A B` in both layers."""
    for layer, trained in zip(tower.layers, adapters["layers"].values(), strict=True):
        a, b = np.asarray(trained["lora_a"]), np.asarray(trained["lora_b"])
        x = np.tanh(x @ np.asarray(layer.kernel[...]) + np.asarray(layer.bias[...]) + 3.0 * (x @ a) @ b)
    return x @ np.asarray(tower.head.kernel[...])


def test_step_zero_changes_nothing_and_weights_are_shared(tower):
    module = add_lora(jax.random.key(0), tower, CONFIG)
    assert isinstance(tower.layers[0], nnx.Linear)
    apply, params = functionalize(module)
    chex.assert_trees_all_equal(apply(params, INPUTS), tower(INPUTS))
    adapters, base = split_adapters(params)
    chex.assert_trees_all_equal(base, functionalize(tower)[1])
    assert (
        base["layers"][1]["kernel"].unsafe_buffer_pointer()
        == tower.layers[1].kernel[...].unsafe_buffer_pointer()
    )
    assert set(adapters) == {"layers"}
    a, b = (adapters["layers"][0][name] for name in ("lora_a", "lora_b"))
    assert (a.shape, b.shape) == ((5, 2), (2, 5))
    assert 0 < jnp.abs(a).max() <= 5**-0.5 and not b.any()
    assert not np.array_equal(a, adapters["layers"][1]["lora_a"])


def test_the_adapted_function_is_the_equation(tower, adapted):
    apply, adapters, base = adapted
    found = apply(join_adapters(base, adapters), INPUTS)
    assert found == pytest.approx(by_hand(tower, adapters, np.asarray(INPUTS)), abs=1e-5)


def test_split_and_join_are_inverse(tower):
    _, params = functionalize(add_lora(jax.random.key(0), tower, CONFIG))
    adapters, base = split_adapters(params)
    chex.assert_trees_all_equal(join_adapters(base, adapters), params)


def test_merged_weights_compute_the_same(tower, adapted):
    apply, adapters, base = adapted
    plain, _ = functionalize(tower)
    merged = merge_adapters(base, adapters, CONFIG)
    found, expected = plain(merged, INPUTS), apply(join_adapters(base, adapters), INPUTS)
    assert found == pytest.approx(np.asarray(expected), abs=1e-5)


def test_no_gradient_of_a_frozen_weight_is_computed(adapted):
    apply, adapters, base = adapted

    def loss(adapters, base):
        return jnp.square(apply(join_adapters(base, adapters), INPUTS)).sum()

    def matrix_products(arguments):
        """Shapes of all matrix products in the program of the gradient."""
        program = jax.make_jaxpr(jax.grad(loss, arguments))(adapters, base)
        return {eqn.outvars[0].aval.shape for eqn in program.eqns if eqn.primitive.name == "dot_general"}

    assert {(5, 2), (2, 5), (5, 5)} <= matrix_products((0, 1))
    assert {(5, 2), (2, 5)} <= matrix_products((0,))
    assert (5, 5) not in matrix_products((0,))


def test_frozen_weights_may_be_bfloat16():
    module = Tower(param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    apply, params = functionalize(add_lora(jax.random.key(0), module, CONFIG))
    adapters, base = split_adapters(params)
    assert {x.dtype.name for x in jax.tree.leaves(base)} == {"bfloat16"}
    assert {x.dtype.name for x in jax.tree.leaves(adapters)} == {"float32"}
    inputs = INPUTS.astype(jnp.bfloat16)
    chex.assert_trees_all_equal(apply(params, inputs), module(inputs))
    merged = merge_adapters(base, adapters, CONFIG)
    assert {x.dtype.name for x in jax.tree.leaves(merged)} == {"bfloat16"}


def test_stacked_weights_have_stacked_adapters():
    class Stack(nnx.Module):
        def __init__(self):
            self.layer = nnx.Linear(5, 3, rngs=nnx.Rngs(0))
            self.layer.kernel = nnx.Param(jnp.ones((4, 5, 3)))

    adapters, _ = split_adapters(functionalize(add_lora(jax.random.key(0), Stack(), LoRAConfig(rank=2)))[1])
    assert adapters["layer"]["lora_a"].shape == (4, 5, 2)
    assert adapters["layer"]["lora_b"].shape == (4, 2, 3)
    # every layer of the stack is as wide as a single one: +-1/sqrt(5)
    assert 0.3 < float(jnp.abs(adapters["layer"]["lora_a"]).max()) <= 5**-0.5


def test_nothing_to_adapt_is_refused(tower):
    with pytest.raises(ValueError, match=r"targets 'layer' match no linear layer of Tower"):
        add_lora(jax.random.key(0), tower, LoRAConfig(targets="layer"))
    with pytest.raises(ValueError, match="rank 0 must be at least 1"):
        LoRAConfig(rank=0)
    with pytest.raises(ValueError, match="is not a regular expression"):
        LoRAConfig(targets=("layers", "("))


def test_several_patterns_and_the_root_paths(tower):
    config = LoRAConfig(rank=1, targets=("head", r"layers\.1"))
    adapters, _ = split_adapters(functionalize(add_lora(jax.random.key(0), tower, config))[1])
    assert set(adapters) == {"head", "layers"} and set(adapters["layers"]) == {1}


@pytest.fixture
def saved(tmp_path, adapted):
    path = tmp_path / "adapters.safetensors"
    save_adapters(path, adapted[1], CONFIG, {"epochs": "3"})
    return path


def test_adapters_survive_a_file(saved, adapted):
    _, adapters, base = adapted
    loaded, config = load_adapters(saved, base)
    assert config == CONFIG
    chex.assert_trees_all_equal(loaded, adapters)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers.0.lora_a": None}, "nothing for layers.0.lora_a"),
        ({"layers.0.lora_a": np.zeros((5, 3))}, "layers.0.lora_a has shape (5, 3), expected (5, 2)"),
        ({"layers.2.lora_a": np.zeros((5, 2))}, "layers.2.lora_a is not a parameter of this model"),
        ({"layers.1.lora_b": np.full((2, 5), np.nan)}, "layers.1.lora_b holds numbers that are not finite"),
    ],
)
def test_other_tensors_are_refused(saved, adapted, change, message):
    from safetensors import safe_open

    with safe_open(saved, framework="numpy") as file:
        header = file.metadata()
    tensors = load_file(saved) | {
        name: x if x is None else x.astype(np.float32) for name, x in change.items()
    }
    save_file({name: x for name, x in tensors.items() if x is not None}, saved, header)
    with pytest.raises(WeightsError) as refusal:
        load_adapters(saved, adapted[2])
    assert str(refusal.value) == f"{saved}: {message}"


@pytest.mark.parametrize("header", [None, {"lora": "{"}, {"lora": '{"rank": 2}'}, {"lora": "3"}])
def test_other_files_are_refused(saved, adapted, header):
    save_file(load_file(saved), saved, header)
    with pytest.raises(WeightsError, match="not a file of LoRA adapters") as refusal:
        load_adapters(saved, adapted[2])
    assert "\n" not in str(refusal.value)
    saved.write_bytes(saved.read_bytes()[:40])
    with pytest.raises(WeightsError, match="cannot be read"):
        load_adapters(saved, adapted[2])
