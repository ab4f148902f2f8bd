"""A teacher behind an OpenAI-compatible endpoint: hosted, or a server of one's own (vLLM, Ollama, ...).

Where it is comes from the environment, and from nowhere else: `LAMETA_TEACHER_BASE_URL` (with `/v1`, as the server
documents it), `LAMETA_TEACHER_MODEL` and, where the endpoint wants one, `LAMETA_TEACHER_API_KEY`. The variables of the
openai client itself are not read, so that a key for one endpoint is never sent to another.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from lameta_jax.intents.corpus import decode_json
from lameta_jax.intents.requests import Request
from lameta_jax.intents.teacher import LiveTeacher, Reply
from lameta_jax.intents.transcript import TeacherError

_RETRIED = (408, 429)  # and all from 500 on: the same request may succeed later
_MAX_SHOWN = 200  # characters of a server's own words in an error
NO_KEY = "none"  # what the client sends where no key is set


@dataclass(frozen=True, kw_only=True)
class HttpConfig:
    """How an endpoint is asked. Sampling options that are None are left to the endpoint."""

    temperature: float | None = None
    max_tokens: int | None = None  # of an answer
    seed: int | None = None
    timeout_s: float = 120.0  # seconds without a byte
    max_retries: int = 5  # of one request
    first_wait_s: float = 1.0  # before the first retry; doubled before each further one
    max_wait_s: float = 60.0  # no wait is longer; an endpoint that asks for more is given up
    requests_per_minute: float = 60.0  # retries included; inf for no limit

    def __post_init__(self):
        for name in ("timeout_s", "first_wait_s", "max_wait_s", "requests_per_minute"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be above 0")
        if self.max_retries < 0:
            raise ValueError(f"max_retries = {self.max_retries} must not be negative")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Time and chance; tests bring their own."""

    now: Callable[[], float] = time.monotonic  # seconds
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random  # uniform on [0, 1)


class _Failure(NamedTuple):
    """Why there is no answer."""

    reason: str
    again: bool  # worth another try
    wait_s: float = 0.0  # at least, before it


class HttpTeacher(LiveTeacher):
    """Asks an OpenAI-compatible endpoint through the openai client, and records every exchange."""

    def __init__(
        self,
        path: str | Path,
        config: HttpConfig = HttpConfig(),
        environment: Mapping[str, str] | None = None,
        clock: Clock = Clock(),
    ):
        """Open the transcript and the client; nothing is asked yet.

        Raises:
          TeacherError: the environment does not say whom to ask, the openai client is not installed, or the
            transcript cannot be opened.
        """
        environment = os.environ if environment is None else environment
        self._key = environment.get("LAMETA_TEACHER_API_KEY", "").strip()
        if not (self._key.isascii() and self._key.isprintable()) or " " in self._key:
            raise TeacherError("LAMETA_TEACHER_API_KEY holds characters that no key has")
        url = _required(environment, "LAMETA_TEACHER_BASE_URL")
        self._model = _required(environment, "LAMETA_TEACHER_MODEL")
        self._shown_url, self._config, self._clock = _shown_url(url), config, clock
        self._client = _open_client(url, self._key or NO_KEY, config.timeout_s)
        self._next_start = clock.now()
        sampling = {name: getattr(config, name) for name in ("temperature", "max_tokens", "seed")}
        self._sampling = {name: value for name, value in sampling.items() if value is not None}
        super().__init__(path, {"model": self._model, **self._sampling})

    def __repr__(self) -> str:
        return f"HttpTeacher(model={self._model!r}, endpoint={self._shown_url!r})"

    def close(self) -> None:
        """Give the transcript free and close the connections."""
        super().close()
        self._client.close()

    def _reply(self, request: Request) -> Reply:
        tries = 0
        while True:
            self._take_turn()
            self._count(requests=1, retries=int(tries > 0))
            outcome = self._try(request)
            tries += 1
            if isinstance(outcome, Reply):
                return outcome
            wait = max(self._backoff(tries), outcome.wait_s)
            if not outcome.again or tries > self._config.max_retries or wait > self._config.max_wait_s:
                break
            self._clock.sleep(wait)
        self._count(failures=1)
        times = "once" if tries == 1 else f"{tries} times"
        raise TeacherError(f"{self._shown_url}: {request.id} asked {times}: {outcome.reason}")

    def _take_turn(self) -> None:
        """Wait until the rate limit allows another request."""
        start = max(self._clock.now(), self._next_start)
        if start > self._clock.now():
            self._clock.sleep(start - self._clock.now())
        self._next_start = start + 60.0 / self._config.requests_per_minute

    def _backoff(self, tries: int) -> float:
        """Exponential, less up to half by chance, so that many clients do not return at once."""
        longest = min(self._config.first_wait_s * 2.0 ** min(tries - 1, 64), self._config.max_wait_s)
        return longest * (0.5 + 0.5 * self._clock.chance())

    def _try(self, request: Request) -> Reply | _Failure:
        import openai

        messages: Any = [message._asdict() for message in request.messages]
        try:
            answer = self._client.chat.completions.with_raw_response.create(
                model=self._model, messages=messages, **self._sampling
            )
        except openai.APITimeoutError:
            return _Failure(f"no answer within {self._config.timeout_s:g} s", again=True)
        except openai.APIConnectionError as error:
            return _Failure(self._clean(f"connection failed ({error.__cause__ or error})"), again=True)
        except openai.APIStatusError as error:
            again = error.status_code in _RETRIED or error.status_code >= 500
            wait = _retry_after(error.response.headers) if again else 0.0
            asks = f", which asks to wait {wait:g} s" if wait > self._config.max_wait_s else ""
            said = self._clean(error.response.text)
            return _Failure(f"status {error.status_code}{asks} ({said})", again, wait)
        outcome = _read_answer(answer.content)
        return outcome._replace(text=self._hide(outcome.text)) if isinstance(outcome, Reply) else outcome

    def _clean(self, text: str) -> str:
        line = " ".join(self._hide(text).split())
        return line if len(line) <= _MAX_SHOWN else f"{line[:_MAX_SHOWN]}..."

    def _hide(self, text: str) -> str:
        """Servers may echo the key."""
        return text.replace(self._key, "[key]") if self._key else text


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise TeacherError(f"{name} is not set: a live teacher needs its endpoint and its model")
    return value


def _shown_url(url: str) -> str:
    """The URL without user, password and query."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise TeacherError(
            "LAMETA_TEACHER_BASE_URL must be an http or https URL, such as http://127.0.0.1:8000/v1"
        )
    return f"{parts.scheme}://{host}{'' if port is None else f':{port}'}{parts.path}"


def _open_client(url: str, key: str, timeout_s: float):
    try:
        from openai import OpenAI
    except ImportError:
        raise TeacherError("HttpTeacher needs the openai client: pip install 'lameta_jax[teacher]'") from None
    # The client retries nothing by itself: what is asked twice is counted, and paid for, knowingly.
    client = OpenAI(api_key=key, base_url=url, timeout=timeout_s, max_retries=0)
    client.organization = client.project = None  # from its own environment variables
    return client


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the endpoint asks to wait, 0 if it does not say; a date counts from the answer's own date."""
    text = headers.get("retry-after", "")
    try:
        wait = float(text)
    except ValueError:
        try:
            wait = (parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])).total_seconds()
        except (ValueError, TypeError, KeyError):
            return 0.0
    return wait if wait > 0 else 0.0


def _read_answer(body: bytes) -> Reply | _Failure:
    try:
        fields: Any = decode_json(body.decode("utf-8"))
    except ValueError:
        return _Failure("the answer is not JSON, or only the beginning of it", again=True)
    try:
        choice = fields["choices"][0]
        text = choice["message"]["content"]
    except (KeyError, IndexError, TypeError):
        return _Failure("the answer is no chat completion: it has no choices[0].message.content", again=False)
    if not isinstance(text, str):
        return _Failure("the answer has no text: choices[0].message.content is no string", again=False)
    usage, reason = fields.get("usage"), choice.get("finish_reason")
    return Reply(
        text,
        _tokens(usage, "prompt_tokens"),
        _tokens(usage, "completion_tokens"),
        reason if isinstance(reason, str) else "",
    )


def _tokens(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and value >= 0 else 0
