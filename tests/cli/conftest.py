"""Commands run in this process, and E-LAMs that answer at once."""

import contextlib
import io
import json
import sys
import types
from typing import NamedTuple

import numpy as np
import pytest

from lameta_jax.cli import main


class Run(NamedTuple):
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        """The one JSON object on standard output; numbers that JSON does not know are refused."""

        def refuse(name):
            raise AssertionError(f"{name} is not JSON")

        assert self.code == 0, self.err
        assert self.out.count("\n") == 1
        return json.loads(self.out, parse_constant=refuse)

    @property
    def refusal(self):
        """The one line on standard error of a refused command."""
        assert self.code == 2, (self.out, self.err)
        assert self.out == ""
        assert self.err.startswith("lameta: ")
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err


@pytest.fixture(scope="session")
def lameta():
    """Runs `lameta …`."""

    def run(*arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
        return Run(code, out.getvalue(), err.getvalue())

    return run


class FakeElam:
    """Answers by length; prompts without a letter or digit get no answer, as with the true ones."""

    mean_preference = np.array([0.4, 0.3, 0.2, 0.1])

    def __init__(self, name, application):
        self.name, self.application = name, application
        self.prompts = []

    def answer(self, prompts):
        self.prompts += prompts
        for prompt in prompts:
            prompt.encode("utf-8")  # a tokeniser takes nothing that is not text
        percents = [len(prompt) % 50 for prompt in prompts]
        readable = [any(char.isalnum() for char in prompt) for prompt in prompts]
        return [f"{p} {50 - p} 30 20" if fine else "" for p, fine in zip(percents, readable, strict=True)]


@pytest.fixture
def elams(monkeypatch):
    """Replaces the shipped E-LAMs; gives those loaded last, by name and application."""
    loaded = {}

    def answer_shipped(name, prompts, wanted):
        nearest = ["qa" if "?" in prompt else "multimedia" for prompt in prompts]
        answers = []
        for prompt, application in zip(
            prompts, map(lambda one, two: one or two, wanted, nearest), strict=True
        ):
            elam = loaded.setdefault((name, application), FakeElam(name, application))
            [text] = elam.answer([prompt])
            answers.append((types.SimpleNamespace(application=application, text=text), elam))
        return answers

    shipped = types.ModuleType("lameta_jax.elam.shipped")
    shipped.__dict__.update(answer_shipped=answer_shipped, shipped_applications=lambda: ("multimedia", "qa"))
    weights = types.ModuleType("lameta_jax.elam.weights")
    weights.__dict__.update(WeightsError=type("WeightsError", (ValueError,), {}))
    monkeypatch.setitem(sys.modules, "lameta_jax.elam.shipped", shipped)
    monkeypatch.setitem(sys.modules, "lameta_jax.elam.weights", weights)
    return loaded


@pytest.fixture
def stdin(monkeypatch, tmp_path):
    """Puts bytes on standard input."""
    with contextlib.ExitStack() as stack:

        def put(content):
            (tmp_path / "stdin").write_bytes(content)
            monkeypatch.setattr(sys, "stdin", stack.enter_context((tmp_path / "stdin").open()))

        yield put


@pytest.fixture(scope="session")
def listening_program():
    """`lameta` for `python -c`, which hears Ctrl-C.

    Whoever started the tests in the background may have it ignored, which children inherit.
    """
    return (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from lameta_jax.cli import main; sys.exit(main())"
    )


@pytest.fixture
def network_file(tmp_path):
    """Writes the content of a network file."""

    def write(mapping, name="net.json"):
        (tmp_path / name).write_text(json.dumps(mapping), encoding="utf-8")
        return str(tmp_path / name)

    return write
