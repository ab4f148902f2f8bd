"""The corpus of intents: records, JSON Lines files and the splits everything else relies on.

The shipped corpus lies in `lameta_jax/data/intents` (its README describes it). Of each application's 50 benchmark
records the first 10 are demonstrations (D_u), the other 40 the test set, which is for the final measurement only.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lameta_jax.intents.preference import check_preference

NUM_DEMONSTRATIONS = 10
BENCHMARKS = ("multimedia", "qa")  # the two applications of LAMeTA's Sec. VI


class CorpusError(ValueError):
    """A corpus file cannot be read; the message is one line that names file, line and rule."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One thing a user typed and what it implies."""

    id: str
    application: str
    prompt: str
    preference: tuple[float, ...]  # [capability, information, latency, outage], sum 1
    style: str = ""  # explicit, implicit or mixed
    rationale: str = ""  # why the prompt implies the preference
    annotations: tuple[tuple[float, ...], ...] = ()  # independent annotations, where there are several


class Benchmark(NamedTuple):
    """The labelled records of one application."""

    demonstrations: tuple[Record, ...]  # D_u
    test: tuple[Record, ...]


def corpus_folder() -> Path:
    """Folder of the shipped corpus."""
    return Path(str(resources.files("lameta_jax"))) / "data" / "intents"


def decode_json(text: str) -> object:
    """Decoded JSON value; whatever keeps a text from being JSON is a ValueError of one line."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_record(fields: object, place: str) -> Record:
    """Record from a decoded JSON value.

    Raises:
      CorpusError: naming `place`, for missing or ill-typed fields and for preferences off the simplex.
    """
    if not isinstance(fields, dict):
        raise CorpusError(f"{place}: expected a JSON object")
    known = {}
    for name in ("id", "application", "prompt"):
        if not isinstance(fields.get(name), str) or not fields[name].strip():
            raise CorpusError(f"{place}: field {name!r} must be a non-empty string")
        known[name] = fields[name]
    for name in ("style", "rationale"):
        known[name] = fields.get(name, "")
        if not isinstance(known[name], str):
            raise CorpusError(f"{place}: field {name!r} must be a string")
    annotations = fields.get("annotations", [])
    if not isinstance(annotations, list):
        raise CorpusError(f"{place}: field 'annotations' must be a list of lists of 4 numbers")
    known["preference"] = _vector(fields.get("preference"), "preference", place)
    known["annotations"] = tuple(_vector(values, "annotations", place) for values in annotations)
    return Record(**known)


def _vector(values: object, name: str, place: str) -> tuple[float, ...]:
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise CorpusError(f"{place}: field {name!r} must hold 4 numbers in a list")
    try:
        # annotations are means rounded to four decimals, so the sum is only nearly 1
        return check_preference(values, place, tolerance=0.011)
    except ValueError as error:
        raise CorpusError(str(error)) from None


def read_records(path: str | Path) -> tuple[Record, ...]:
    """All records of a JSON Lines file, in order.

    Raises:
      CorpusError: the file cannot be read, a line is not a record, or an id stands twice.
    """
    records, seen = [], set()
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")  # text may hold other line separators
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            fields = decode_json(line)
        except ValueError as error:
            raise CorpusError(f"{place}: not JSON ({error})") from None
        record = parse_record(fields, place)
        if record.id in seen:
            raise CorpusError(f"{place}: id {record.id!r} stands twice")
        seen.add(record.id)
        records.append(record)
    return tuple(records)


def format_records(records: Iterable[Record]) -> str:
    """The records as the text of a JSON Lines file that `read_records` reads back."""
    # ASCII, because a prompt may hold what no file encoding takes
    return "".join(json.dumps(asdict(record)) + "\n" for record in records)


def digest(records: Iterable[Record]) -> str:
    """SHA-256 of the records as text: says which data a model has seen."""
    return hashlib.sha256(format_records(records).encode()).hexdigest()


def load_history() -> tuple[Record, ...]:
    """D_h of LAMeTA eq. (19): 600 records of eight applications."""
    return read_records(corpus_folder() / "history.jsonl")


def load_benchmark(application: str) -> Benchmark:
    """Demonstrations and test records of one of the `BENCHMARKS`."""
    if application not in BENCHMARKS:
        raise CorpusError(f"no benchmark for application {application!r}; there are {', '.join(BENCHMARKS)}")
    records = read_records(corpus_folder() / f"benchmark_{application}.jsonl")
    return Benchmark(records[:NUM_DEMONSTRATIONS], records[NUM_DEMONSTRATIONS:])


def prompts_of(records: Iterable[Record]) -> list[str]:
    """The prompts alone."""
    return [record.prompt for record in records]


def preferences_of(records: Sequence[Record]) -> np.ndarray:
    """The preferences alone, `[records, 4]`, scaled to sum exactly to 1."""
    values = np.array([record.preference for record in records], dtype=np.float64).reshape(-1, 4)
    return values / values.sum(axis=-1, keepdims=True)
