"""The large language model (C-LAM) that teaches, behind one small protocol.

`RecordedTeacher` replays a transcript, so that everything runs without a network and gives the same bits every time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from lameta_jax.intents.corpus import corpus_folder, decode_json


class TeacherError(RuntimeError):
    """The teacher cannot answer; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request to the teacher and its raw answer."""

    id: str
    kind: str  # cot, augment, translate or compose
    application: str
    response: str


@runtime_checkable
class Teacher(Protocol):
    """What the rest of the package asks of a large language model."""

    def ask(self, request_id: str) -> str:
        """Raw answer to the request of that id."""
        ...

    def requests(self, kind: str, application: str) -> Iterable[str]:
        """Ids of the requests of one kind that belong to an application."""
        ...


class RecordedTeacher:
    """Replays the exchanges of a JSON Lines transcript; of several exchanges of one id the last counts."""

    def __init__(self, path: str | Path | None = None):
        """Read a transcript; without a path, the one that the package ships.

        Raises:
          TeacherError: the file cannot be read, or a line is not an exchange.
        """
        self._path = Path(path) if path is not None else corpus_folder() / "clam" / "exchanges.jsonl"
        self._exchanges = {exchange.id: exchange for exchange in _read_exchanges(self._path)}

    def ask(self, request_id: str) -> str:
        """Recorded answer to a request; a TeacherError says what to record if there is none."""
        exchange = self._exchanges.get(request_id)
        if exchange is None:
            raise TeacherError(
                f"{self._path.name} has no exchange {request_id!r}: record it with a live teacher"
            )
        return exchange.response

    def requests(self, kind: str, application: str) -> list[str]:
        """Ids of the recorded requests of one kind and application, in order of recording."""
        return [
            exchange.id
            for exchange in self._exchanges.values()
            if exchange.kind == kind and exchange.application == application
        ]


def _read_exchanges(path: Path) -> Iterator[Exchange]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parse_exchange(line, f"{path}:{number}")
    except (OSError, ValueError) as error:
        raise TeacherError(f"{path}: transcript cannot be read ({error})") from None


def _parse_exchange(line: str, place: str) -> Exchange:
    try:
        fields = decode_json(line)
    except ValueError as error:
        raise TeacherError(f"{place}: not a recorded exchange: not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{place}: not a recorded exchange: expected a JSON object")
    for name in Exchange.__dataclass_fields__:
        if not isinstance(fields.get(name), str):
            raise TeacherError(f"{place}: not a recorded exchange: field {name!r} must be a string")
    return Exchange(**{name: fields[name] for name in Exchange.__dataclass_fields__})
