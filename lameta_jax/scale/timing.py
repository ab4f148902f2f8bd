"""Time and memory of contenders, measured the same way for all.

    program = compiled(jax.jit(work), *arguments)                    # compiling, timed apart
    times = interleaved({"ours": lambda: program.call(*arguments), "theirs": peer}, repeats=10)
    ratio_of_medians(times, "theirs", "ours")                        # how many times as fast ours is

Contenders take turns, so that whatever else the machine does hits all of them alike; a call counts until its result is
there, not until jax has queued it.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

import jax

from lameta_jax.scale.cores import usable_cores

Clock = Callable[[], float]
"""Seconds since any fixed moment."""


class Timing(NamedTuple):
    """Seconds per call of one contender; `_asdict()` is ready for JSON."""

    median: float
    lowest: float
    highest: float
    lower_quartile: float
    upper_quartile: float
    values: tuple[float, ...]  # in the order in which they were measured


class Program(NamedTuple):
    """A compiled function and what compiling it cost."""

    call: Callable[..., Any]  # takes what it was compiled for, and returns once the result is there
    lower_seconds: float  # tracing and lowering
    compile_seconds: float
    temporary_bytes: int | None  # reserved beside arguments and results; None where the backend does not say


def compiled(function: Any, *arguments: Any, clock: Clock = time.perf_counter) -> Program:
    """Compile a jitted function for arguments.

    Args:
      function: from `jax.jit`, without static arguments (bind those with `functools.partial` before).
      arguments: arrays, or pytrees of them or of their shapes.
      clock: what time it is.
    """
    begun = clock()
    lowered = function.lower(*arguments)
    between = clock()
    executable = lowered.compile()
    ended = clock()
    analysis = executable.memory_analysis()
    return Program(
        call=lambda *given: jax.block_until_ready(executable(*given)),
        lower_seconds=between - begun,
        compile_seconds=ended - between,
        temporary_bytes=None if analysis is None else int(analysis.temp_size_in_bytes),
    )


def interleaved(
    contenders: Mapping[str, Callable[[], Any]],
    repeats: int,
    *,
    warmup: int = 1,
    clock: Clock = time.perf_counter,
) -> dict[str, Timing]:
    """Time contenders in turn: every one once, then every one once more, and so on.

    Args:
      contenders: calls by label; what they return is waited for.
      repeats: timed calls of each, >= 1.
      warmup: calls of each before them that are not timed, >= 0.
      clock: what time it is.
    """
    if repeats < 1 or warmup < 0:
        raise ValueError(f"repeats = {repeats} must be at least 1 and warmup = {warmup} at least 0")
    values: dict[str, list[float]] = {label: [] for label in contenders}
    for turn in range(warmup + repeats):
        for label, call in contenders.items():
            begun = clock()
            jax.block_until_ready(call())
            seconds = clock() - begun
            if turn >= warmup:
                values[label].append(seconds)
    return {label: summarised(seconds) for label, seconds in values.items()}


def summarised(values: Sequence[float]) -> Timing:
    """Median, extremes and quartiles (interpolated linearly) of at least one value."""
    lower = upper = values[0]
    if len(values) > 1:
        lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(statistics.median(values), min(values), max(values), lower, upper, tuple(values))


def ratio_of_medians(times: Mapping[str, Timing], slower: str, faster: str) -> float:
    """How many times as long one contender takes as another."""
    return times[slower].median / times[faster].median


def peak_memory() -> int:
    """The most bytes that this process has held in memory at any time so far."""
    import resource  # Windows has none

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def machine(packages: Sequence[str] = ("jax", "jaxlib", "numpy")) -> dict[str, Any]:
    """What a measurement ran on: device, cores that this process may use, versions of Python and of packages."""
    device = jax.devices()[0]
    return {
        "device": str(device.platform),
        "device_kind": str(device.device_kind),
        "cores": usable_cores(),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
    }
