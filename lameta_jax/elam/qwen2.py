"""Qwen2 causal language model in flax.nnx, used functionally.

Qwen Team, Qwen2 Technical Report, 2024, arXiv:2407.10671. A pre-norm decoder with grouped-query attention (Ainslie et
al., 2023, arXiv:2305.13245), rotary position embedding (Su et al., 2021, arXiv:2104.09864), RMS normalisation and
SwiGLU. The weights of all layers are stacked along a first axis and the layers are run by one `scan`, so that the
program, and the time to compile it, does not grow with their number.

Parameters may be float32 or bfloat16; normalisation, softmax and log-probabilities are float32 either way.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike as DType
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.elam.qwen2_config import Qwen2Config
from lameta_jax.functional import functionalize

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


def _stacked_layers(config: Qwen2Config, dtype: DType, rngs: nnx.Rngs) -> DecoderLayer:
    """A layer whose parameters are those of all layers, along a first axis."""

    def init(key: Array):
        return functionalize(DecoderLayer(config, dtype=dtype, rngs=nnx.Rngs(key)))[1]

    layers = nnx.eval_shape(lambda: DecoderLayer(config, dtype=dtype, rngs=nnx.Rngs(0)))
    nnx.update(layers, jax.vmap(init)(jax.random.split(rngs.params(), config.num_layers)))
    return layers


class Qwen2(nnx.Module):
    """The language model; see `functionalize` for how to use it."""

    def __init__(self, config: Qwen2Config, *, dtype: DType = jnp.float32, rngs: nnx.Rngs):
        embed = partial(
            nnx.Embed,
            config.vocabulary_size,
            config.hidden_size,
            dtype=dtype,
            param_dtype=dtype,
            embedding_init=nnx.initializers.normal(0.02),
            rngs=rngs,
        )
        self.config = config
        self.embedding = embed()
        self.layers = _stacked_layers(config, dtype, rngs)
        self.norm = nnx.RMSNorm(
            config.hidden_size,
            epsilon=config.rms_norm_eps,
            dtype=jnp.float32,
            param_dtype=dtype,
            rngs=rngs,
        )
        if not config.tie_embeddings:
            self.head = embed()

    def states(
        self,
        tokens: Int[Array, "batch tokens"],
        positions: Int[Array, "batch tokens"],
        mask: Bool[Array, "batch tokens keys"],
        *,
        cache: Cache | None = None,
        slot: int | Int[Array, ""] = 0,
        gradient_checkpointing: bool = False,
    ) -> tuple[Float[Array, "batch tokens hidden"], Cache | None]:
        """What the last layer says about every token, before normalisation, and the cache with these tokens.

        Args:
          tokens: the tokens to read.
          positions: their places in the text, which need not be those in the array.
          mask: which keys a token attends to: those of `tokens`, or with a cache those of its slots.
          cache: of the tokens before; `tokens` go into its slots from `slot` on.
          slot: see `cache`.
          gradient_checkpointing: in a gradient, compute every layer a second time instead of keeping what is
            inside: memory for time.
        """
        turn = rotation(positions, self.config)
        layer_fn, stacked = functionalize(self.layers)

        def run(carry, layer):
            params, index = layer
            x, cache = carry
            return layer_fn(params, x, turn, mask, cache, index, slot), None

        if gradient_checkpointing:
            run = jax.checkpoint(run, prevent_cse=False)
        indices = jnp.arange(self.config.num_layers, dtype=jnp.int32)
        carry, _ = jax.lax.scan(run, (self.embedding(tokens), cache), (stacked, indices))
        return carry

    def logits(self, states: Float[Array, "*batch hidden"]) -> Float[Array, "*batch vocabulary"]:
        """Logits of the next token, in float32."""
        head = self.embedding if self.config.tie_embeddings else self.head
        table = head.embedding[...]
        normed = self.norm(states).astype(table.dtype)
        return jnp.einsum("...h,vh->...v", normed, table, preferred_element_type=jnp.float32)

    def __call__(
        self, tokens: Int[Array, "batch tokens"], mask: Bool[Array, "batch tokens"]
    ) -> Float[Array, "batch tokens vocabulary"]:
        """Logits after every token; `mask` is False at padding, which may be on the left."""
        states, _ = self.states(tokens, token_positions(mask), causal_mask(mask))
        return self.logits(states)

    def answer_log_prob(
        self,
        prompts: Int[Array, "batch prompt"],
        prompt_mask: Bool[Array, "batch prompt"],
        answers: Int[Array, "batch answers tokens"],
        answer_mask: Bool[Array, "batch answers tokens"],
        *,
        gradient_checkpointing: bool = False,
    ) -> Float[Array, "batch answers"]:
        """log pi(answer | prompt), in nats, summed over the tokens of each answer to each prompt.

        The prompt and all its answers are read as one sequence in which an answer sees the prompt and itself, so
        that a prompt is computed once for all its answers; logits are computed for the tokens of answers alone.

        Args:
          prompts: padded on the left, where `prompt_mask` is False.
          prompt_mask: see `prompts`.
          answers: padded on the right, where `answer_mask` is False.
          answer_mask: see `answers`.
          gradient_checkpointing: see `states`.
        """
        batch, count, length = answers.shape
        read = answers[..., :-1].reshape(batch, count * (length - 1))  # nothing follows the last token
        tokens = jnp.concatenate([prompts, read], axis=1)
        positions, mask = _fan(prompt_mask, count, length - 1)
        states, _ = self.states(tokens, positions, mask, gradient_checkpointing=gradient_checkpointing)
        logits = self.logits(states[:, prompts.shape[1] - 1 :])
        total = jax.nn.logsumexp(logits, axis=-1)
        first = jnp.take_along_axis(logits[:, 0], answers[..., 0], axis=-1) - total[:, :1]
        logits = logits[:, 1:].reshape(batch, count, length - 1, logits.shape[-1])
        later = jnp.take_along_axis(logits, answers[..., 1:, None], axis=-1)[..., 0]
        later = later - total[:, 1:].reshape(later.shape)
        logps = jnp.concatenate([first[..., None], later], axis=-1)
        return jnp.where(answer_mask, logps, 0.0).sum(axis=-1)


def token_positions(mask: Bool[Array, "batch tokens"]) -> Int[Array, "batch tokens"]:
    """Place of every token in its text, not counting padding; 0 for padding on the left."""
    return jnp.maximum(jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, 0)


def causal_mask(mask: Bool[Array, "batch tokens"]) -> Bool[Array, "batch tokens tokens"]:
    """Every token attends to itself and to those before it that are not padding."""
    earlier = jnp.tril(jnp.ones((mask.shape[1], mask.shape[1]), bool))
    return earlier[None] & mask[:, None, :]


def _fan(
    prompt_mask: Bool[Array, "batch prompt"], count: int, length: int
) -> tuple[Int[Array, "batch all"], Bool[Array, "batch all all"]]:
    """Positions and mask of a prompt followed by `count` answers of `length` tokens that do not see each other."""
    batch, prompt = prompt_mask.shape
    answer = jnp.tile(jnp.arange(length, dtype=jnp.int32), count)
    answers = prompt_mask.sum(axis=1, dtype=jnp.int32)[:, None] + answer[None]
    positions = jnp.concatenate([token_positions(prompt_mask), answers], axis=1)
    owner = jnp.concatenate([jnp.full(prompt, -1), jnp.repeat(jnp.arange(count), length)])
    own = (owner[:, None] == owner[None]) | (owner[None] == -1)
    readable = jnp.concatenate([prompt_mask, jnp.ones((batch, count * length), bool)], axis=1)
    return positions, causal_mask(readable) & own[None]


def new_qwen2(key: Array, config: Qwen2Config, dtype: DType = jnp.float32) -> Qwen2:
    """A model with random weights, drawn in one compiled program."""

    @jax.jit
    def draw(key):
        return functionalize(Qwen2(config, dtype=dtype, rngs=nnx.Rngs(key)))[1]

    model = abstract_qwen2(config, dtype)
    nnx.update(model, draw(key))
    return model


def abstract_qwen2(config: Qwen2Config, dtype: DType = jnp.float32) -> Qwen2:
    """The model with shapes in place of weights."""
    return nnx.eval_shape(lambda: Qwen2(config, dtype=dtype, rngs=nnx.Rngs(0)))
