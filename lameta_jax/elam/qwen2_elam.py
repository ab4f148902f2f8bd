"""A Qwen2 model ready to answer prompts in text, from a Hugging Face folder and, after distillation, adapters."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike as DType
from jaxtyping import Float

from lameta_jax.elam.chat import LENGTH_STEP, ChatTokenizer, pad
from lameta_jax.elam.generation import generate
from lameta_jax.elam.lora import LoRAConfig, add_lora, load_adapters, merge_adapters
from lameta_jax.elam.qwen2 import abstract_qwen2
from lameta_jax.elam.qwen2_config import Qwen2Config
from lameta_jax.elam.qwen2_weights import load_qwen2
from lameta_jax.functional import Params, functionalize


@dataclass(frozen=True, kw_only=True)
class AnswerConfig:
    """How prompts are answered."""

    batch_size: int = 8  # prompts answered at a time
    max_prompt_tokens: int = 1024  # with the chat template; a longer prompt is not answered
    max_new_tokens: int = 24  # four percents take at most 13 tokens


@dataclass(frozen=True)
class Qwen2Elam:
    """A causal language model as the translator sees it."""

    apply: Callable[..., Any]  # see `functionalize`
    params: Params
    config: Qwen2Config
    tokenizer: ChatTokenizer
    mean_preference: Float[np.ndarray, " 4"]  # of the data set it was distilled on; the fallback
    answering: AnswerConfig = AnswerConfig()
    name: str = ""  # of the model
    application: str = ""  # that it was distilled for

    @property
    def max_prompt_tokens(self) -> int:
        """Greatest length of a prompt that is answered, with the chat template."""
        room = self.config.max_positions - self.answering.max_new_tokens
        return min(self.answering.max_prompt_tokens, room)

    def answer(self, prompts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> list[str]:
        """Greedy answer to every prompt, as the model wrote it, or "" where the prompt is too long.

        Prompts are sorted by length and padded to multiples of `LENGTH_STEP`. `progress(done, total)` is called
        after every batch.
        """
        limit = self.max_prompt_tokens
        rows = self.tokenizer.prompt_ids(prompts)
        order = sorted((i for i, row in enumerate(rows) if 0 < len(row) <= limit), key=lambda i: len(rows[i]))
        answers = [""] * len(rows)
        size = self.answering.batch_size if len(order) > 1 else 1
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            for index, text in zip(batch, self._answer_batch([rows[i] for i in batch], size), strict=True):
                answers[index] = text
            if progress is not None:
                progress(start + len(batch), len(order))
        return answers

    def log_prob(self, prompts: Sequence[str], answers: Sequence[str]) -> Float[np.ndarray, " prompts"]:
        """log pi(answer | prompt), in nats, summed over the tokens of the answer and the token that ends it."""
        asked, said = self.tokenizer.prompts(prompts), self.tokenizer.answers(answers)
        logps = _log_prob(self.apply, self.params, *asked, said.ids[:, None], said.mask[:, None])
        return np.asarray(logps)[:, 0]

    def _answer_batch(self, rows: list[list[int]], size: int) -> list[str]:
        length = -(-max(map(len, rows)) // LENGTH_STEP) * LENGTH_STEP
        filled = [*rows, *rows[-1:] * (size - len(rows))]  # one shape; a copy ends no later than the others
        tokens = pad(filled, length, left=True)
        ids, mask = map(jnp.asarray, tokens)
        found, counts = generate(
            self.apply, self.config, self.params, ids, mask, self.answering.max_new_tokens
        )
        told = zip(np.asarray(found), np.asarray(counts), strict=True)
        return [self.tokenizer.text(row[:count].tolist()) for row, count in told][: len(rows)]


_log_prob = jax.jit(
    lambda apply, params, *tokens: apply(params, *tokens, method="answer_log_prob"), static_argnums=0
)


def load_qwen2_elam(
    folder: str | Path,
    mean_preference: Sequence[float] | Float[np.ndarray, " 4"],
    *,
    adapters: str | Path | None = None,
    instruction: str = "",
    dtype: DType | None = None,
    answering: AnswerConfig | None = None,
    application: str = "",
) -> Qwen2Elam:
    """Load a Hugging Face folder of a Qwen2 model and, if given, the adapters that distillation left.

    Args:
      folder: with the configuration, the weights and the tokeniser.
      mean_preference: of the application; what a user gets whose answer cannot be read.
      adapters: a file of `save_adapters`; they are merged into the weights.
      instruction: the system's message before every prompt, the one that the model was distilled with.
      dtype: of the weights; by default that of the checkpoint.
      answering: how prompts are answered.
      application: that the model was distilled for.

    Raises:
      WeightsError: a file is missing, damaged or does not fit; one line.
    """
    tokenizer = ChatTokenizer(folder, instruction)
    model = load_qwen2(folder, dtype)
    _, params = functionalize(model)
    if adapters is not None:
        trained, lora = load_adapters(adapters, params)
        params = merge_adapters(params, trained, lora)
    mean = np.asarray(mean_preference, np.float64)
    return Qwen2Elam(
        qwen2_apply(model.config, params["embedding"]["embedding"].dtype),
        params,
        model.config,
        tokenizer,
        mean,
        answering or AnswerConfig(),
        model_name(folder),
        application,
    )


@lru_cache(maxsize=4)
def qwen2_apply(config: Qwen2Config, dtype: DType, lora: LoRAConfig | None = None) -> Callable[..., Any]:
    """`apply` of a model of that size, see `functionalize`, with adapters if `lora` is given.

    It is kept, so that what is compiled for one E-LAM serves all that are made of such a model.
    """
    model = abstract_qwen2(config, dtype)
    if lora is None:
        return functionalize(model)[0]
    return functionalize(nnx.eval_shape(lambda: add_lora(jax.random.key(0), model, lora)))[0]


def model_name(folder: str | Path) -> str:
    """What the model in a folder is called: the folder's name."""
    return Path(folder).resolve().name
