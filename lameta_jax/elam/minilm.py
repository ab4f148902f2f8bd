"""MiniLM encoder with a percent decoder: the small language models (E-LAMs) that read intents.

The encoder is BERT (Devlin et al., 2019, arXiv:1810.04805) in the six-layer size of MiniLM (Wang et al., 2020,
arXiv:2002.10957), fine-tuned for sentence similarity. Its weights stay frozen. The decoder turns what the encoder
says about a prompt into a distribution over answers of four whole percents; it is what training changes.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

NUM_PERCENTS = 101  # answer tokens: the whole percents 0 to 100
ANSWER_LENGTH = 4
_MASKED = -1e9  # score of padding, finite so that a row of padding alone stays finite


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Sizes of the encoder; the defaults are those of all-MiniLM-L6-v2."""

    num_layers: int = 6  # transformer layers that are run
    hidden_size: int = 384
    num_heads: int = 12
    intermediate_size: int = 1536
    vocabulary_size: int = 30522
    max_positions: int = 512
    layer_norm_eps: float = 1e-12

    def __post_init__(self):
        if self.hidden_size % self.num_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}"
            )


class SelfAttention(nnx.Module):
    """Multi-head self-attention."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.num_heads = config.num_heads
        self.query = nnx.Linear(size, size, rngs=rngs)
        self.key = nnx.Linear(size, size, rngs=rngs)
        self.value = nnx.Linear(size, size, rngs=rngs)
        self.output = nnx.Linear(size, size, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch tokens hidden"], mask: Bool[Array, "batch tokens"]
    ) -> Float[Array, "batch tokens hidden"]:
        batch, tokens, size = x.shape
        heads = (batch, tokens, self.num_heads, size // self.num_heads)
        # one head after the other in memory: on CPUs, half the time of contracting over interleaved heads
        query, key, value = (
            layer(x).reshape(heads).transpose(0, 2, 1, 3) for layer in (self.query, self.key, self.value)
        )
        scores = (query @ key.transpose(0, 1, 3, 2)) * heads[-1] ** -0.5
        weights = jax.nn.softmax(jnp.where(mask[:, None, None, :], scores, _MASKED), axis=-1)
        return self.output((weights @ value).transpose(0, 2, 1, 3).reshape(x.shape))


class EncoderLayer(nnx.Module):
    """One post-norm transformer layer, as in BERT."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        size, eps = config.hidden_size, config.layer_norm_eps
        self.attention = SelfAttention(config, rngs=rngs)
        self.attention_norm = nnx.LayerNorm(size, epsilon=eps, rngs=rngs)
        self.up = nnx.Linear(size, config.intermediate_size, rngs=rngs)
        self.down = nnx.Linear(config.intermediate_size, size, rngs=rngs)
        self.output_norm = nnx.LayerNorm(size, epsilon=eps, rngs=rngs)

    def __call__(
        self, x: Float[Array, "batch tokens hidden"], mask: Bool[Array, "batch tokens"]
    ) -> Float[Array, "batch tokens hidden"]:
        x = self.attention_norm(x + self.attention(x, mask))
        return self.output_norm(x + self.down(jax.nn.gelu(self.up(x), approximate=False)))


class Encoder(nnx.Module):
    """BERT: word, position and segment embeddings followed by `num_layers` layers."""

    def __init__(self, config: EncoderConfig, *, rngs: nnx.Rngs):
        size = config.hidden_size
        self.word_embedding = nnx.Embed(config.vocabulary_size, size, rngs=rngs)
        self.position_embedding = nnx.Embed(config.max_positions, size, rngs=rngs)
        self.segment_embedding = nnx.Embed(2, size, rngs=rngs)
        self.embedding_norm = nnx.LayerNorm(size, epsilon=config.layer_norm_eps, rngs=rngs)
        self.layers = nnx.List([EncoderLayer(config, rngs=rngs) for _ in range(config.num_layers)])

    def __call__(
        self, tokens: Int[Array, "batch tokens"], mask: Bool[Array, "batch tokens"]
    ) -> Float[Array, "batch levels hidden"]:
        """Mean token state after the embeddings and after every layer (`levels = num_layers + 1`).

        The last level is the sentence embedding of Sentence-BERT before normalisation. The lower ones keep the
        wording that similarity training smooths away, and with it what a prompt says about urgency or care.
        """
        return self.trunk(tokens, mask, len(self.layers))[1]

    def trunk(
        self, tokens: Int[Array, "batch tokens"], mask: Bool[Array, "batch tokens"], depth: int
    ) -> tuple[Float[Array, "batch tokens hidden"], Float[Array, "batch levels hidden"]]:
        """Token states after the first `depth` layers, and the levels up to there."""
        positions = jnp.arange(tokens.shape[1])
        fixed = self.position_embedding(positions) + self.segment_embedding(jnp.zeros_like(positions))
        x = self.embedding_norm(self.word_embedding(tokens) + fixed[None])
        means = [_mean_state(x, mask)]
        for layer in self.layers[:depth]:
            x = layer(x, mask)
            means.append(_mean_state(x, mask))
        return x, jnp.stack(means, axis=1)

    def top(
        self, states: Float[Array, "batch tokens hidden"], mask: Bool[Array, "batch tokens"], depth: int
    ) -> Float[Array, "batch levels hidden"]:
        """The levels above `depth`, from the token states that `trunk` leaves there."""
        means = []
        for layer in self.layers[depth:]:
            states = layer(states, mask)
            means.append(_mean_state(states, mask))
        return jnp.stack(means, axis=1)


def _mean_state(
    x: Float[Array, "batch tokens hidden"], mask: Bool[Array, "batch tokens"]
) -> Float[Array, "batch hidden"]:
    shares = mask / jnp.maximum(mask.sum(axis=1, keepdims=True), 1)
    return jnp.einsum("bt,btd->bd", shares.astype(x.dtype), x)


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Sizes of the percent decoder."""

    num_features: int = 2688  # levels times hidden size of the encoder
    hidden_size: int = 64
    min_width: float = 0.004  # least standard deviation of an answer, as a share of 1
    max_width: float = 0.2  # greatest


class PercentDecoder(nnx.Module):
    """Autoregressive decoder of four whole percents.

    Each percent is drawn from a Gaussian on the grid 0..100 whose centre and width depend on the prompt, on the
    percents already said and on what is left of 100. Neighbouring percents thus share evidence, which a free softmax
    over 101 words would have to learn from a few hundred prompts. Nothing forces the four to sum to 100: an answer
    that does not is a failure, as with any language model.
    """

    def __init__(self, config: DecoderConfig, *, rngs: nnx.Rngs):
        hidden = config.hidden_size
        self.widths = (config.min_width, config.max_width)
        half = nnx.initializers.normal(0.5)
        self.read = nnx.Linear(config.num_features, hidden, kernel_init=half, rngs=rngs)
        self.said = nnx.Linear(ANSWER_LENGTH + 1, hidden, use_bias=False, kernel_init=half, rngs=rngs)
        self.factor = nnx.Param(half(rngs.params(), (ANSWER_LENGTH, hidden)))
        self.output = nnx.Linear(hidden, 2, rngs=rngs)

    def logits(
        self, features: Float[Array, "*#batch features"], answer: Int[Array, "*batch 4"]
    ) -> Float[Array, "*batch 4 percents"]:
        """Log-probability of every percent at each of the four places, given the percents before that place."""
        shares = answer[..., None, :] / 100.0
        before = jnp.tril(jnp.ones((ANSWER_LENGTH, ANSWER_LENGTH), shares.dtype), -1)
        before = before.reshape((1,) * (answer.ndim - 1) + before.shape) * shares
        left = 1.0 - before.sum(axis=-1, keepdims=True)
        said = self.said(jnp.concatenate([before, left], axis=-1))
        factor = self.factor[...].reshape((1,) * (answer.ndim - 1) + self.factor.shape)
        output = self.output(jax.nn.gelu(self.read(features)[..., None, :] + said + factor))
        centre = jnp.maximum(left, 0.0) * jax.nn.sigmoid(output[..., :1])
        width = self.widths[0] + self.widths[1] * jax.nn.sigmoid(output[..., 1:])
        grid = jnp.linspace(0.0, 1.0, NUM_PERCENTS).reshape((1,) * answer.ndim + (NUM_PERCENTS,))
        return jax.nn.log_softmax(-0.5 * jnp.square((grid - centre) / width), axis=-1)

    def log_prob(
        self, features: Float[Array, "*#batch features"], answer: Int[Array, "*batch 4"]
    ) -> Float[Array, "*batch"]:
        """log pi(answer | prompt), in nats, summed over the four percents; features may serve several answers."""
        logits = self.logits(features, answer)
        return jnp.take_along_axis(logits, answer[..., None], axis=-1)[..., 0].sum(axis=-1)

    def generate(self, features: Float[Array, "*batch features"]) -> Int[Array, "*batch 4"]:
        """Greedy answer: the likeliest percent at each place, given those before it."""
        answer = jnp.zeros((*features.shape[:-1], ANSWER_LENGTH), dtype=int)
        for place in range(ANSWER_LENGTH):
            answer = answer.at[..., place].set(self.logits(features, answer)[..., place, :].argmax(axis=-1))
        return answer
