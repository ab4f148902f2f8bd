"""A causal language model as an E-LAM of one's own: adapters that learn to answer in four whole percents."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from lameta_jax.distillation.causal import causal_log_probs, tokenize_pairs
from lameta_jax.distillation.methods import IOKD, DistillationConfig, TrainerConfig
from lameta_jax.distillation.train import ADAPTERS, PreferenceData, distil
from lameta_jax.elam.causal_files import CausalHeader
from lameta_jax.elam.chat import ChatTokenizer
from lameta_jax.elam.lora import LoRAConfig, add_lora, merge_adapters, split_adapters
from lameta_jax.elam.qwen2 import abstract_qwen2
from lameta_jax.elam.qwen2_elam import Qwen2Elam, load_qwen2_elam, qwen2_apply
from lameta_jax.functional import Params, functionalize
from lameta_jax.intents.corpus import CorpusError, Record, preferences_of, prompts_of
from lameta_jax.intents.preference import format_percents
from lameta_jax.pipeline.distillation import Train, preference_data
from lameta_jax.pipeline.own_elam import RecordSplit, SplitConfig

INSTRUCTION = (
    "Say how much the user weighs capability (quality of the result), information (details kept), latency (speed) "
    "and outage (reliability). Answer with four whole percents in this order, separated by spaces, that sum to 100, "
    "and with nothing else."
)
CAUSAL_TRAINER = TrainerConfig(num_epochs=3, batch_size=8, reference_batch_size=8, adapter_learning_rate=1e-4)
"""Usual for low-rank adapters of pre-trained language models, not tuned: a few hundred prompts are some 200 steps.

A sample is read with its five answers at once, so that 8 of them, with a vocabulary of 150,000, take 0.3 GB of logits.
"""
CAUSAL_LORA = LoRAConfig(rank=16, alpha=32.0, targets=r"layers\..*")
"""All linear layers but embedding and head, which are most of a small model's weights."""


@dataclass(frozen=True, kw_only=True)
class OwnCausalConfig(SplitConfig):
    """How a causal E-LAM is made; the seed is of all that is drawn."""

    method: DistillationConfig = IOKD.with_trainer(CAUSAL_TRAINER)  # its decoder_trainer is not used
    lora: LoRAConfig = CAUSAL_LORA
    gradient_checkpointing: bool = False  # memory for time


class OwnCausal(NamedTuple):
    """A causal E-LAM of one's own, and what it was before distillation."""

    raw: Qwen2Elam
    distilled: Qwen2Elam  # with the adapters merged into the weights, as in use
    adapters: Params


def distil_causal(
    folder: str | Path, split: RecordSplit, config: OwnCausalConfig, train: Train = distil
) -> OwnCausal:
    """Distil the model in a folder for the application of the training records, by adapters.

    The history trains nothing; contrastive answers are taken from its preferences.

    Args:
      folder: a Hugging Face folder of a Qwen2 model.
      train: called once.

    Raises:
      WeightsError: the folder cannot be used.
      CorpusError: a prompt is longer than what the model would answer.
    """
    key_adapters, key_data, key = jax.random.split(jax.random.key(config.seed), 3)
    mean, application = preferences_of(split.training).mean(axis=0), split.training[0].application
    raw = load_qwen2_elam(folder, mean, instruction=INSTRUCTION, application=application)
    _check_lengths(raw, split.training)
    dtype = raw.params["embedding"]["embedding"].dtype
    apply = qwen2_apply(raw.config, dtype, config.lora)
    log_probs = causal_log_probs(apply, gradient_checkpointing=config.gradient_checkpointing)
    _, adapted = functionalize(add_lora(key_adapters, abstract_qwen2(raw.config, dtype), config.lora))
    begin = {ADAPTERS: split_adapters(adapted)[0]}
    data = causal_data(key_data, raw.tokenizer, split, config.method)
    params, _ = train(log_probs, key, begin, raw.params, data, config.method)
    merged = merge_adapters(raw.params, params[ADAPTERS], config.lora)
    return OwnCausal(raw, replace(raw, params=merged), params[ADAPTERS])


def causal_data(
    key: Array, tokenizer: ChatTokenizer, split: RecordSplit, method: DistillationConfig
) -> PreferenceData:
    """D_IoKD (26) of the training records as tokens: the answers are four whole percents as text."""
    training, history = preferences_of(split.training), preferences_of(split.history)
    percents = preference_data(key, None, training, history, method)
    chosen = [format_percents(row) for row in np.asarray(percents.chosen)]
    rejected = [[format_percents(row) for row in rows] for rows in np.asarray(percents.rejected)]
    return tokenize_pairs(tokenizer, prompts_of(split.training), chosen, rejected, percents.preferences)


def header_of(own: OwnCausal, folder: str, model_sha256: str) -> CausalHeader:
    """What the file of the adapters says beside them."""
    return CausalHeader(
        application=own.distilled.application,
        mean_preference=tuple(own.distilled.mean_preference.tolist()),
        instruction=INSTRUCTION,
        model=folder,
        model_sha256=model_sha256,
    )


def _check_lengths(elam: Qwen2Elam, records: Sequence[Record]) -> None:
    """Refuse prompts that would not be answered: all are padded to the longest, which memory may not hold."""
    lengths = map(len, elam.tokenizer.prompt_ids(prompts_of(records)))
    for record, length in zip(records, lengths, strict=True):
        if length > elam.max_prompt_tokens:
            raise CorpusError(
                f"record {record.id!r}: the prompt takes {length} tokens with the instruction, must be at most"
                f" {elam.max_prompt_tokens}"
            )
