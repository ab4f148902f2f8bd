"""Transcripts: every exchange with a teacher, one JSON object a line.

A transcript that is being recorded belongs to one process, is on the disk after every exchange, and survives a crash
in the middle of a line.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lameta_jax.intents.corpus import decode_json
from lameta_jax.intents.requests import Message, Request

_STRINGS = ("id", "kind", "application", "response")


class TeacherError(RuntimeError):
    """The teacher cannot answer; the message is one line."""


class Exchange(NamedTuple):
    """One request to the teacher and its raw answer."""

    request: Request
    response: str


def format_exchange(exchange: Exchange) -> str:
    """The exchange as one line of JSON."""
    request = exchange.request
    fields = {"id": request.id, "kind": request.kind, "application": request.application}
    messages = [message._asdict() for message in request.messages]
    # ASCII, because answers may hold what no file encoding takes
    return json.dumps({**request.details, **fields, "messages": messages, "response": exchange.response})


def parse_exchange(line: str, place: str) -> Exchange:
    """Exchange from one line of a transcript; fields that only describe it become the request's details.

    Raises:
      TeacherError: naming `place`, if the line is not an exchange.
    """
    try:
        fields = decode_json(line)
    except ValueError as error:
        raise TeacherError(f"{place}: not a recorded exchange: not JSON ({error})") from None
    if not isinstance(fields, dict):
        raise TeacherError(f"{place}: not a recorded exchange: expected a JSON object")
    for name in _STRINGS:
        if not isinstance(fields.get(name), str):
            raise TeacherError(f"{place}: not a recorded exchange: field {name!r} must be a string")
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages or not all(map(_is_message, messages)):
        rule = "must be a list of messages, each with the strings 'role' and 'content'"
        raise TeacherError(f"{place}: not a recorded exchange: field 'messages' {rule}")
    request = Request(
        id=fields["id"],
        kind=fields["kind"],
        application=fields["application"],
        messages=tuple(Message(message["role"], message["content"]) for message in messages),
        details={name: value for name, value in fields.items() if name not in {*_STRINGS, "messages"}},
    )
    return Exchange(request, fields["response"])


def _is_message(message: Any) -> bool:
    return isinstance(message, dict) and all(isinstance(message.get(name), str) for name in Message._fields)


def read_exchanges(path: str | Path) -> Iterator[Exchange]:
    """The exchanges of a transcript, in order.

    Raises:
      TeacherError: the file cannot be read, or a line is not an exchange.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise TeacherError(f"{path}: transcript cannot be read ({error})") from None
    for number, line in enumerate(text.split("\n"), start=1):  # text may hold other line separators
        if line.strip():
            yield parse_exchange(line, f"{path}:{number}")


class Transcript:
    """A transcript open for appending, by this process alone."""

    def __init__(self, path: str | Path):
        """Open or start a transcript. A last line that a crash cut short goes to `<path>.torn`.

        Raises:
          TeacherError: the file cannot be written, another process writes it, or a whole line is not an exchange.
        """
        self.path = Path(path)
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except (OSError, ValueError) as error:
            raise TeacherError(f"{path}: transcript cannot be written ({_why(error)})") from None
        try:
            self._lock()
            self.num_torn = self._set_torn_line_aside()  # 0 or 1
            self._responses = {_key(x.request): x for x in read_exchanges(self.path)}
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise TeacherError(f"{path}: transcript cannot be written ({_why(error)})") from None
            raise

    def close(self) -> None:
        """Give the file free; closing twice is no error."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "Transcript":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def exchanges(self) -> list[Exchange]:
        """All exchanges so far, in order of recording."""
        return list(self._responses.values())

    def find(self, request: Request) -> str | None:
        """The answer recorded for exactly this request, if there is one.

        Raises:
          TeacherError: the transcript is closed; no model should be asked what cannot be recorded.
        """
        if self._file < 0:
            raise TeacherError(f"{self.path}: this transcript is closed")
        known = self._responses.get(_key(request))
        return None if known is None else known.response

    def append(self, exchange: Exchange) -> None:
        """Add an exchange; it is on the disk when this returns.

        Raises:
          TeacherError: it cannot be written; the transcript is as it was.
        """
        size = os.fstat(self._file).st_size
        try:
            self._write(format_exchange(exchange).encode("ascii") + b"\n")
        except BaseException as error:  # an interruption too must leave whole lines only
            os.ftruncate(self._file, size)
            if isinstance(error, OSError):
                raise TeacherError(f"{self.path}: transcript cannot be written ({_why(error)})") from None
            raise
        self._responses[_key(exchange.request)] = exchange

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._file, data) :]
        os.fsync(self._file)

    def _lock(self) -> None:
        """A lock that the system lifts when the process ends, however it ends."""
        try:
            import fcntl
        except ImportError:
            raise TeacherError(
                f"{self.path}: recording needs file locks, which this system does not have"
            ) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TeacherError(f"{self.path}: another process is recording into this transcript") from None

    def _set_torn_line_aside(self) -> int:
        whole, newline, rest = self.path.read_bytes().rpartition(b"\n")
        if not rest:
            return 0
        try:
            parse_exchange(rest.decode("utf-8"), str(self.path))
        except (TeacherError, ValueError):
            with Path(f"{self.path}.torn").open("ab") as aside:
                aside.write(rest + b"\n")
                aside.flush()
                os.fsync(aside.fileno())
            os.ftruncate(self._file, len(whole + newline))
            os.fsync(self._file)
            return 1
        self._write(b"\n")  # all of it was written but its end
        return 0


def _key(request: Request) -> tuple:
    return request.id, request.kind, request.application, request.messages


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
