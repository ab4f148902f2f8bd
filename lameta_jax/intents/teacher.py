"""The large language model (C-LAM) that teaches, behind one small protocol.

Three implementations: `RecordedTeacher` replays a transcript, so that everything runs without a network and gives the
same bits every time; `http_teacher.HttpTeacher` asks an OpenAI-compatible endpoint and `local_teacher.LocalTeacher` a
model on this machine. The last two record a transcript, which the first can replay.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from lameta_jax.intents.corpus import corpus_folder
from lameta_jax.intents.requests import Message, Request
from lameta_jax.intents.transcript import Exchange, TeacherError, Transcript, read_exchanges


@runtime_checkable
class Teacher(Protocol):
    """What the rest of the package asks of a large language model."""

    def ask(self, request: Request) -> str:
        """Raw answer to a request."""
        ...


class RecordedTeacher:
    """Replays the exchanges of a transcript; of several exchanges of the same request the last counts."""

    def __init__(self, path: str | Path | None = None):
        """Read a transcript; without a path, the one that the package ships.

        Raises:
          TeacherError: the file cannot be read, or a line is not an exchange.
        """
        self._path = Path(path) if path is not None else corpus_folder() / "clam" / "exchanges.jsonl"
        self._exchanges: dict[str, dict[tuple[Message, ...], Exchange]] = {}
        for exchange in read_exchanges(self._path):
            self._exchanges.setdefault(exchange.request.id, {})[exchange.request.messages] = exchange

    def ask(self, request: Request) -> str:
        """Recorded answer to a request.

        Raises:
          TeacherError: there is none, or only to other messages; it says what to record and how.
        """
        exchange = self._of(request.id).get(request.messages)
        if exchange is None:
            raise TeacherError(
                f"{self._path.name} has exchange {request.id!r} for other messages than those asked now "
                f"({_difference(request, self.recorded(request.id).request)}): ask as it was recorded, or record it "
                "again with a live teacher"
            )
        return exchange.response

    def requests(self, kind: str, application: str) -> tuple[Request, ...]:
        """The recorded requests of one kind and application, in order of recording."""
        recorded = [self.recorded(name).request for name in self._exchanges]
        return tuple(x for x in recorded if x.kind == kind and x.application == application)

    def recorded(self, request_id: str) -> Exchange:
        """The last exchange of that id, whatever was asked.

        Raises:
          TeacherError: there is none; it says what to record and how.
        """
        return list(self._of(request_id).values())[-1]

    def _of(self, request_id: str) -> dict[tuple[Message, ...], Exchange]:
        if request_id not in self._exchanges:
            raise TeacherError(
                f"{self._path.name} has no exchange {request_id!r}: record it by running the same with a live "
                "teacher (HttpTeacher or LocalTeacher) and replay its transcript"
            )
        return self._exchanges[request_id]


def _difference(asked: Request, recorded: Request) -> str:
    if len(asked.messages) != len(recorded.messages):
        return f"{len(recorded.messages)} messages were recorded, {len(asked.messages)} are asked"
    for new, old in zip(asked.messages, recorded.messages, strict=True):
        if new != old:
            same = next(
                (i for i, (a, b) in enumerate(zip(new.content, old.content, strict=False)) if a != b),
                min(len(new.content), len(old.content)),
            )
            return f"the {new.role} message differs from character {same + 1} on"
    raise AssertionError("called for requests that differ")


class Usage(NamedTuple):
    """What a live teacher was asked so far, and what that took."""

    replayed: int = 0  # requests answered from the transcript, without asking
    requests: int = 0  # requests sent, retries included
    retries: int = 0  # requests sent again after a failure
    failures: int = 0  # requests that got no answer, whatever was tried
    prompt_tokens: int = 0  # as the model counts them; 0 where it does not say
    completion_tokens: int = 0


class Reply(NamedTuple):
    """Answer of a live model."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str = ""  # why the model stopped: stop, length, ...


_Live = TypeVar("_Live", bound="LiveTeacher")


class LiveTeacher(ABC):
    """Asks a model what its transcript does not answer yet, and records every exchange before it hands it on.

    Use it as a context manager, or close it: the transcript belongs to one process at a time.
    """

    def __init__(self, path: str | Path, description: Mapping[str, Any]):
        """Open or resume a transcript.

        Args:
          path: the transcript; what it holds is not asked again.
          description: model and sampling, written beside every exchange.

        Raises:
          TeacherError: the transcript cannot be opened, or another model or sampling recorded it.
        """
        self._description = dict(description)
        self.transcript = Transcript(path)
        self.usage = Usage()
        for exchange in self.transcript.exchanges():
            teacher = exchange.request.details.get("teacher")
            if teacher != self._description:
                self.close()
                raise TeacherError(
                    f"{path}: recorded with {teacher}, not with {self._description}: take another file"
                )

    @abstractmethod
    def _reply(self, request: Request) -> Reply:
        """Ask the model itself."""

    def ask(self, request: Request) -> str:
        """Raw answer to a request, from the transcript if it is there.

        Raises:
          TeacherError: the model cannot answer, or the transcript cannot be written.
        """
        known = self.transcript.find(request)
        if known is not None:
            self._count(replayed=1)
            return known
        reply = self._reply(request)
        tokens = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.completion_tokens}
        self._count(**tokens)
        facts = {"teacher": self._description, "usage": tokens, "finish_reason": reply.finish_reason}
        self.transcript.append(Exchange(replace(request, details={**request.details, **facts}), reply.text))
        return reply.text

    def close(self) -> None:
        """Give the transcript free."""
        self.transcript.close()

    def __enter__(self: _Live) -> _Live:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _count(self, **more: int) -> None:
        self.usage = self.usage._replace(**{name: getattr(self.usage, name) + n for name, n in more.items()})
