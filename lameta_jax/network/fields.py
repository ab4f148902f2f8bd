"""Checks of single values in a network file; each refusal is one line: place, field, value, rule."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from numbers import Real
from reprlib import Repr
from typing import Any, NoReturn

import numpy as np

from lameta_jax.network.network import NetworkError

# Magnitudes that survive in float32, JAX's default; outside them a positive number would silently become 0.
SMALLEST, LARGEST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxlevel = _short.maxlist = _short.maxdict = 3


@dataclass(frozen=True)
class Rule:
    """What a number must satisfy, in words and as a test."""

    words: str
    holds: Callable[[float], bool]
    whole: bool = False  # counts
    exact_zero: bool = False  # a positive value below SMALLEST may be rounded to 0


POSITIVE = Rule("> 0", lambda x: x > 0)
NOT_NEGATIVE = Rule(">= 0", lambda x: x >= 0)
PROBABILITY = Rule("in [0, 1]", lambda x: 0 <= x <= 1, exact_zero=True)
POSITIVE_SHARE = Rule("in (0, 1]", lambda x: 0 < x <= 1)
COUNT = Rule("a whole number >= 0", lambda x: x >= 0, whole=True)
POSITIVE_COUNT = Rule("a whole number >= 1", lambda x: x >= 1, whole=True)


def shown(value: Any) -> str:
    """A value as it can stand in a one-line message: escaped, and cut if long."""
    try:
        return _short.repr(value)
    except Exception:  # a value whose own repr fails, such as an integer of 5,000 digits
        return f"<{type(value).__name__}>"


def plain(text: str) -> str:
    """A name as it can stand in a one-line message: as it is if short and printable."""
    return text if text.isprintable() and 0 < len(text) <= 200 else shown(text)


def refuse(place: str, words: str) -> NoReturn:
    """Raise the one error that this package raises for a network."""
    raise NetworkError(f"{place}: {words}")


def require_mapping(value: Any, place: str, required: Sequence[str], optional: Sequence[str]) -> Mapping:
    """A mapping with all required keys and no unknown ones."""
    if not isinstance(value, Mapping):
        refuse(place, f"{shown(value)} must be a mapping with the keys {', '.join(required)}")
    for key in value:
        if key not in required and key not in optional:
            refuse(place, f"unknown key {shown(key)}: must be one of {', '.join((*required, *optional))}")
    for key in required:
        if key not in value:
            refuse(place, f"{key} is missing")
    return value


def require_list(value: Any, place: str, field: str) -> list:
    """A list with at least one entry."""
    if not isinstance(value, list | tuple):
        refuse(place, f"{field} = {shown(value)} must be a list")
    if not value:
        refuse(place, f"{field} = [] must not be empty")
    return list(value)


def require_text(value: Any, place: str, field: str) -> str:
    """A printable name; a whole number is taken as its digits."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = shown(value)
    if not isinstance(value, str):
        refuse(place, f"{field} = {shown(value)} must be text")
    if not value.isprintable() or value != value.strip() or not value:
        refuse(place, f"{field} = {shown(value)} must be printable text without spaces around it")
    return value


def require_number(entry: Mapping, field: str, place: str, rule: Rule, unit: str = "") -> float:
    """A finite number that satisfies its rule and can be told from 0 in float32."""
    value = entry[field]
    words = f"{rule.words} ({unit})" if unit else rule.words
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        refuse(place, f"{field} = {shown(value)} must be a number, {words}")
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if not isfinite(number):
        refuse(place, f"{field} = {shown(value)} must be finite, {words}")
    if not rule.holds(number) or (rule.whole and number != int(number)):
        refuse(place, f"{field} = {shown(value)} must be {words}")
    too_small = 0 < abs(number) < SMALLEST and not rule.exact_zero
    if too_small or abs(number) > LARGEST:
        refuse(place, f"{field} = {shown(value)} must be {words} within single precision, 1.2e-38 to 3.4e38")
    return number


def require_one_of(entry: Mapping, fields: tuple[str, str], place: str) -> str:
    """Which of two alternative fields is given; exactly one must be."""
    given = [field for field in fields if field in entry]
    if len(given) != 1:
        count = "both are" if given else "neither is"
        refuse(place, f"{count} given: must be exactly one of {fields[0]}, {fields[1]}")
    return given[0]
