"""Text for causal language models: the tokeniser and chat template that come with a checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from lameta_jax.elam.weights import WeightsError, reason

LENGTH_STEP = 32  # prompts are padded to a multiple of it, so that few shapes are compiled


class Tokens(NamedTuple):
    """Token ids of several texts; 0 where the mask is False."""

    ids: Int[np.ndarray, "texts tokens"]
    mask: Bool[np.ndarray, "texts tokens"]


class ChatTokenizer:
    """The tokeniser of a Hugging Face folder, which writes prompts as its chat template says."""

    def __init__(self, folder: str | Path, instruction: str = ""):
        """Load the tokeniser; `instruction`, if any, is put before every prompt as the system's message.

        Raises:
          WeightsError: there is none in the folder, it cannot be read, or it has no chat template.
        """
        from transformers import PreTrainedTokenizerFast

        file = Path(folder) / "tokenizer.json"
        if not file.is_file():
            raise WeightsError(f"{folder}: no {file.name}")
        try:  # not AutoTokenizer, which replaces parts of the file by those it knows for the type of the model
            self._tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        except Exception as error:  # the tokenisers raise nothing more precise
            raise WeightsError(f"{file}: {reason(error)}") from None
        if not self._tokenizer.chat_template:
            raise WeightsError(f"{folder}: the tokeniser has no chat template")
        if self._tokenizer.eos_token_id is None:
            raise WeightsError(f"{folder}: the tokeniser has no token that ends an answer")
        self._folder, self._instruction = Path(folder), instruction

    def prompt_ids(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt in the chat template, up to where the answer begins.

        Lone surrogates, which no tokeniser takes, become question marks.

        Raises:
          WeightsError: the template refuses the conversation, such as one with a system's message.
        """
        return [self._ids(self._conversation(prompt)) for prompt in prompts]

    def prompts(self, prompts: Sequence[str]) -> Tokens:
        """Prompts in the chat template, padded on the left to a multiple of `LENGTH_STEP`."""
        rows = self.prompt_ids(prompts)
        longest = max(map(len, rows), default=1)
        return pad(rows, -(-longest // LENGTH_STEP) * LENGTH_STEP, left=True)

    def answers(self, answers: Sequence[str]) -> Tokens:
        """Answers with the token that ends them, padded on the right."""
        rows = [[*self._ids(_clean(answer)), self._tokenizer.eos_token_id] for answer in answers]
        return pad(rows, max(map(len, rows), default=1), left=False)

    def text(self, ids: Sequence[int]) -> str:
        """What the tokens say, without those that are not words, such as the end of the answer."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def _ids(self, text: str) -> list[int]:
        # verbose would print where a text is too long for the model, which callers see by themselves
        return self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]

    def _conversation(self, prompt: str) -> str:
        system = [{"role": "system", "content": self._instruction}] if self._instruction else []
        messages = [*system, {"role": "user", "content": _clean(prompt)}]
        try:
            return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template may raise whatever it likes
            raise WeightsError(f"{self._folder}: the chat template fails ({reason(error)})") from None


def pad(rows: Sequence[Sequence[int]], length: int, *, left: bool) -> Tokens:
    """Rows of token ids as one array of that length, padded on the left or on the right."""
    ids, mask = np.zeros((len(rows), length), np.int32), np.zeros((len(rows), length), bool)
    for row, tokens in enumerate(rows):
        place = slice(length - len(tokens), length) if left else slice(len(tokens))
        ids[row, place] = tokens
        mask[row, place] = True
    return Tokens(ids, mask)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
