"""E-LAMs at work: prompts in, answers as text out, each prompt encoded once whoever answers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lameta_jax.elam.model import Distilled, adapted_levels, answer_percents, directions, trunk_depth
from lameta_jax.elam.sentence_encoder import SentenceEncoder, TrunkStates, batches


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
    index_of = {elam.application: index for index, elam in enumerate(elams)}
    for places, ids, mask in batches(tokens):
        trunk = encoder.trunk(ids, mask, trunk_depth(elams[0].name))
        nearest = _nearest(elams, trunk)
        for row, place in enumerate(places):
            application = wanted[place] if wanted is not None else None
            if application is not None:
                nearest[row] = index_of[application]
        for index in sorted(set(nearest[: len(places)].tolist())):
            percents = answer_percents(elams[index], adapted_levels(elams[index], encoder, trunk))
            for row in np.flatnonzero(nearest[: len(places)] == index).tolist():
                text = " ".join(map(str, percents[row])) if tokens[places[row]].readable else ""
                answers[places[row]] = Answer(elams[index].application, text)
    return answers


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
