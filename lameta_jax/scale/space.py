"""What a sweep varies, and the runs that this makes: a grid of settings or draws from them, each with every seed.

    space = {"learning_rate": LogUniform(1e-4, 1e-2), "gamma": (0.9, 1.0), "width": Fixed((32, 64))}
    groups = random_runs(space, 100, seeds=range(5), draw_seed=0)

A setting is traced, so that any number of its values share one program, unless it is `Fixed`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np


class SpaceError(ValueError):
    """A space that makes no runs. The message is one line."""


@dataclass(frozen=True)
class Uniform:
    """Numbers drawn evenly between two."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        return float(random.uniform(self.low, self.high))


@dataclass(frozen=True)
class LogUniform:
    """Numbers whose logarithm is drawn evenly; both bounds are > 0."""

    low: float
    high: float

    def draw(self, random: np.random.Generator) -> float:
        return float(np.exp(random.uniform(np.log(self.low), np.log(self.high))))


@dataclass(frozen=True)
class Fixed:
    """Values that are compiled in, such as the sizes of layers: one program for each combination of them."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Choice:
    """Things that training looks up by number, such as networks of one shape: it is given the place of a label."""

    labels: tuple[str, ...]


Axis = Sequence[float] | Uniform | LogUniform | Fixed | Choice
Space = Mapping[str, Axis]


class Group(NamedTuple):
    """Runs that share a program, configuration by configuration, each with all seeds one after the other."""

    fixed: dict[str, Any]
    settings: dict[str, np.ndarray]  # by name, one value per run
    seed: np.ndarray  # one per run
    columns: dict[str, list[Any]]  # what a table says of each run: labels instead of places

    @property
    def size(self) -> int:
        return len(self.seed)


def grid_runs(space: Space, seeds: Sequence[int]) -> list[Group]:
    """Every combination of all values.

    Raises:
      SpaceError: an axis is a distribution or empty, or there is no seed.
    """
    ranges = [name for name, axis in space.items() if isinstance(axis, Uniform | LogUniform)]
    if ranges:
        raise SpaceError(
            f"{ranges[0]}: a grid needs values, not a range; draw the settings at random instead"
        )
    return _grouped(space, _combinations(space), seeds)


def random_runs(space: Space, count: int, seeds: Sequence[int], draw_seed: int) -> list[Group]:
    """`count` configurations for every combination of fixed settings, all others drawn by themselves.

    Lists are drawn from evenly.

    Raises:
      SpaceError: an axis is empty or no range, or there is no configuration or no seed.
    """
    if count < 1:
        raise SpaceError(f"{count} configurations: at least 1 is needed")
    random = np.random.default_rng(draw_seed)

    def draw(axis: Uniform | LogUniform | Sequence[Any]) -> Any:
        if isinstance(axis, Uniform | LogUniform):
            return axis.draw(random)
        return axis[int(random.integers(len(axis)))]

    drawn = {name: axis for name, axis in space.items() if not isinstance(axis, Fixed)}
    axes = {name: _checked(name, axis) for name, axis in drawn.items()}
    found = [
        {**fixed, **{name: draw(axis) for name, axis in axes.items()}}
        for fixed in _combinations({name: axis for name, axis in space.items() if name not in drawn})
        for _ in range(count)
    ]
    return _grouped(space, found, seeds)


def _combinations(space: Space) -> list[dict[str, Any]]:
    axes = [_values(name, axis) for name, axis in space.items()]
    return [dict(zip(space, chosen, strict=True)) for chosen in product(*axes)]


def _grouped(space: Space, configurations: list[dict[str, Any]], seeds: Sequence[int]) -> list[Group]:
    """Configurations sorted by what is compiled in, each repeated for every seed."""
    if not seeds:
        raise SpaceError("no seeds: at least 1 is needed")
    fixed = [name for name, axis in space.items() if isinstance(axis, Fixed)]
    by_program: dict[tuple, list[dict[str, Any]]] = {}
    for one in configurations:
        by_program.setdefault(tuple(one[name] for name in fixed), []).append(one)
    groups = []
    for values, members in by_program.items():
        runs = [one for one in members for _ in seeds]
        columns = {name: [one[name] for one in runs] for name in space}
        settings = {
            name: np.asarray(columns[name] if not isinstance(axis, Choice) else _places(axis, columns[name]))
            for name, axis in space.items()
            if name not in fixed
        }
        seed = np.asarray([seed for _ in members for seed in seeds], np.uint32)
        groups.append(Group(dict(zip(fixed, values, strict=True)), settings, seed, columns))
    return groups


def _values(name: str, axis: Any) -> Sequence[Any]:
    values = axis.values if isinstance(axis, Fixed) else axis.labels if isinstance(axis, Choice) else axis
    if not len(values):
        raise SpaceError(f"{name}: no values")
    return values


def _places(axis: Choice, labels: list[str]) -> list[int]:
    return [axis.labels.index(label) for label in labels]


def _checked(name: str, axis: Axis) -> Uniform | LogUniform | Sequence[Any]:
    """What can be drawn from: a range, or the values of anything else."""
    if not isinstance(axis, Uniform | LogUniform):
        return _values(name, axis)
    if not axis.low < axis.high:
        raise SpaceError(f"{name}: {axis.low} must be less than {axis.high}")
    if isinstance(axis, LogUniform) and axis.low <= 0:
        raise SpaceError(f"{name}: {axis.low} must be > 0 for a range of logarithms")
    return axis
