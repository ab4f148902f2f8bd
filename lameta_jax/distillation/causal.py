"""Causal language models with low-rank adapters, as the trainer sees a model: answers are text.

LAMeTA Sec. IV-B. The trained parameters are the adapters, the frozen ones the model without them. Adapters start where
the model is the frozen one, so the trainer's reference model, the one that training starts from, is it too.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from lameta_jax.distillation.train import ADAPTERS, LogProbs, PreferenceData
from lameta_jax.elam.chat import ChatTokenizer
from lameta_jax.elam.lora import join_adapters
from lameta_jax.functional import Params

PADDING = -1  # what follows the last token of an answer; 0 is a token of many vocabularies


class CausalInputs(NamedTuple):
    """Prompts as tokens."""

    prompts: Int[Array, "samples prompt"]  # padded on the left
    prompt_mask: Bool[Array, "samples prompt"]


def tokenize_pairs(
    tokenizer: ChatTokenizer,
    prompts: Sequence[str],
    chosen: Sequence[str],
    rejected: Sequence[Sequence[str]],
    preferences: Float[Array, "samples 4"],
) -> PreferenceData:
    """D_IoKD of LAMeTA eq. (26) as tokens; answers are padded on the right with `PADDING`.

    Args:
      tokenizer: of the model.
      prompts: at least one.
      chosen: the answer to learn, one per prompt.
      rejected: contrastive answers, equally many per prompt.
      preferences: what the chosen answers say.

    Raises:
      ValueError: the lengths differ.
    """
    counts = {len(others) for others in rejected}
    if {len(chosen), len(rejected), len(preferences)} != {len(prompts)} or len(counts) != 1:
        raise ValueError(
            "every prompt needs a chosen answer, a preference and equally many rejected answers; there are "
            f"{len(prompts)} prompts, {len(chosen)} chosen answers, {len(preferences)} preferences, and rejected "
            f"answers to {len(rejected)} prompts, {sorted(counts)} to each"
        )
    texts = [text for first, others in zip(chosen, rejected, strict=True) for text in (first, *others)]
    asked, said = tokenizer.prompts(prompts), tokenizer.answers(texts)
    answers = jnp.where(said.mask, said.ids, PADDING).reshape(len(prompts), 1 + counts.pop(), -1)
    inputs = CausalInputs(jnp.asarray(asked.ids), jnp.asarray(asked.mask))
    return PreferenceData(inputs, preferences, answers[:, 0], answers[:, 1:])


@lru_cache(maxsize=4)
def causal_log_probs(apply: Callable[..., Any], *, gradient_checkpointing: bool = False) -> LogProbs:
    """`log_probs(params, frozen, inputs, answers)` of a model with adapters; kept, so that training compiles once.

    `params["adapters"]` and `frozen` are the parts of `split_adapters`, `inputs` are `CausalInputs`, and answers end
    where `PADDING` begins. All answers to a prompt, chosen and rejected, are read in one pass that computes the prompt
    once.

    Args:
      apply: of the model with adapters, see `add_lora` and `functionalize`.
      gradient_checkpointing: memory for time, see `Qwen2.states`.
    """

    def log_probs(
        params: PyTree, frozen: Params, inputs: CausalInputs, answers: Int[Array, "samples answers tokens"]
    ) -> Float[Array, "samples answers"]:
        mask = answers != PADDING
        return apply(
            join_adapters(frozen, params[ADAPTERS]),
            *inputs,
            jnp.where(mask, answers, 0),
            mask,
            gradient_checkpointing=gradient_checkpointing,
            method="answer_log_prob",
        )

    return log_probs
