"""A model spread over four devices computes what it computes on one: in a process of its own, which makes devices."""

import json
import os
import subprocess
import sys

import jax
import pytest
from flax.traverse_util import flatten_dict
from jax.sharding import PartitionSpec as P
from reference.qwen2_cases import config_json, tensors, write_by_hand

from lameta_jax.elam.lora import LoRAConfig, add_lora
from lameta_jax.elam.qwen2 import abstract_qwen2
from lameta_jax.elam.qwen2_config import PRESETS, read_config
from lameta_jax.elam.sharding import partition_spec
from lameta_jax.functional import functionalize

PROGRAM = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import NamedSharding
from lameta_jax.elam.generation import generate
from lameta_jax.elam.lora import LoRAConfig, add_lora, join_adapters, split_adapters
from lameta_jax.elam.qwen2_weights import load_qwen2
from lameta_jax.elam.sharding import BATCH, make_mesh, shard_params
from lameta_jax.functional import functionalize

folder = sys.argv[1]
mesh = make_mesh(data=2, model=2)
place = NamedSharding(mesh, BATCH)
tokens = jax.random.randint(jax.random.key(0), (4, 6), 5, 40)
mask = jnp.arange(6)[None] >= jnp.arange(4)[:, None]
answers = jax.random.randint(jax.random.key(1), (4, 2, 3), 5, 40)
lora = LoRAConfig(rank=2, targets=r"layers\\..*")


def run(model, put, put_params):
    apply, params = functionalize(model)
    rows = [put(value) for value in (tokens, mask, answers, jnp.ones(answers.shape, bool))]
    adapted, joined = functionalize(add_lora(jax.random.key(2), model, lora))
    adapters, base = split_adapters(joined)
    adapters = put_params(jax.tree.map(lambda value: value + 0.1, adapters))

    @jax.jit
    def gradient(adapters, base, rows):
        def total(adapters):
            return adapted(join_adapters(base, adapters), *rows, method="answer_log_prob").sum()
        return jax.grad(total)(adapters)

    logits = jax.jit(apply)(params, *rows[:2])
    return logits, gradient(adapters, base, rows), generate(apply, model.config, params, *rows[:2], 5), params


*one, _ = run(load_qwen2(folder), lambda x: x, lambda x: x)
*many, params = run(
    load_qwen2(folder, mesh=mesh), lambda x: jax.device_put(x, place), lambda x: shard_params(x, mesh)
)
apart = [float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in zip(*map(jax.tree.leaves, (one, many)))]
local = {
    "query": params["layers"]["attention"]["query"]["kernel"],
    "down": params["layers"]["down"]["kernel"],
    "embedding": params["embedding"]["embedding"],
    "norm": params["norm"]["scale"],
}
local = {name: value.addressable_shards[0].data.size / value.size for name, value in local.items()}
scale = max(float(np.abs(np.asarray(value)).max()) for value in jax.tree.leaves(one))
print(json.dumps({"devices": len(jax.devices()), "apart": max(apart), "scale": scale, "local": local}))
"""


@pytest.mark.slow
def test_four_devices_compute_what_one_does(tmp_path):
    write_by_hand(tmp_path, tensors(), config_json())
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert found["devices"] == 4
    assert found["apart"] < 1e-5 * max(1.0, found["scale"])
    assert found["local"] == {"query": 0.5, "down": 0.5, "embedding": 0.5, "norm": 1.0}


@pytest.mark.parametrize("name", PRESETS)
def test_every_large_parameter_is_spread_evenly(name):
    """Over 8 devices: only norms, and biases of nothing, are on all of them."""
    model = abstract_qwen2(PRESETS[name])
    _, params = functionalize(model)
    alone = 0
    for path, value in flatten_dict(params, sep=".").items():
        spec = partition_spec(path)
        alone += value.size if spec == P() else 0
        for size, axis in zip(value.shape, spec, strict=False):
            assert axis is None or size % 8 == 0, path
    assert alone == (2 * 28 + 1) * PRESETS[name].hidden_size


def test_adapters_are_spread_as_their_layers_are(tmp_path):
    config = read_config(write_by_hand(tmp_path, {}, config_json()))
    model = add_lora(jax.random.key(0), abstract_qwen2(config), LoRAConfig(targets=r"layers\.(up|down)"))
    specs = {path: partition_spec(path) for path in flatten_dict(functionalize(model)[1], sep=".")}
    assert specs["layers.up.base.kernel"] == P(None, None, "model")
    assert (specs["layers.up.lora_a"], specs["layers.up.lora_b"]) == (P(), P(None, None, "model"))
    assert specs["layers.down.base.kernel"] == P(None, "model", None)
    assert (specs["layers.down.lora_a"], specs["layers.down.lora_b"]) == (P(None, "model", None), P())
    assert specs["layers.attention.query.bias"] == P(None, "model")
