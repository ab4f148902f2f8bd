"""Many runs of one training in few programs: seeds times settings, in chunks that an interruption does not lose.

    def train(settings, key):                      # pure; `settings` has one value per name
        return {"score": ...}, params              # numbers for the table, and what is kept of the best runs

    swept = sweep(train, grid_runs({"learning_rate": (1e-3, 1e-2)}, seeds=range(5)), folder=Path("runs/sweep"))

Runs with the same seed are given the same random key, whatever their settings, so that configurations meet the same
draws. How many runs are done at once is measured, see `width`. The last digits of results depend on it, as sums do on
their order; what was decided is kept with the results, so a sweep that is taken up again ends in the same table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from lameta_jax.scale.checkpoint import digest
from lameta_jax.scale.chunks import (
    Block,
    ChunkRunner,
    Content,
    SweepConfig,
    Train,
    kept_starts,
    load,
    ranked,
    save,
)
from lameta_jax.scale.distributed import from_first_process
from lameta_jax.scale.space import Group, SpaceError
from lameta_jax.scale.width import Chunk, next_width, seconds_per_run


class Progress(NamedTuple):
    """How a sweep goes, after every chunk."""

    done: int  # runs of all groups
    total: int
    seconds_left: float  # by what the chunks of this group took, compiling apart
    best: float  # metric so far
    chunk: Chunk
    resumed: bool  # it was there already


class Kept(NamedTuple):
    """One of the best runs."""

    run: int  # its row in the table
    score: float
    result: Any  # what training kept of it, as nested dicts of arrays, see `checkpoint.unpacked`


class Swept(NamedTuple):
    """What a sweep found."""

    table: dict[str, list[Any]]  # columns: run, what was varied, seed, scores; one entry per run
    best: list[Kept]  # best first
    chunks: list[Chunk]


def sweep(
    train: Train | Block,
    groups: Sequence[Group],
    config: SweepConfig | None = None,
    *,
    folder: str | Path,
    purpose: Mapping[str, str] | None = None,
    mesh: Mesh | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Swept:
    """Do all runs, going on from the chunks that are in the folder.

    Args:
      train: one run, vectorised here; or a `Block`.
      groups: from `grid_runs` or `random_runs`; for each, programs of a few widths are compiled.
      folder: every finished chunk is written here at once, in a file of its own.
      purpose: what the results depend on beside groups and config, by name, such as a version.
      mesh: devices that share the runs of a chunk; none: the default device. If they are of several processes, all of
        them call this alike; the first one reads and writes the folder.
      report: called after every chunk.

    Raises:
      CheckpointError: a chunk's file is damaged or of another sweep, or none can be written.
      SpaceError: the runs of a group cannot be divided into blocks.
      MemoryError: not even the narrowest chunk fits into the given memory.
    """
    config, folder = config or SweepConfig(), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    purpose = identity(groups, config, purpose or {})
    results = Results(groups, config)
    if isinstance(train, Block):
        check_blocks(groups, train.size)
    for number, group in enumerate(groups):
        runner = ChunkRunner(train, number, group, config, mesh)
        size = train.size if isinstance(train, Block) else config.width
        for content, resumed in _chunks(runner, number, group, config, size, folder, purpose, mesh):
            results.add(content)
            report(results.progress(content.chunk, resumed))
    return results.swept()


def _chunks(
    runner: ChunkRunner,
    number: int,
    group: Group,
    config: SweepConfig,
    width: int | None,
    folder: Path,
    purpose: Mapping[str, str],
    mesh: Mesh | None,
) -> Iterator[tuple[Content, bool]]:
    """The chunks of a group in order, those that are there and then new ones."""
    done: list[Chunk] = []
    refused: set[int] = set()
    starts = from_first_process(lambda: kept_starts(folder, number))
    start = 0
    while start < group.size:
        content = from_first_process(lambda start=start: load(folder, purpose, number, start))
        stop = min((one for one in starts if one > start), default=group.size)  # others may have left a gap
        resumed = content is not None
        if content is None:
            devices = 1 if mesh is None else mesh.size
            wanted = width or next_width(
                done, stop - start, devices=devices, budget=config.memory_bytes, refused=refused
            )
            mine = runner.do(start, wanted, stop)
            content = from_first_process(lambda mine=mine: mine)  # what it took is not the same for all
            if content is None:
                if wanted in (width, 1):
                    raise MemoryError(f"{wanted} runs at once need more than {config.memory_bytes:.3g} bytes")
                refused.add(wanted)
                continue
            from_first_process(lambda content=content: save(folder, purpose, content))
        done.append(content.chunk)
        start += content.chunk.count
        yield content, resumed


class Results:
    """What chunks have brought so far, whoever did them and in whatever order."""

    def __init__(self, groups: Sequence[Group], config: SweepConfig):
        self._groups, self._config = groups, config
        sizes = [group.size for group in groups]
        self._first = [sum(sizes[:number]) for number in range(len(sizes))]
        self._total = sum(sizes)
        self._scores: dict[str, list[Any]] = {}
        self._best: list[Kept] = []
        self._chunks: list[Chunk] = []

    def add(self, content: Content) -> None:
        """Takes in a chunk."""
        first = self._first[content.chunk.group] + content.chunk.start
        for name, values in content.scores.items():
            column = self._scores.setdefault(name, [float("nan")] * self._total)
            column[first : first + content.chunk.count] = values.tolist()
        metric = np.asarray(ranked(content.scores[self._config.metric]))
        for place, row in enumerate(content.best):
            result = jax.tree.map(lambda leaf, place=place: leaf[place], content.kept)
            self._best.append(Kept(int(first + row), float(metric[row]), result))
        self._best = sorted(self._best, key=lambda kept: (-kept.score, kept.run))[: self._config.keep]
        self._chunks.append(content.chunk)

    def progress(self, chunk: Chunk, resumed: bool) -> Progress:
        """How things stand after a chunk."""
        done = sum(one.count for one in self._chunks)
        times = seconds_per_run(one for one in self._chunks if one.group == chunk.group)
        left = (self._total - done) * min(times.values())
        return Progress(done, self._total, left, self._best[0].score, chunk, resumed)

    def swept(self) -> Swept:
        """All of it, once all chunks are in."""
        table: dict[str, list[Any]] = {"run": list(range(self._total))}
        for name in self._groups[0].columns:
            table[name] = [value for group in self._groups for value in group.columns[name]]
        table["seed"] = [int(seed) for group in self._groups for seed in group.seed]
        return Swept(table | self._scores, self._best, self._chunks)


def check_blocks(groups: Sequence[Group], size: int) -> None:
    """Refuses groups that are no whole number of blocks.

    Raises:
      SpaceError: naming the runs.
    """
    for group in groups:
        if group.size % size:
            raise SpaceError(f"{group.size} runs of a program must be a multiple of {size}, done together")


def identity(groups: Sequence[Group], config: SweepConfig, purpose: Mapping[str, str]) -> dict[str, str]:
    """What a chunk's file says that it is of: two sweeps of one identity have the same chunks."""
    runs = [[group.columns, group.seed.tolist()] for group in groups]
    told = {"settings or seeds": runs, "sweep configuration": asdict(config)}
    return dict(purpose) | {name: digest(value) for name, value in told.items()}
