"""Preference vectors: the simplex, the angular distance and the text form that language models write.

LAMeTA Sec. III-C and IV. A preference is `[capability, information loss, latency, outage]`, non-negative, sum 1.
"""

import re
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

NUM_FACTORS = 4
SUM_TOLERANCE = 2  # percents by which an answer may miss 100 and still be read
_ANSWER = re.compile(r"[0-9]{1,3}(?: [0-9]{1,3}){3}", re.ASCII)

EVEN = (0.25, 0.25, 0.25, 0.25)


def angular_distance(
    first: Float[Array, "*#batch 4"], second: Float[Array, "*#batch 4"]
) -> Float[Array, "*#batch"]:
    """Angle between two preference vectors as a share of a half turn: `arccos(cos(s, s')) / pi`.

    Between 0 and 1/2 on the simplex, whose vectors are never more than a right angle apart. Computed as
    `2 atan2(|u - v|, |u + v|)` on the unit vectors, which, unlike arccos, is exact near 0 in float32. The distance
    has a kink where the two are equal; its gradient there is finite, but of no meaning.

    Reference: LAMeTA eq. (24).

    >>> float(angular_distance(jnp.array([1.0, 0, 0, 0]), jnp.array([0, 1.0, 0, 0])))
    0.5
    """
    u = first / jnp.linalg.norm(first, axis=-1, keepdims=True)
    v = second / jnp.linalg.norm(second, axis=-1, keepdims=True)
    apart = jnp.square(u - v).sum(axis=-1)
    equal = apart == 0.0
    length = jnp.where(equal, 0.0, jnp.sqrt(jnp.where(equal, 1.0, apart)))  # sqrt has no gradient at 0
    return 2.0 / jnp.pi * jnp.arctan2(length, jnp.linalg.norm(u + v, axis=-1))


def format_percents(percents: Sequence[int] | np.ndarray) -> str:
    """Text form of an answer: four whole percents, one space between them.

    >>> format_percents([41, 30, 18, 11])
    '41 30 18 11'
    """
    return " ".join(str(int(percent)) for percent in percents)


def parse_answer(text: str) -> tuple[float, ...] | None:
    """Preference written by a language model, or None if it is not exactly four whole percents that sum to 100 ± 2.

    Strict on purpose: an answer that is repaired in silence hides a model that does not work. A sum of 98 to 102 is
    rounding and is scaled to 1.

    >>> parse_answer("41 30 18 11")
    (0.41, 0.3, 0.18, 0.11)
    >>> parse_answer("41, 30, 18, 11") is None
    True
    """
    text = text.strip(" \r\n")
    if not _ANSWER.fullmatch(text):
        return None
    percents = [int(part) for part in text.split(" ")]
    total = sum(percents)
    if max(percents) > 100 or abs(total - 100) > SUM_TOLERANCE:
        return None
    return tuple(percent / total for percent in percents)


def whole_percents(preferences: Float[np.ndarray, "*batch 4"]) -> np.ndarray:
    """Nearest vectors of whole percents that sum to exactly 100 (largest remainders are rounded up).

    >>> whole_percents(np.array([[1 / 3, 1 / 3, 1 / 3, 0.0]])).tolist()
    [[34, 33, 33, 0]]
    """
    scaled = np.asarray(preferences, dtype=np.float64) * 100.0
    whole = np.floor(scaled + 1e-9)
    missing = np.rint(100.0 - whole.sum(axis=-1)).astype(np.int32)
    rank = np.argsort(np.argsort(-(scaled - whole), axis=-1, kind="stable"), axis=-1)
    return (whole + (rank < missing[..., None])).astype(np.int32)


def check_preference(values: Sequence[float | int], place: str, tolerance: float = 1e-3) -> tuple[float, ...]:
    """The values as a preference vector, or a ValueError of one line that starts with `place`."""
    if len(values) != NUM_FACTORS:
        raise ValueError(f"{place}: a preference has 4 numbers (C, B, L, P), not {len(values)}")
    if not all(0 <= value <= 1 + tolerance for value in values):
        shown = ", ".join(f"{value!r:.24}" for value in values)  # a whole number may have thousands of digits
        raise ValueError(f"{place}: preference [{shown}] must lie between 0 and 1")
    if abs(sum(values) - 1.0) > tolerance:
        raise ValueError(f"{place}: preference {list(values)} sums to {sum(values):.6g}, must sum to 1")
    return tuple(float(value) for value in values)
