"""How many runs to do at once: measured on the runs themselves, within a budget of memory.

More runs in one program share the cost of its operations' overhead and fill wide hardware; they also need more memory
and, on a few cores, soon fall out of the caches. Which width is fastest depends on the program and the machine, so a
sweep begins narrow and grows as long as that pays. Decisions depend on what was measured and nothing else: who knows
the chunks that are done decides as an uninterrupted sweep would.
"""

import statistics
from collections.abc import Collection, Iterable
from typing import NamedTuple

GROWTH = 4  # factor from one width tried to the next
GAIN = 0.95  # a width is worth keeping if a run then takes at most this share of its time before


class Chunk(NamedTuple):
    """Runs done at once, and what they cost."""

    group: int
    start: int  # first run of its group
    count: int  # runs; at most `width`
    width: int  # that the program does at once
    seconds: float  # without compiling
    compile_seconds: float  # 0 where the program was there already
    bytes: int  # that the program needs beside what is always there; 0 where the backend does not say


def seconds_per_run(chunks: Iterable[Chunk]) -> dict[int, float]:
    """By width, the median over chunks."""
    times: dict[int, list[float]] = {}
    for chunk in chunks:
        times.setdefault(chunk.width, []).append(chunk.seconds / chunk.width)
    return {width: statistics.median(values) for width, values in sorted(times.items())}


def next_width(
    chunks: Iterable[Chunk],
    left: int,
    *,
    devices: int = 1,
    budget: float = float("inf"),
    refused: Collection[int] = (),
) -> int:
    """Runs to do at once next.

    First one by itself, which all cores of a processor may work at, then one on each of several devices, and from there
    on the widest so far times `GROWTH`, if that may pay: the widest was the fastest, the next one fits into memory, the
    runs left fill it, and they take longer than compiling it would. Else the width that is done with the runs left
    first.

    Args:
      chunks: those done.
      left: runs to be done, at least 1.
      devices: that share wider chunks.
      budget: bytes that a program may need.
      refused: widths found not to fit.
    """
    done = list(chunks)
    times = seconds_per_run(done)
    if not times:
        return 1
    widest, others = max(times), [time for width, time in times.items() if width != max(times)]
    largest = max(chunk.bytes for chunk in done if chunk.width == widest)
    compiling = max(chunk.compile_seconds for chunk in done)
    growth = devices if widest == 1 and devices > 1 else GROWTH
    pays = (
        (not others or times[widest] <= GAIN * min(others))
        and growth * widest not in refused
        and growth * widest <= left
        and growth * largest <= budget
        and left * times[widest] > compiling
    )
    if pays:
        return growth * widest
    return min(times, key=lambda width: (-(-left // width) * width * times[width], width))
