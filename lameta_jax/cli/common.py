"""What the commands share: refusals, arguments, output. Light to import: no jax at the top."""

import contextlib
import io
import json
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import tyro

if TYPE_CHECKING:
    from lameta_jax.network.network import Scenario

MAX_LINE = 1000  # characters of a message
MAX_SEED = 2**32 - 1
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class BadInputError(ValueError):
    """Something the user gave cannot be used; exit code 2. The message is one line."""


def one_line(text: str) -> str:
    """Text as it can stand in a one-line message: spaces for line ends, other control characters escaped."""
    text = " ".join(text.split())
    text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return text if len(text) <= MAX_LINE else text[: MAX_LINE - 3] + "..."


def say(message: str) -> None:
    """One line on standard error."""
    with contextlib.suppress(OSError):  # nobody left to tell
        print(f"lameta: {one_line(message)}", file=sys.stderr, flush=True)


def write_json(value: Any, stream: Any = None) -> None:
    """One JSON value on one line, in ASCII and to the letter of the standard: numbers that are not finite are null."""
    print(json.dumps(_finite(value), allow_nan=False), file=stream or sys.stdout)


def write_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text on standard output, all columns but the last padded to their widest entry."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        # Ids may hold letters that the terminal's encoding lacks.
        encoding = sys.stdout.encoding or "utf-8"
        print("  ".join(cells).rstrip().encode(encoding, "backslashreplace").decode(encoding))


def shown_chain(chain: Sequence[str]) -> str:
    """A chain for people."""
    return " -> ".join(chain)


def parse_arguments(config: Any, command: str, arguments: Sequence[str]) -> Any:
    """The arguments of a command as its config; None if they ask for help, which is printed.

    Args:
      config: a dataclass, or a union of dataclasses, one per sub-command.

    Raises:
      BadInputError: what tyro says in a box, in one line.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(config, prog=f"lameta {command}", args=arguments)
    except SystemExit as end:
        if not end.code:
            return None
        raise BadInputError(f"{_box_text(box.getvalue())} (see lameta {command} --help)") from None


@contextlib.contextmanager
def refusing(*errors: type[Exception]) -> Iterator[None]:
    """Turns the library's own refusals, which are one line too, into bad input."""
    try:
        yield
    except errors as error:
        raise BadInputError(str(error)) from error


def check_counts(config: Any, *names: str) -> None:
    """Refuses options that are below 1; None is not given."""
    for name in names:
        value = getattr(config, name)
        if value is not None and value < 1:
            raise BadInputError(f"--{name.replace('_', '-')}: {value} must be at least 1")


def check_output(option: str, path: str) -> None:
    """Refuses a place where no file can be written, before the work that the file is of."""
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or "."):
        raise BadInputError(f"{option}: {path} must be a file in a folder that exists")


def check_seed(seed: int) -> None:
    """Refuses a seed that random keys do not take."""
    if not 0 <= seed <= MAX_SEED:
        raise BadInputError(f"--seed: {seed} must lie between 0 and {MAX_SEED}")


def is_same_file(first: str, second: str) -> bool:
    """Whether both exist and are one file, by whatever names."""
    with contextlib.suppress(OSError, ValueError):  # one of them does not exist
        return os.path.samefile(first, second)
    return False


def read_network(name: str) -> "Scenario":
    """A network file, or a named network where no file has that name; arrays in JAX's current float type."""
    from pathlib import Path

    from lameta_jax.network.files import load_scenario
    from lameta_jax.network.network import NetworkError

    with refusing(NetworkError):
        if not Path(name).suffix and not os.path.lexists(name):  # no file of a known format has that name
            from lameta_jax.network.scenarios import NAMED, load_named

            if name in NAMED:
                return load_named(name)
        return load_scenario(name)


def read_preference(text: str) -> tuple[float, ...]:
    """A preference C,B,L,P: four finite numbers >= 0 that sum to 1 (to 1e-3), taken as they are."""
    from lameta_jax.intents.preference import check_preference

    numbers = []
    for part in text.split(","):
        try:
            numbers.append(float(part))
        except ValueError:
            raise BadInputError(f"--preference: {part!r} must be a number; wanted: C,B,L,P") from None
    with refusing(ValueError):
        return check_preference(numbers, "--preference")


def has_prices(scenario: "Scenario") -> bool:
    """Whether any agent has a price."""
    import numpy as np

    return bool((np.asarray(scenario.network.price) > 0).any())


def read_price_weight(value: float, scenario: "Scenario") -> float:
    """The QoE that a US$ costs, >= 0; says so where it changes nothing."""
    if not (math.isfinite(value) and value >= 0):
        raise BadInputError(f"--price-weight: {value} must be finite and >= 0")
    if value and not has_prices(scenario):
        say(f"no agent of network {scenario.name} has a price, so --price-weight changes nothing")
    return value


def read_chain(text: str, scenario: "Scenario", option: str = "--chain") -> tuple[int, ...]:
    """Agent ids separated by commas (or a JSON list, for ids that hold commas) as indices of agents."""
    index_of = {agent_id: index for index, agent_id in enumerate(scenario.agent_ids)}
    ids = [part.strip() for part in text.split(",")]
    if text.lstrip().startswith("["):
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(text)
            ids = [str(agent_id) for agent_id in given] or [""]
    for agent_id in ids:
        if agent_id not in index_of:
            raise BadInputError(
                f"{option}: {agent_id!r} must be the id of an agent of network {scenario.name}"
            )
    return tuple(index_of[agent_id] for agent_id in ids)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return [_finite(entry) for entry in value] if isinstance(value, list | tuple) else value


def _box_text(box: str) -> str:
    """The words of tyro's error box up to its first rule, without the frame and the help of single options."""
    words: list[str] = []
    for line in _COLOUR.sub("", box).splitlines()[1:]:  # without the title
        content = line.strip("│|").rstrip()
        if words and not content.strip(" ─-"):
            break
        if content.strip(" ─-") and not content.startswith(" " * 8):
            words.append(content)
    return " ".join(" ".join(words).split())
