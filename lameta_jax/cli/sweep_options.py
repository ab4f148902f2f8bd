"""What `lameta sweep` varies, as it is written on the command line."""

import math
from collections.abc import Sequence
from typing import Any

from lameta_jax.cli.common import BadInputError
from lameta_jax.scale.space import LogUniform, Uniform

FORMS = "NAME=VALUE,VALUE,... or NAME=LOW..HIGH or NAME=log:LOW..HIGH"


def read_varied(texts: Sequence[str]) -> dict[str, Any]:
    """Settings by name, as axes of a space: a list of numbers, or a range."""
    varied: dict[str, Any] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name or not values:
            raise BadInputError(f"--vary: {text!r} must be {FORMS}")
        if name in varied:
            raise BadInputError(f"--vary: {name} is given twice")
        varied[name] = _axis(text, values)
    return varied


def _axis(text: str, values: str) -> Any:
    logarithms, bounds = values.startswith("log:"), values.removeprefix("log:")
    low, dots, high = bounds.partition("..")
    if dots:
        return (LogUniform if logarithms else Uniform)(_number(text, low), _number(text, high))
    if logarithms:
        raise BadInputError(f"--vary: {text!r} must have a range LOW..HIGH behind log:")
    return tuple(_number(text, part) for part in values.split(","))


def _number(text: str, part: str) -> float:
    try:
        value = float(part)
    except ValueError:
        value = math.nan
    if math.isnan(value):  # infinity is a value of value_clip
        raise BadInputError(f"--vary: {part!r} in {text!r} must be a number; wanted: {FORMS}")
    return value
