"""Prompts in, frozen features out: tokeniser, batching by length and the jitted encoder."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.elam.minilm import EncoderConfig
from lameta_jax.elam.weights import WeightsError, find_minilm, load_encoder, reason
from lameta_jax.functional import functionalize
from lameta_jax.scale.cores import usable_cores

MAX_TOKENS = 256  # longer prompts are cut, as sentence-transformers does for this model
# Lengths that prompts are padded to: one compilation each, and fine where most prompts are.
BUCKETS = (16, 24, 32, 40, 48, 64, 96, 128, MAX_TOKENS)
BATCH = 16  # prompts encoded at a time by each core, which its caches hold; fewer where they are long
BATCH_TOKENS = 1024
_NOT_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

Item = TypeVar("Item")
Result = TypeVar("Result")


class Tokens(NamedTuple):
    """Token ids of one prompt."""

    ids: tuple[int, ...]
    readable: bool  # at least one token is a word, or a part of one, that the vocabulary knows


class Batch(NamedTuple):
    """Prompts of similar length, padded to one shape."""

    places: list[int]  # of the prompts, one for every row that is not padding
    tokens: Int[np.ndarray, "batch tokens"]
    mask: Bool[np.ndarray, "batch tokens"]


class TrunkStates(NamedTuple):
    """Prompts after the layers that no E-LAM changes: what fine-tuning of the layers above starts from."""

    states: Float[Array, "prompts tokens hidden"]
    mask: Bool[Array, "prompts tokens"]
    levels: Float[Array, "prompts levels hidden"]


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
        self.module = load_encoder(found, self.config)
        apply, self.params = functionalize(self.module)
        self._encode = jax.jit(apply)
        self._trunk = jax.jit(partial(apply, method="trunk"), static_argnames="depth")

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

        `progress(done, total)` is called after every batch.
        """
        shape = (len(prompts), self.num_levels, self.config.hidden_size)
        output = np.zeros(shape, dtype=jnp.result_type(float))
        done = 0

        def encode(batch: Batch) -> tuple[list[int], np.ndarray]:
            encoded = self._encode(self.params, jnp.asarray(batch.tokens), jnp.asarray(batch.mask))
            return batch.places, np.asarray(encoded)[: len(batch.places)]

        for places, encoded in on_all_cores(encode, batches(self.tokenize(prompts))):
            output[places] = encoded
            done += len(places)
            if progress is not None:
                progress(done, len(prompts))
        return output

    def trunk(self, tokens: Array | np.ndarray, mask: Array | np.ndarray, depth: int) -> TrunkStates:
        """Token states and levels after the first `depth` layers."""
        mask = jnp.asarray(mask)
        states, levels = self._trunk(self.params, jnp.asarray(tokens), mask, depth=depth)
        return TrunkStates(states, mask, levels)

    def trunk_states(self, prompts: Sequence[str], depth: int, max_tokens: int) -> TrunkStates:
        """Trunk states of a training set, all of one shape: prompts are cut at `max_tokens`."""
        tokens = [item.ids[:max_tokens] for item in self.tokenize(prompts)]
        parts = []
        for start in range(0, len(tokens), BATCH):
            batch = _pad(list(range(start, min(start + BATCH, len(tokens)))), tokens, BATCH, max_tokens)
            count = len(batch.places)
            parts.append(
                TrunkStates(*(value[:count] for value in self.trunk(batch.tokens, batch.mask, depth)))
            )
        return jax.tree.map(lambda *values: jnp.concatenate(values), *parts)


def on_all_cores(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items, one thread for each core that the process may use.

    Batches as small as ours keep a core busy, but lose time where their parts are spread over several. What has not
    begun when the caller stops, or is interrupted, never does.
    """
    wide = jax.config.read("jax_enable_x64")  # a thread of its own would not know of it

    def call(item: Item) -> Result:
        with jax.enable_x64(wide):
            return function(item)

    pool = ThreadPoolExecutor(usable_cores())
    try:
        yield from pool.map(call, items)
    finally:
        pool.shutdown(cancel_futures=True)


def batches(tokens: Sequence[Tokens]) -> Iterator[Batch]:
    """Prompts sorted by length, each batch padded to the next bucket, so that few shapes are compiled.

    `BATCH` at a time, or as many as make `BATCH_TOKENS` (one alone is a batch of one).
    """
    ids = [item.ids for item in tokens]
    # the longest first: what is left for one thread alone at the end is short
    order = sorted(range(len(ids)), key=lambda place: -len(ids[place]))
    start = 0
    while start < len(order):
        bucket = next(size for size in BUCKETS if len(ids[order[start]]) <= size)
        batch_size = min(BATCH, BATCH_TOKENS // bucket) if len(ids) > 1 else 1
        yield _pad(order[start : start + batch_size], ids, batch_size, bucket)
        start += batch_size


def _pad(places: list[int], ids: Sequence[tuple[int, ...]], batch_size: int, length: int) -> Batch:
    tokens = np.zeros((batch_size, length), dtype=np.int32)
    mask = np.zeros((batch_size, length), dtype=bool)
    for row, place in enumerate(places):
        tokens[row, : len(ids[place])] = ids[place]
        mask[row, : len(ids[place])] = True
    return Batch(places, tokens, mask)


def sentence_embeddings(
    levels: Float[np.ndarray, "prompts levels hidden"],
) -> Float[np.ndarray, "prompts hidden"]:
    """Sentence-BERT embeddings: the last level, scaled to length 1."""
    last = levels[:, -1]
    return last / np.maximum(np.linalg.norm(last, axis=1, keepdims=True), 1e-12)
