"""What `lameta distill` must know of a kind of E-LAM: what it depends on, and how one is made."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lameta_jax.distillation.metrics import TranslationError
from lameta_jax.pipeline.distillation import Train
from lameta_jax.pipeline.own_elam import RecordSplit


class Made(NamedTuple):
    """A distilled E-LAM."""

    save: Callable[[Path, dict[str, str]], None]  # writes it, with notes on how it was made
    errors: dict[str, TranslationError]
    """On the records held out, by name; empty without any."""


class Plan(NamedTuple):
    """How an E-LAM of one kind is made."""

    name: str  # of the E-LAM, as `lameta intent` shows it
    purpose: dict[str, str]
    """Options and inputs that the result depends on, by the names that a refusal shows."""
    reads: tuple[Path, ...]  # files that must not be written to
    epochs: int  # of the last training
    trainings: dict[str, bool]  # by what they are called, in order: whether they learn from pairs of answers
    make: Callable[[RecordSplit, Train], Made]
