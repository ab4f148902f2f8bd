"""Remembered records as text, for language models that read them: LAMeTA eq. (45). Runs on the host."""

import json
from collections.abc import Sequence

import numpy as np

from lameta_jax.intents.memory import Records
from lameta_jax.intents.preference import format_percents, whole_percents

MAX_PROMPT_CHARACTERS = 200  # of a remembered prompt; the rest is cut off
_MARKUP = "<["  # what the control tokens of language models begin with: <|im_end|>, </s>, [INST], [SEP]


def memory_prompt(records: Records, prompts: Sequence[str]) -> str:
    """The records as text to put before a user's prompt, oldest first: (45) for a causal language model.

    Every record is one line: the prompt, cut after `MAX_PROMPT_CHARACTERS`, as a JSON string; the preference in
    whole percents; the reward. Line breaks, invisible characters and the beginnings of control tokens are escaped,
    so a remembered prompt can neither end its line nor pass for anything but a quotation.

    Args:
      prompts: the table that the records refer to.

    Returns:
      The text with an empty line at its end, or "" without records.

    Raises:
      ValueError: a record refers to a prompt that the table does not hold.
    """
    known, lines = np.flatnonzero(records.valid)[::-1], []
    columns = (np.asarray(column)[known] for column in records[:3])
    for index, preference, reward in zip(*columns, strict=True):
        if not 0 <= index < len(prompts):
            raise ValueError(f"prompt {index} of the memory is not in the table of {len(prompts)}")
        answer = format_percents(whole_percents(preference))
        lines.append(f"{_quoted(prompts[int(index)])} -> {answer} (reward {reward:z.2f})\n")
    return "".join(["Earlier requests, answers and rewards, oldest first:\n", *lines, "\n"]) if lines else ""


def _quoted(text: str) -> str:
    """The text, cut, as a JSON string of printable characters without markup."""
    cut = text[:MAX_PROMPT_CHARACTERS] + "…" * (len(text) > MAX_PROMPT_CHARACTERS)
    escaped = (
        f"\\u{ord(character):04x}" if character in _MARKUP
        else character if character.isprintable()
        else json.dumps(character)[1:-1]
        for character in json.dumps(cut, ensure_ascii=False)
    )  # fmt: skip
    return "".join(escaped)
