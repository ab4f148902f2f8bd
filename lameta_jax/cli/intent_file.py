"""`lameta intent --file`: a stream of prompts in JSON Lines; a line that cannot be used does not stop the rest."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from lameta_jax.cli.common import BadInputError, is_same_file, one_line, say, write_json
from lameta_jax.cli.intent import AUTO, Reader, readable

if TYPE_CHECKING:
    from lameta_jax.cli.intent import IntentConfig

BATCH_SIZE = 2048
FLUSH_LINES = 256
MAX_LINE_BYTES = 16_000_000


class _Query(NamedTuple):
    """One line: a prompt, or what is wrong."""

    id: Any
    prompt: str = ""
    application: str = AUTO
    error: str | None = None


def translate_file(config: "IntentConfig", reader: Reader) -> None:
    """Write one JSON object per line of the file, in order, and say how many could not be used."""
    file, out = str(config.file), config.out
    if out is not None and file != "-" and is_same_file(file, out):
        raise BadInputError(f"--out: {out} must not be the file that is read")
    lines = failures = errors = 0
    with ExitStack() as stack:
        source = sys.stdin.buffer if file == "-" else stack.enter_context(_open("--file", file, "rb"))
        sink = sys.stdout if out is None else stack.enter_context(_open("--out", out, "w"))
        for result in translate_lines(source, reader, config.application):
            lines += 1
            failures += result.get("failed", False)
            if "error" in result:
                errors += 1
                say(f"{file}: line {lines}: {result['error']}")
            write_json(result, sink)
            if lines % FLUSH_LINES == 0:
                sink.flush()
    summary = {"lines": lines, "failed": failures, "errors": errors, "out": out}
    if config.json and out is not None:
        write_json(summary)
    say(f"{lines} lines: {failures} translations failed, {errors} lines could not be used")


def translate_lines(source: IO[bytes], reader: Reader, application: str) -> Iterator[dict[str, Any]]:
    """What each line means, in order; `{"id": …, "error": …}` for one that cannot be used."""
    queries = (_parse(line, application, reader.applications) for line in _lines(source))
    while batch := _batch(queries, min(BATCH_SIZE, reader.batch_size or BATCH_SIZE)):
        usable = [query for query in batch if query.error is None]
        prompts, applications = [query.prompt for query in usable], [query.application for query in usable]
        results = iter(reader.read(prompts, applications))
        for query in batch:
            found = next(results) if query.error is None else {"error": query.error}
            yield {"id": query.id} | found


def _batch(queries: Iterator[_Query], count: int) -> list[_Query]:
    """The next queries, up to `count` of them: no more than memory should hold."""
    batch, size = [], 0
    for query in islice(queries, count):
        batch.append(query)
        size += len(query.prompt)
        if size > MAX_LINE_BYTES:
            break
    return batch


def _parse(line: bytes | None, application: str, known: Iterable[str]) -> _Query:
    if line is None:
        return _Query(None, error=f"longer than {MAX_LINE_BYTES} bytes")
    try:
        record = json.loads(line.decode("utf-8", "replace"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        return _Query(None, error=f"not JSON: {one_line(str(error))}")
    if not isinstance(record, dict):
        return _Query(None, error="not a JSON object")
    prompt, wanted = record.get("prompt"), record.get("application", application)
    if not isinstance(prompt, str):
        return _Query(
            record.get("id"), error="prompt is missing" if prompt is None else "prompt must be text"
        )
    if wanted not in known:
        shown = one_line(json.dumps(wanted))[:80]
        return _Query(record.get("id"), error=f"application = {shown} must be one of {', '.join(known)}")
    return _Query(record.get("id"), readable(prompt), wanted)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")


def _lines(source: IO[bytes]) -> Iterator[bytes | None]:
    """The lines of a stream, None in place of one that is too long to hold."""
    while line := source.readline(MAX_LINE_BYTES + 1):
        too_long = len(line) > MAX_LINE_BYTES
        while line and not line.endswith(b"\n") and too_long:
            line = source.readline(MAX_LINE_BYTES)
        yield None if too_long else line


def _open(option: str, path: str, mode: str) -> IO[Any]:
    try:
        return Path(path).open(mode)  # noqa: SIM115 (the caller closes it)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadInputError(f"{option}: {path} cannot be opened: {reason}") from None
