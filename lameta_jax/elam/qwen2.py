"""Qwen2 causal language model in flax.nnx, used functionally.

Qwen Team, Qwen2 Technical Report, 2024, arXiv:2407.10671. A pre-norm decoder with grouped-query attention (Ainslie et
al., 2023, arXiv:2305.13245), rotary position embedding (Su et al., 2021, arXiv:2104.09864), RMS normalisation and
SwiGLU. The weights of all layers are stacked along a first axis and the layers are run by one `scan`, so that the
program, and the time to compile it, does not grow with their number.

Parameters may be float32 or bfloat16; normalisation, softmax and log-probabilities are float32 either way.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike as DType
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.elam.qwen2_config import Qwen2Config
from lameta_jax.elam.qwen2_layers import Cache, DecoderLayer, rotation
from lameta_jax.functional import functionalize


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
