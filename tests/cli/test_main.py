"""The program as a whole: commands, exit codes, one line of words, and what it does not import."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import lameta_jax.cli as cli
from lameta_jax.cli.common import one_line, write_table

EXAMPLE = Path(__file__).parents[2] / "examples" / "my-network.yaml"


def start(*arguments, **options):
    """The program as users start it, in its own process."""
    command = [sys.executable, "-m", "lameta_jax.cli", *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **options)


def test_help_lists_every_command_in_one_line(lameta):
    run = lameta("--help")
    assert run.code == 0 and run.err == ""
    for command in ("demo", "evaluate", "optimum", "network", "intent", "distill", "compose"):
        assert sum(line.split()[:1] == [command] for line in run.out.splitlines()) == 1


@pytest.mark.parametrize("command", ["evaluate", "optimum", "intent", "distill", "compose"])
def test_every_command_explains_its_options(lameta, command):
    run = lameta(command, "--help")
    assert run.code == 0 and "--json" in run.out and run.err == ""


def test_version(lameta):
    assert lameta("--version").out == "lameta 0.1.0\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "must be one of demo"),
        (["dance"], "'dance'"),
        (["dance\n\x1b[31m"], "dance\\n"),
        (["evaluate"], "--network"),
        (["evaluate", "--network"], "--network"),
        (["evaluate", "--network", EXAMPLE, "--chain", "a", "--chains", "b"], "--chains"),
        (["evaluate", "--network", EXAMPLE, "--chain", "a", "extra"], "extra"),
        (["optimum", "--network", EXAMPLE, "--preference", "1,0,0,0", "--top", "two"], "two"),
        (["optimum", "--network", EXAMPLE, "--preference", "1,0,0,0", "--qoe-form", "cubic"], "cubic"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_in_one_line(lameta, arguments, named):
    assert named in lameta(*arguments).refusal


def raising(error):
    def command(config):
        raise error

    return command


def test_a_fault_of_ours_is_one_line_and_says_how_to_see_more(lameta, monkeypatch):
    import lameta_jax.cli.evaluate as command

    monkeypatch.setattr(command, "evaluate", raising(RuntimeError("two\nlines")))
    run = lameta("evaluate", "--network", EXAMPLE, "--chain", "a")
    assert (run.code, run.out) == (1, "")
    assert run.err.count("\n") == 1
    assert "RuntimeError: two lines" in run.err and "LAMETA_TRACEBACK=1" in run.err

    monkeypatch.setenv("LAMETA_TRACEBACK", "1")
    run = lameta("evaluate", "--network", EXAMPLE, "--chain", "a")
    assert run.code == 1 and run.err.startswith("Traceback")


def test_a_missing_extra_is_named(lameta, monkeypatch):
    import lameta_jax.cli.evaluate as command

    missing = ModuleNotFoundError("No module named 'tokenizers'", name="tokenizers")
    monkeypatch.setattr(command, "evaluate", raising(missing))
    run = lameta("evaluate", "--network", EXAMPLE, "--chain", "a")
    assert run.code == 1
    assert run.err == "lameta: tokenizers is not installed: pip install 'lameta_jax[intents]'\n"


def test_an_interruption_is_one_line(lameta, monkeypatch):
    import lameta_jax.cli.evaluate as command

    monkeypatch.setattr(command, "evaluate", raising(KeyboardInterrupt()))
    run = lameta("evaluate", "--network", EXAMPLE, "--chain", "a")
    assert run == (130, "", "lameta: interrupted\n")


def test_an_interrupted_program_leaves_one_line(listening_program, tmp_path):
    os.mkfifo(tmp_path / "net.yaml")
    program = [
        sys.executable,
        "-c",
        listening_program,
        "evaluate",
        "--network",
        tmp_path / "net.yaml",
        "--chain",
        "a",
    ]
    process = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process, open(tmp_path / "net.yaml", "wb"):  # opened once the program reads it
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"lameta: interrupted\n"
    assert process.returncode == cli.INTERRUPTED


@pytest.fixture
def restored_interrupts():
    """Ctrl-C as Python handles it, also where whoever started the tests has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interruption_is_not_lost_in_a_garbage_collection(restored_interrupts):
    def _xla_gc_callback():  # where jax is called; Python swallows what is raised there
        cli._interrupt(signal.SIGINT, sys._getframe())

    _xla_gc_callback()
    with pytest.raises(KeyboardInterrupt):
        time.sleep(100)  # ended by the signal that comes a moment later
    with pytest.raises(KeyboardInterrupt):
        cli._interrupt(signal.SIGINT, sys._getframe())


def test_a_broken_pipe_is_quiet():
    program = [sys.executable, "-m", "lameta_jax.cli", "--help"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before a word is written: the program takes longer to start
        assert process.stderr.read() == b""
    assert process.returncode == cli.BROKEN_PIPE


def test_evaluate_as_a_program():
    run = start("evaluate", "--network", EXAMPLE, "--chain", "search-1,writer-7b,artist-1", "--json")
    assert (run.returncode, run.stderr) == (0, b"")
    assert json.loads(run.stdout)["feasible"] is True


def test_optimum_as_a_program():
    run = start("optimum", "--network", EXAMPLE, "--preference", "0.4,0.2,0.3,0.1")
    assert (run.returncode, run.stderr) == (0, b"")
    assert b"search-1 -> writer-7b -> artist-2" in run.stdout


def test_bytes_that_are_no_text_are_refused_in_one_line():
    run = start("evaluate", "--network", b"\xff\xfe.yaml", "--chain", "a")
    assert (run.returncode, run.stdout, run.stderr.count(b"\n")) == (2, b"", 1)


def test_valuing_chains_loads_no_language_models_and_no_policies():
    program = (
        "import sys; from lameta_jax.cli import main; main(sys.argv[1:]);"
        "print([m for m in ('torch', 'tokenizers', 'optax', 'distrax', 'lameta_jax.elam', 'lameta_jax.composition')"
        " if m in sys.modules])"
    )
    arguments = ["evaluate", "--network", str(EXAMPLE), "--chain", "nobody"]
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, timeout=120, check=True
    )
    assert run.stdout == b"[]\n"


def test_messages_are_one_printable_line():
    assert one_line("a\n b\t\x1b[31mc\u2028d\x00") == "a b \\x1b[31mc d\\x00"
    assert len(one_line("x" * 5000)) == 1000


def test_tables_are_aligned(capsys):
    write_table([("a", "long", "x"), ("bcd", "e", "")])
    assert capsys.readouterr().out == "a    long  x\nbcd  e\n"
