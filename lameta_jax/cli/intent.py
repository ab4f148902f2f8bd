"""`lameta intent`: from words to a preference, for one prompt or for every line of a file."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from lameta_jax.cli.common import BadInputError, refusing, write_json, write_table

AUTO = "auto"
MAX_PROMPT_BYTES = 16_000_000
CAUSAL_BATCH_SIZE = 64  # prompts that a language model answers before the first is written


@dataclass(frozen=True, kw_only=True)
class IntentConfig:
    """The preference behind a prompt, or behind every prompt of a file."""

    prompt: tyro.conf.Positional[tuple[str, ...]] = ()
    """what the user typed; - or nothing reads it from standard input"""
    elam: Literal["large", "small"] = "large"  # which E-LAM reads it; with --elam-file the file says
    application: str = AUTO  # whose adapter to use; auto: the one with the nearest intents
    elam_file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """an E-LAM of your own, made by lameta distill; a shipped one if not given"""
    model: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """where the model of --elam-file lies now, if it was distilled by --model and the folder has moved"""
    file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """JSON Lines with id, prompt and optional application; - is standard input"""
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """where to write one JSON object per line of --file; standard output if not given"""
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def intent(config: IntentConfig) -> None:
    """Print the preference behind a prompt, or write those behind the prompts of a file."""
    reader = open_reader(config.elam, config.application, config.elam_file, config.model)
    if config.file is not None:
        from lameta_jax.cli.intent_file import translate_file

        if config.prompt:
            raise BadInputError("--file and a prompt cannot both be given")
        translate_file(config, reader)
        return
    if config.out is not None:
        raise BadInputError("--out needs --file")
    [result] = reader.read([read_prompt(config.prompt)], [config.application])
    if config.json:
        write_json(result)
    else:
        write_table(intent_rows(result))


class Reader(NamedTuple):
    """Who reads prompts: the shipped E-LAMs of a size, or one of the user's own."""

    applications: tuple[str, ...]  # what may be asked for
    read: Callable[[Sequence[str], Sequence[str]], list[dict[str, Any]]]
    """Preferences behind prompts as the JSON output holds them, each read for the application at its place."""
    batch_size: int | None = None  # prompts to give to who is slow, so that the first are soon written


def open_reader(elam: str, application: str, elam_file: str | None, model: str | None = None) -> Reader:
    """Whoever the options name; refuses an application that no E-LAM was distilled for."""
    if elam_file is None:
        if model is not None:
            raise BadInputError("--model needs --elam-file: it is the model that the file belongs to")
        from lameta_jax.elam.shipped import shipped_applications

        known = (AUTO, *shipped_applications())
        if application not in known:
            raise BadInputError(f"--application: {application!r} must be one of {', '.join(known)}")
        return Reader(known, lambda prompts, applications: _read_shipped(elam, prompts, applications))
    if application != AUTO:
        raise BadInputError(
            "--application and --elam-file cannot both be given: the file is of one application"
        )
    return _open_own(elam_file, model)


def _open_own(elam_file: str, model: str | None) -> Reader:
    """An E-LAM of the user's own, of the kind that the file says."""
    from lameta_jax.elam.answering import MiniLMElam
    from lameta_jax.elam.causal_files import is_causal, load_causal
    from lameta_jax.elam.distilled_files import load_distilled
    from lameta_jax.elam.model import ELAM_LAYERS
    from lameta_jax.elam.sentence_encoder import SentenceEncoder
    from lameta_jax.elam.weights import WeightsError

    with refusing(WeightsError):
        if is_causal(elam_file):
            own, batch_size = load_causal(elam_file, model), CAUSAL_BATCH_SIZE
        elif model is not None:
            raise BadInputError(f"--model: {elam_file} was not distilled by --model")
        else:
            distilled = load_distilled(elam_file)
            own, batch_size = MiniLMElam(distilled, SentenceEncoder(ELAM_LAYERS[distilled.name])), None
    return Reader((AUTO, own.application), lambda prompts, _: _read_own(own, prompts), batch_size)


def _read_shipped(elam: str, prompts: Sequence[str], applications: Sequence[str]) -> list[dict[str, Any]]:
    from lameta_jax.elam.shipped import answer_shipped
    from lameta_jax.elam.weights import WeightsError
    from lameta_jax.intents.translator import read_answer

    wanted = [None if application == AUTO else application for application in applications]
    with refusing(WeightsError):
        answers = answer_shipped(elam, prompts, wanted)
    return [
        translation_fields(read_answer(answer.text, model.mean_preference), elam, answer.application)
        for answer, model in answers
    ]


def _read_own(own: Any, prompts: Sequence[str]) -> list[dict[str, Any]]:
    from lameta_jax.elam.weights import WeightsError
    from lameta_jax.intents.translator import translate

    with refusing(WeightsError):
        found = translate(own, prompts)
    return [translation_fields(translation, own.name, own.application) for translation in found]


def translation_fields(translation: Any, elam: str, application: str) -> dict[str, Any]:
    """A `Translation` as the JSON output holds it."""
    return {
        "preference": [float(share) for share in translation.preference],
        "answer": translation.answer,
        "failed": bool(translation.failed),
        "elam": elam,
        "application": application,
    }


def intent_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The output for people."""
    from lameta_jax.types import FACTOR_NAMES  # its array types import jax

    shares = zip(FACTOR_NAMES, result["preference"], strict=True)
    rows = [(name, f"{share:.2f}") for name, share in shares]
    rows.append(("read by", f"{result['elam']} E-LAM of {result['application']}"))
    if result["failed"]:
        rows.append(("failed", "no answer could be read: this is the mean preference of the application"))
    return rows


def read_prompt(words: Sequence[str]) -> str:
    """The prompt from the arguments, or from standard input; bytes that are not UTF-8 are replaced."""
    if words and list(words) != ["-"]:
        return readable(" ".join(words))
    if not words and sys.stdin.isatty():
        raise BadInputError("no prompt: give one in quotes, or - to read standard input")
    content = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
    if len(content) > MAX_PROMPT_BYTES:
        raise BadInputError(f"standard input: a prompt must be at most {MAX_PROMPT_BYTES} bytes long")
    return content.decode("utf-8", "replace")


def readable(text: str) -> str:
    """Text without lone surrogates: what Python makes of argument bytes, or of JSON escapes, that are no text."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
