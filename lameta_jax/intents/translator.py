"""From a prompt to a preference vector, with the fallback of LAMeTA Sec. V-D for answers that cannot be read."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from lameta_jax.intents.preference import parse_answer


@runtime_checkable
class AnsweringModel(Protocol):
    """An E-LAM as the translator sees it."""

    @property
    def mean_preference(self) -> Iterable[float]:
        """Mean preference of the application the model was distilled for."""
        ...

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Answer to each prompt, as text."""
        ...


class Translation(NamedTuple):
    """What a prompt was understood to mean."""

    preference: tuple[float, ...]  # always on the simplex
    answer: str  # raw text of the model
    failed: bool  # the answer could not be read, and the preference is the application's mean


def translate(elam: AnsweringModel, prompts: Sequence[str]) -> list[Translation]:
    """Ask an E-LAM for the preference behind every prompt.

    An answer that is not four whole percents that sum to 100 ± 2 is a failure: it is marked, and the preference
    falls back to the mean vector.
    """
    return [read_answer(answer, elam.mean_preference) for answer in elam.answer(prompts)]


def read_answer(answer: str, mean_preference: Iterable) -> Translation:
    """What one answer means; the mean preference of the application where it cannot be read."""
    preference = parse_answer(answer)
    fallback = tuple(float(share) for share in mean_preference)
    return Translation(preference or fallback, answer, preference is None)
