"""Adaptive dataset construction: what an application's E-LAM is distilled from.

LAMeTA Sec. IV-A, eqs. (21), (23), (25), (26). Samples that the teacher wrote are validated one by one; what does not
pass is counted by reason and left out, never repaired.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from lameta_jax.intents.corpus import CorpusError, Record, decode_json, parse_record
from lameta_jax.intents.preference import angular_distance
from lameta_jax.intents.requests import Request
from lameta_jax.intents.similarity import cosine_similarity
from lameta_jax.intents.teacher import Teacher

MIN_WORDS, MAX_WORDS = 4, 120  # of a prompt; the guideline asks for 12 to 60
MAX_SIMILARITY = 0.97  # prompts whose embeddings are closer than this are one prompt


class SyntheticSamples(NamedTuple):
    """What the teacher wrote for one application."""

    records: tuple[Record, ...]
    rejects: dict[str, int]  # how many were left out, by reason


def synthesise(
    teacher: Teacher, requests: Sequence[Request], known: Collection[str] = frozenset()
) -> SyntheticSamples:
    """Ask the teacher for samples and validate them: LAMeTA eq. (23).

    Whatever an answer says, all that is taken from it are prompts, reasons and preferences of samples; their ids and
    their application are the request's.

    Args:
      teacher: who writes them.
      requests: what it is asked; each line of an answer is one sample.
      known: prompts that there are already.

    Raises:
      TeacherError: the teacher cannot answer.
    """
    records: list[Record] = []
    rejects: Counter[str] = Counter()
    seen = set(known)
    for request in requests:
        for number, fields in enumerate(_json_lines(teacher.ask(request))):
            sample = _validate(fields, request.application, f"{request.id}-{number:02d}")
            if isinstance(sample, str):
                rejects[sample] += 1
            elif sample.prompt in seen:
                rejects["duplicate"] += 1
            else:
                seen.add(sample.prompt)
                records.append(sample)
    return SyntheticSamples(tuple(records), dict(rejects))


def _json_lines(text: str) -> Iterator[object]:
    for line in filter(str.strip, text.split("\n")):
        try:
            yield decode_json(line)
        except ValueError:
            yield None


def _validate(fields: object, application: str, name: str) -> Record | str:
    """The record, or the reason why there is none."""
    if not isinstance(fields, dict) or not isinstance(fields.get("prompt"), str):
        return "schema"
    percents, reasoning = fields.get("preference"), fields.get("reasoning", "")
    if (
        not isinstance(percents, list)
        or [type(percent) in (int, float) for percent in percents] != [True] * 4
    ):
        return "schema"
    if not isinstance(reasoning, str):
        return "schema"
    if not MIN_WORDS <= len(fields["prompt"].split()) <= MAX_WORDS:
        return "length"
    try:
        preference = [percent / 100.0 for percent in percents]
        shape = {"id": name, "application": application, "rationale": reasoning}
        return parse_record({**shape, "prompt": fields["prompt"], "preference": preference}, name)
    except (CorpusError, OverflowError):  # a whole number may be too large for a float
        return "simplex"


def drop_near_duplicates(
    embeddings: Float[np.ndarray, "records size"], known: Float[np.ndarray, "known size"]
) -> np.ndarray:
    """Indices of the records that neither a known nor an earlier kept record equals in meaning (`MAX_SIMILARITY`)."""
    new = ~(cosine_similarity(embeddings, known) > MAX_SIMILARITY).any(axis=1)
    close = cosine_similarity(embeddings, embeddings) > MAX_SIMILARITY
    kept: list[int] = []
    for index in np.flatnonzero(new).tolist():
        if not close[index, kept].any():
            kept.append(index)
    return np.array(kept, dtype=np.int64)


def contrastive_indices(
    preferences: Float[np.ndarray, "samples 4"], history: Float[np.ndarray, "history 4"], count: int
) -> Int[np.ndarray, "samples count"]:
    """For every sample the `count` preferences of the history that are farthest from its own, farthest first.

    Reference: LAMeTA eqs. (24), (25).
    """
    distance = np.asarray(
        angular_distance(jnp.asarray(preferences[:, None, :]), jnp.asarray(history[None, :, :]))
    )
    return np.argsort(-distance, axis=1, kind="stable")[:, :count]


def augmentation_size(target: int, demonstrations: Sequence[Record]) -> int:
    """`N_aug`: samples that the teacher must add to reach the target; none when there are enough real ones."""
    return max(0, target - len(demonstrations))
