"""The layers of Qwen2: rotary positions, grouped-query attention and SwiGLU; see `Qwen2`."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike as DType
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.elam.qwen2_config import Qwen2Config

_MASKED = -1e30  # score of what is not to be seen, finite so that a row of padding alone stays finite


class Rotation(NamedTuple):
    """Cosine and sine of the angle by which every pair of components is turned."""

    cos: Float[Array, "batch tokens half"]
    sin: Float[Array, "batch tokens half"]


class Cache(NamedTuple):
    """Keys and values of the tokens read so far, of all layers."""

    keys: Float[Array, "layers batch slots groups size"]
    values: Float[Array, "layers batch slots groups size"]


def rotation(positions: Int[Array, "batch tokens"], config: Qwen2Config) -> Rotation:
    """Angles of rotary position embedding: position times `theta^(-2i/size)` for the i-th pair of components."""
    pairs = jnp.arange(config.head_size // 2, dtype=jnp.float32)
    frequency = config.rope_theta ** (-2.0 * pairs / config.head_size)
    angle = positions[..., None].astype(jnp.float32) * frequency[None, None]
    return Rotation(jnp.cos(angle), jnp.sin(angle))


def rotate(
    x: Float[Array, "batch tokens heads size"], turn: Rotation
) -> Float[Array, "batch tokens heads size"]:
    """Turn component i together with component i + size/2, in float32."""
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    cos, sin = turn.cos[:, :, None], turn.sin[:, :, None]
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1).astype(x.dtype)


def attend(
    query: Float[Array, "batch tokens heads size"],
    key: Float[Array, "batch keys groups size"],
    value: Float[Array, "batch keys groups size"],
    mask: Bool[Array, "batch tokens keys"],
) -> Float[Array, "batch tokens heads size"]:
    """Softmax attention in float32; every group of query heads shares one head of keys and values.

    The function of `jax.nn.dot_product_attention`, with the heads of a group below each other in one matrix per group:
    on CPUs this is 6 times as fast, and twice as fast with its gradient.
    """
    batch, tokens, heads, size = query.shape
    groups, share = key.shape[2], heads // key.shape[2]
    rows = query.reshape(batch, tokens, groups, share, size).transpose(0, 2, 3, 1, 4)
    rows = rows.reshape(batch, groups, share * tokens, size)
    key, value = key.transpose(0, 2, 1, 3), value.transpose(0, 2, 1, 3)
    scores = jnp.einsum("bgrd,bgkd->bgrk", rows, key, preferred_element_type=jnp.float32) * size**-0.5
    visible = jnp.tile(mask, (1, share, 1))[:, None]
    weights = jax.nn.softmax(jnp.where(visible, scores, _MASKED), axis=-1).astype(value.dtype)
    rows = jnp.einsum("bgrk,bgkd->bgrd", weights, value).reshape(batch, groups, share, tokens, size)
    return rows.transpose(0, 3, 1, 2, 4).reshape(query.shape)


class Attention(nnx.Module):
    """Causal self-attention whose key and value heads are each shared by a group of query heads."""

    def __init__(self, config: Qwen2Config, *, linear: partial[nnx.Linear]):
        shared = config.num_kv_heads * config.head_size
        self.head_size = config.head_size
        self.query = linear(config.hidden_size, config.hidden_size)
        self.key = linear(config.hidden_size, shared)
        self.value = linear(config.hidden_size, shared)
        self.output = linear(config.hidden_size, config.hidden_size, use_bias=False)

    def __call__(
        self,
        x: Float[Array, "batch tokens hidden"],
        turn: Rotation,
        mask: Bool[Array, "batch tokens keys"],
        cache: Cache | None,
        layer: Int[Array, ""],
        slot: int | Int[Array, ""],
    ) -> tuple[Float[Array, "batch tokens hidden"], Cache | None]:
        """Attend to the tokens themselves or, with a cache, to its slots, after `tokens` from `slot` on are filled."""
        heads = (*x.shape[:2], -1, self.head_size)
        query, key = (rotate(linear(x).reshape(heads), turn) for linear in (self.query, self.key))
        value = self.value(x).reshape(heads)
        if cache is not None:
            place = (layer, 0, slot, 0, 0)
            cache = Cache(
                jax.lax.dynamic_update_slice(cache.keys, key[None], place),
                jax.lax.dynamic_update_slice(cache.values, value[None], place),
            )
            key, value = cache.keys[layer], cache.values[layer]
        return self.output(attend(query, key, value, mask).reshape(x.shape)), cache


class DecoderLayer(nnx.Module):
    """One pre-norm transformer layer: attention, then SwiGLU."""

    def __init__(self, config: Qwen2Config, *, dtype: DType, rngs: nnx.Rngs):
        init = nnx.initializers.normal(0.02)
        linear = partial(nnx.Linear, dtype=dtype, param_dtype=dtype, kernel_init=init, rngs=rngs)
        norm = partial(
            nnx.RMSNorm, epsilon=config.rms_norm_eps, dtype=jnp.float32, param_dtype=dtype, rngs=rngs
        )
        self.attention_norm = norm(config.hidden_size)
        self.attention = Attention(config, linear=linear)
        self.mlp_norm = norm(config.hidden_size)
        self.gate = linear(config.hidden_size, config.intermediate_size, use_bias=False)
        self.up = linear(config.hidden_size, config.intermediate_size, use_bias=False)
        self.down = linear(config.intermediate_size, config.hidden_size, use_bias=False)

    def __call__(self, x, turn: Rotation, mask, cache: Cache | None, layer, slot):
        """As `Attention`; x keeps its type, so sums of many layers are those of transformers."""
        attended, cache = self.attention(
            self.attention_norm(x).astype(x.dtype), turn, mask, cache, layer, slot
        )
        x = x + attended
        normed = self.mlp_norm(x).astype(x.dtype)
        return x + self.down(jax.nn.silu(self.gate(normed)) * self.up(normed)), cache
