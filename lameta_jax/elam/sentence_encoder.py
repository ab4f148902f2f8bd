"""Prompts in, frozen features out: tokeniser, batching by length and the jitted encoder."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lameta_jax.elam.minilm import EncoderConfig
from lameta_jax.elam.weights import WeightsError, find_minilm, load_encoder, reason
from lameta_jax.functional import functionalize

MAX_TOKENS = 256  # longer prompts are cut, as sentence-transformers does for this model
BUCKETS = (16, 32, 48, 64, 128, MAX_TOKENS)  # lengths that prompts are padded to: one compilation each
BATCH = 32  # prompts encoded at a time; fewer where they are long
BATCH_TOKENS = 2048
_NOT_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Tokens(NamedTuple):
    """Token ids of one prompt."""

    ids: tuple[int, ...]
    readable: bool  # at least one token is a word, or a part of one, that the vocabulary knows


class SentenceEncoder:
    """The frozen encoder with its tokeniser."""

    def __init__(self, num_layers: int = 6, folder: str | Path | None = None):
        """Load all-MiniLM-L6-v2, its first `num_layers` layers only.

        Raises:
          WeightsError: the checkpoint is missing or damaged.
        """
        from tokenizers import Tokenizer

        found = find_minilm(folder)
        try:
            self._tokenizer = Tokenizer.from_file(str(found / "tokenizer.json"))
        except Exception as error:  # the tokenisers raise nothing more precise
            raise WeightsError(f"{found / 'tokenizer.json'}: {reason(error)}") from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._not_words = {self._tokenizer.token_to_id(token) for token in _NOT_WORDS}
        self.config = replace(EncoderConfig(), num_layers=num_layers)
        apply, self._params = functionalize(load_encoder(found, self.config))
        self._encode = jax.jit(apply)

    @property
    def num_levels(self) -> int:
        """Levels of the features: the embeddings and every layer."""
        return self.config.num_layers + 1

    def tokenize(self, prompts: Sequence[str]) -> list[Tokens]:
        """Token ids, cut at `MAX_TOKENS`. Lone surrogates, which no tokeniser takes, become question marks."""
        clean = [prompt.encode("utf-8", "replace").decode("utf-8") for prompt in prompts]
        encoded = self._tokenizer.encode_batch(clean)
        return [Tokens(tuple(item.ids), not self._not_words.issuperset(item.ids)) for item in encoded]

    def levels(
        self, prompts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> Float[np.ndarray, "prompts levels hidden"]:
        """Mean token states of every level for every prompt, in the order given.

        Prompts are sorted by length, padded to the next bucket and encoded `BATCH` at a time, or as many as make
        `BATCH_TOKENS` (one alone is a batch of one), so that few shapes are compiled. `progress(done, total)` is
        called after every batch.
        """
        tokens = [item.ids for item in self.tokenize(prompts)]
        shape = (len(tokens), self.num_levels, self.config.hidden_size)
        output = np.zeros(shape, dtype=jnp.result_type(float))
        done = 0
        for bucket in BUCKETS:
            batch_size = min(BATCH, BATCH_TOKENS // bucket) if len(tokens) > 1 else 1
            shorter = max((size for size in BUCKETS if size < bucket), default=0)
            members = [index for index, ids in enumerate(tokens) if shorter < len(ids) <= bucket]
            for start in range(0, len(members), batch_size):
                batch = members[start : start + batch_size]
                output[batch] = self._encode_batch([tokens[index] for index in batch], batch_size, bucket)
                done += len(batch)
                if progress is not None:
                    progress(done, len(tokens))
        return output

    def _encode_batch(self, batch: Sequence[tuple[int, ...]], batch_size: int, length: int) -> np.ndarray:
        ids = np.zeros((batch_size, length), dtype=np.int32)
        mask = np.zeros((batch_size, length), dtype=bool)
        for row, item in enumerate(batch):
            ids[row, : len(item)] = item
            mask[row, : len(item)] = True
        return np.asarray(self._encode(self._params, jnp.asarray(ids), jnp.asarray(mask)))[: len(batch)]


def sentence_embeddings(
    levels: Float[np.ndarray, "prompts levels hidden"],
) -> Float[np.ndarray, "prompts hidden"]:
    """Sentence-BERT embeddings: the last level, scaled to length 1."""
    last = levels[:, -1]
    return last / np.maximum(np.linalg.norm(last, axis=1, keepdims=True), 1e-12)
