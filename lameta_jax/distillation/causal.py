"""Weighted preference distillation of causal language models through low-rank adapters.

LAMeTA Sec. IV-B, eqs. (31), (32), with answers as text. The reference model is the frozen one without adapters; its
log-probabilities are computed once per (prompt, answer) pair, before training.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from lameta_jax.distillation.losses import Scalar, negative_log_likelihood, weighted_dpo_loss
from lameta_jax.elam.chat import ChatTokenizer
from lameta_jax.elam.lora import join_adapters
from lameta_jax.functional import Params


@dataclass(frozen=True, kw_only=True)
class CausalConfig:
    """The loss, and how its gradient is computed."""

    anchor_weight: float = 0.03  # of the likelihood of the chosen answer, which plain DPO lowers
    label_smoothing: float = 0.0  # share of pairs taken to be the wrong way round, in [0, 1/2)
    gradient_checkpointing: bool = False  # memory for time, see `Qwen2.states`


class TextPairs(NamedTuple):
    """D_IoKD of LAMeTA eq. (26) as tokens; the first answer to a prompt is the chosen one."""

    prompts: Int[Array, "samples prompt"]  # padded on the left
    prompt_mask: Bool[Array, "samples prompt"]
    answers: Int[Array, "samples answers tokens"]  # padded on the right
    answer_mask: Bool[Array, "samples answers tokens"]
    beta: Float[Array, " samples"]  # of (32), see `weighted_beta`


class Batch(NamedTuple):
    """What a step needs of every sample."""

    pairs: TextPairs
    reference_logps: Float[Array, "samples answers"]


class StepMetrics(NamedTuple):
    """What one step looked like."""

    loss: Scalar
    reward_margin: Scalar  # mean implicit reward of chosen minus rejected
    reward_accuracy: Scalar  # share of pairs with a positive margin


def tokenize_pairs(
    tokenizer: ChatTokenizer,
    prompts: Sequence[str],
    chosen: Sequence[str],
    rejected: Sequence[Sequence[str]],
    beta: Float[Array, " samples"],
) -> TextPairs:
    """Pairs as tokens; every prompt has one chosen answer and equally many rejected ones."""
    count = 1 + len(rejected[0])
    texts = [text for first, others in zip(chosen, rejected, strict=True) for text in (first, *others)]
    asked, said = tokenizer.prompts(prompts), tokenizer.answers(texts)
    shape = (len(prompts), count, said.ids.shape[1])
    ids, mask = (jnp.asarray(values.reshape(shape)) for values in said)
    return TextPairs(jnp.asarray(asked.ids), jnp.asarray(asked.mask), ids, mask, beta)


@partial(jax.jit, static_argnames=("apply", "batch_size"))
def reference_log_probs(
    apply: Callable[..., Any], base: Params, pairs: TextPairs, batch_size: int = 8
) -> Float[Array, "samples answers"]:
    """Log-probabilities of all answers under the model without adapters, `batch_size` prompts at a time."""

    def one(pair: TextPairs) -> Array:
        tokens = [value[None] for value in pair[:4]]
        return apply(base, *tokens, method="answer_log_prob")[0]

    return jax.lax.map(one, pairs, batch_size=batch_size)


def preference_batches(
    key: Array, pairs: TextPairs, reference_logps: Float[Array, "samples answers"], batch_size: int
) -> Iterator[Batch]:
    """One epoch: all samples in random order, without the last few that do not fill a batch.

    Raises:
      ValueError: there are fewer samples than `batch_size`.
    """
    count = len(pairs.beta)
    if count < batch_size:
        raise ValueError(f"batch_size {batch_size} is more than the {count} samples")
    order = np.asarray(jax.random.permutation(key, count))
    for start in range(0, count - batch_size + 1, batch_size):
        members = order[start : start + batch_size]
        yield jax.tree.map(lambda value, members=members: value[members], Batch(pairs, reference_logps))


def preference_loss(
    apply: Callable[..., Any], config: CausalConfig, adapters: Params, base: Params, batch: Batch
) -> tuple[Scalar, StepMetrics]:
    """The loss of a batch: (31) with the temperatures (32), plus the weighted likelihood of the chosen answers.

    All answers to a prompt, chosen and rejected, are read in one pass that computes the prompt once.
    """
    *tokens, beta = batch.pairs
    logps = apply(
        join_adapters(base, adapters),
        *tokens,
        gradient_checkpointing=config.gradient_checkpointing,
        method="answer_log_prob",
    )
    rewards = beta[:, None] * (logps - batch.reference_logps)
    margin = rewards[:, :1] - rewards[:, 1:]
    reference = batch.reference_logps
    loss = weighted_dpo_loss(
        logps[:, 0], logps[:, 1:], reference[:, 0], reference[:, 1:], beta, config.label_smoothing
    )
    loss = loss + config.anchor_weight * negative_log_likelihood(logps[:, 0])
    return loss, StepMetrics(loss, margin.mean(), (margin > 0).mean(dtype=margin.dtype))


def make_train_step(
    apply: Callable[..., Any], optimiser: optax.GradientTransformation, config: CausalConfig
) -> Callable[[Params, Params, PyTree, Batch], tuple[Params, PyTree, StepMetrics]]:
    """Compiled `train_step(adapters, base, state, batch) -> (adapters, state, metrics)`.

    Gradients are taken with respect to the adapters alone; `state` starts as `optimiser.init(adapters)`.

    Args:
      apply: of the model with adapters, see `add_lora` and `functionalize`.
      optimiser: of the adapters.
      config: the loss.
    """

    @jax.jit
    def train_step(adapters: Params, base: Params, state: PyTree, batch: Batch):
        loss_fn = jax.value_and_grad(partial(preference_loss, apply, config), has_aux=True)
        (_, metrics), gradient = loss_fn(adapters, base, batch)
        updates, state = optimiser.update(gradient, state, adapters)
        return optax.apply_updates(adapters, updates), state, metrics

    return train_step
