"""E-LAMs at work: prompts in, answers as text out, each prompt encoded once whoever answers it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lameta_jax.elam.model import Distilled, adapted_levels, answer_percents, directions, trunk_depth
from lameta_jax.elam.sentence_encoder import Batch, SentenceEncoder, TrunkStates, batches

GROUP = 8  # batches whose prompts are routed together


class Answer(NamedTuple):
    """What one prompt was answered, and for which application."""

    application: str
    text: str  # four whole percents, or "" where the prompt has no readable word


def answer_prompts(
    encoder: SentenceEncoder,
    elams: Sequence[Distilled],
    prompts: Sequence[str],
    wanted: Sequence[str | None] | None = None,
) -> list[Answer]:
    """Greedy answers to prompts, in the order given.

    Args:
      encoder: shared by all E-LAMs.
      elams: of one size, at most one per application.
      wanted: the application of every prompt; where it is None, the one whose training prompts it resembles most.
    """
    tokens = encoder.tokenize(prompts)
    answers = [Answer("", "")] * len(prompts)
    for group in _groups(batches(tokens)):
        trunks = [encoder.trunk(batch.tokens, batch.mask, trunk_depth(elams[0].name)) for batch in group]
        rows = [_rows(elams, batch, trunk, wanted) for batch, trunk in zip(group, trunks, strict=True)]
        for index, own, trunk in _regrouped(rows, trunks):
            percents = answer_percents(elams[index], adapted_levels(elams[index], encoder, trunk))
            for place, row in zip(own, percents, strict=False):  # rows beyond the last prompt are padding
                text = " ".join(map(str, row)) if tokens[place].readable else ""
                answers[place] = Answer(elams[index].application, text)
    return answers


def _groups(all_batches: Iterable[Batch]) -> Iterator[list[Batch]]:
    """Batches of one shape, as many as are routed together."""
    for _, alike in groupby(all_batches, key=lambda batch: batch.tokens.shape):
        while group := list(islice(alike, GROUP)):
            yield group


def _rows(
    elams: Sequence[Distilled], batch: Batch, trunk: TrunkStates, wanted: Sequence[str | None] | None
) -> list[tuple[int, int]]:
    """For every prompt of a batch the index of its E-LAM, and its place."""
    nearest = _nearest(elams, trunk)
    if wanted is not None:
        index_of = {elam.application: index for index, elam in enumerate(elams)}
        for row, place in enumerate(batch.places):
            application = wanted[place]
            if application is not None:
                nearest[row] = index_of[application]
    return [(int(index), place) for index, place in zip(nearest, batch.places, strict=False)]


def _regrouped(
    rows: list[list[tuple[int, int]]], trunks: list[TrunkStates]
) -> Iterator[tuple[int, list[int], TrunkStates]]:
    """Batches that one E-LAM answers: its index, the places of the prompts, their trunk.

    Where a group is for several, the rows of each make batches of their own: answering every batch once for each
    would take another pass through the encoder's last layer for nothing.
    """
    indices = {index for batch in rows for index, _ in batch}
    if len(indices) == 1:
        [index] = indices
        for batch, trunk in zip(rows, trunks, strict=True):
            yield index, [place for _, place in batch], trunk
        return
    size = len(trunks[0].mask)
    whole = TrunkStates(*(jnp.concatenate(values) for values in zip(*trunks, strict=True)))
    for index in sorted(indices):
        own = [
            (size * number + row, place)
            for number, batch in enumerate(rows)
            for row, (whose, place) in enumerate(batch)
            if whose == index
        ]
        for start in range(0, len(own), size):
            taken, places = zip(*own[start : start + size], strict=True)
            filled = np.array([*taken, *taken[-1:] * (size - len(taken))])
            yield index, list(places), TrunkStates(*(value[filled] for value in whole))


def _nearest(elams: Sequence[Distilled], trunk: TrunkStates) -> np.ndarray:
    """For each prompt the E-LAM to whose centroid its direction is nearest."""
    scores = []
    for elam in elams:
        seen = directions(trunk.levels, elam.scaling)
        scores.append(seen @ (elam.centroid / max(float(np.linalg.norm(elam.centroid)), 1e-12)))
    return np.argmax(np.stack(scores), axis=0)


@dataclass(frozen=True)
class MiniLMElam:
    """A distilled model together with the encoder it reads through."""

    distilled: Distilled
    encoder: SentenceEncoder

    @property
    def name(self) -> str:
        return self.distilled.name

    @property
    def application(self) -> str:
        return self.distilled.application

    @property
    def mean_preference(self) -> Float[np.ndarray, " 4"]:
        return self.distilled.mean_preference

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Greedy answer to every prompt: four whole percents, or "" where the prompt has no readable word."""
        return [answer.text for answer in answer_prompts(self.encoder, [self.distilled], prompts)]
