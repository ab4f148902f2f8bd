"""What a teacher is asked: chat messages made from the shipped templates.

LAMeTA eq. (22), chain of thought, and eq. (23), augmentation. Text of users and of teachers enters the messages as
data only: it is filled in last, and nothing in it is expanded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from lameta_jax.intents.corpus import Record, corpus_folder
from lameta_jax.intents.preference import whole_percents


class Message(NamedTuple):
    """One turn of a chat."""

    role: str  # system or user
    content: str


@dataclass(frozen=True, kw_only=True)
class Request:
    """One thing to ask the teacher; two requests are the same if id, kind, application and messages are."""

    id: str
    kind: str  # cot, augment, translate or compose
    application: str
    messages: tuple[Message, ...]
    # What the messages were made from, for whoever reads the transcript.
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)


def explanation_request(record: Record) -> Request:
    """Asks why the prompt of a demonstration leads to its preference: `f_CoT` of LAMeTA eq. (22)."""
    fields = {"application": record.application, "prompt": record.prompt, "percents": _percents(record)}
    return templated_request(f"cot-{record.id}", "cot", record.application, fields)


def augmentation_request(
    name: str, application: str, demonstrations: Sequence[Record], count: int, settings: str
) -> Request:
    """Asks for `count` new samples from demonstrations with their reasoning: LAMeTA eq. (23)."""
    shown = "\n".join(_demonstration(number, record) for number, record in enumerate(demonstrations, start=1))
    fields = {"application": application, "demonstrations": shown, "count": count, "settings": settings}
    ids = [record.id for record in demonstrations]
    details = {"count": count, "settings": settings, "demonstration_ids": ids}
    return templated_request(name, "augment", application, fields, details)


def translation_request(record: Record) -> Request:
    """Asks for the preference that a prompt implies, without an example."""
    fields = {"prompt": record.prompt}
    return templated_request(f"translate-{record.id}", "translate", record.application, fields)


def templated_request(
    name: str,
    kind: str,
    application: str,
    fields: Mapping[str, Any],
    details: Mapping[str, Any] | None = None,
) -> Request:
    """The request with id `name` whose message is the template of its kind with the fields filled in."""
    text = _template(kind).format(**fields)
    # Half a surrogate pair, which JSON can hold, fits in no request.
    clean = text.encode("utf-8", "replace").decode("utf-8")
    messages = (Message("system", _template("system")), Message("user", clean))
    return Request(id=name, kind=kind, application=application, messages=messages, details=details or {})


def _demonstration(number: int, record: Record) -> str:
    # Reasoning stays on its line: a teacher's text must not be able to look like further demonstrations.
    reasoning = " ".join(record.rationale.split())
    lines = [f'{number}. "{record.prompt}"', f"why: {reasoning}", f"preference: {_percents(record)}"]
    return "\n   ".join(lines if reasoning else [lines[0], lines[2]])


def _percents(record: Record) -> list[int]:
    return whole_percents(np.array(record.preference)).tolist()


@cache
def _template(name: str) -> str:
    path = corpus_folder() / "clam" / "templates" / f"{name}.txt"
    return path.read_text(encoding="utf-8").rstrip("\n")
