"""Chunks of a sweep: runs that one program does at once, and the files that they are kept in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Key, PyTree

from lameta_jax.scale.checkpoint import packed, read_checkpoint, write_checkpoint
from lameta_jax.scale.distributed import placement
from lameta_jax.scale.space import Group
from lameta_jax.scale.timing import Program, compiled
from lameta_jax.scale.width import Chunk

Scores = dict[str, Array]
Train = Callable[[Mapping[str, Any], Key[Array, ""]], tuple[Scores, PyTree]]
"""`(settings, key)` to scores by name and what is worth keeping of a run, such as parameters."""
Many = Callable[[dict[str, Array], Array], tuple[Scores, PyTree]]
"""`(settings, seeds)` of many runs to the same with a leading axis of runs."""


class Block(NamedTuple):
    """Training that does a fixed number of runs at once in its own way, such as `halving.halve`."""

    many: Callable[[Mapping[str, Any]], Many]  # given the fixed settings
    size: int  # runs at once


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """How a sweep is done."""

    metric: str = "score"  # the score that runs are compared by; the greatest is the best
    width: int | None = None  # runs at once; none: measured
    memory_bytes: float = float("inf")  # that a program may need
    keep: int = 4  # best runs of which results are kept


class Content(NamedTuple):
    """What came of a chunk."""

    chunk: Chunk
    scores: dict[str, np.ndarray]  # one entry per run
    best: np.ndarray  # places in the chunk of its best runs, best first
    kept: Any  # what training kept of those: nested dicts of arrays with a leading axis


class ChunkRunner:
    """Does chunks of one group, compiling a program for every width that is asked for.

    Devices of a mesh share the runs of a chunk if its width is a multiple of their number.
    """

    def __init__(
        self, train: Train | Block, number: int, group: Group, config: SweepConfig, mesh: Mesh | None = None
    ):
        self._number, self._group, self._config = number, group, config
        self._many = train.many(group.fixed) if isinstance(train, Block) else vectorised(train, group.fixed)
        self._mesh = (
            None if isinstance(train, Block) else mesh
        )  # runs of a block are compared with each other
        self._programs: dict[int, Program] = {}

    def do(self, start: int, width: int, stop: int | None = None) -> Content | None:
        """Runs `start` to `start + width` of the group, less those from `stop` on; None if they do not fit into memory.

        A program needs its full width: behind the last run that is to be done, that one is done once more.
        """
        stop = min(start + width, self._group.size if stop is None else stop)
        count, rows = stop - start, np.minimum(np.arange(start, start + width), stop - 1)
        put = jnp.asarray if not self._shared(width) else self._spread
        settings = {name: put(values[rows]) for name, values in self._group.settings.items()}
        arguments = (settings, put(self._group.seed[rows]), np.asarray(count))
        compile_seconds = 0.0
        if width not in self._programs:
            self._programs[width] = program = compiled(self._work(width), *arguments)
            compile_seconds = program.lower_seconds + program.compile_seconds
        program = self._programs[width]
        needed = program.temporary_bytes or 0
        if needed > self._config.memory_bytes:
            return None
        begun = perf_counter()
        scores, best, kept = program.call(*arguments)
        seconds = perf_counter() - begun
        return Content(
            Chunk(self._number, start, count, width, seconds, compile_seconds, needed),
            {name: np.asarray(values)[:count] for name, values in scores.items()},
            np.asarray(best)[:count],
            jax.tree.map(lambda leaf: np.asarray(leaf)[:count], packed(kept)),
        )

    def _shared(self, width: int) -> bool:
        return self._mesh is not None and width % self._mesh.size == 0

    def _spread(self, values: np.ndarray) -> Array:
        assert self._mesh is not None
        return jax.device_put(values, placement(self._mesh, 0))

    def _work(self, width: int) -> Any:
        mesh = self._mesh
        if mesh is None or not self._shared(width):
            return jax.jit(_with_best(self._many, self._config))
        spec = PartitionSpec(mesh.axis_names)
        many = jax.shard_map(self._many, mesh=mesh, in_specs=spec, out_specs=spec, check_vma=False)
        # Every process of several must be able to read the results.
        return jax.jit(_with_best(many, self._config), out_shardings=placement(mesh))


def vectorised(train: Train, fixed: Mapping[str, Any]) -> Many:
    """Many runs by `vmap`; a single one as it is, since vectorised operations may be slower."""

    def one(settings, seed):
        return train({**fixed, **settings}, jax.random.key(seed))

    def many(settings, seeds):
        if seeds.shape[0] > 1:
            return jax.vmap(one)(settings, seeds)
        alone = one(*jax.tree.map(lambda leaf: leaf[0], (settings, seeds)))
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], alone)

    return many


def _with_best(many: Many, config: SweepConfig) -> Callable:
    """Keeps the results of the best runs alone, before anything leaves the device."""

    def work(settings, seeds, count):
        scores, kept = many(settings, seeds)
        if config.metric not in scores:
            raise ValueError(f"training gives no score {config.metric!r} but {', '.join(scores)}")
        real = jnp.arange(seeds.shape[0]) < count
        metric = jnp.where(real, ranked(scores[config.metric]), -jnp.inf)
        _, best = jax.lax.top_k(metric, min(config.keep, seeds.shape[0]))
        return scores, best, jax.tree.map(lambda leaf: leaf[best], kept)

    return work


def ranked(metric: Any) -> Array:
    """A metric by which runs can be compared: a run whose metric is no number is behind all others."""
    metric = jnp.asarray(metric)
    return jnp.where(jnp.isnan(metric), jnp.finfo(metric.dtype).min, metric)


def save(folder: Path, purpose: Mapping[str, str], content: Content) -> None:
    """Keep a chunk.

    Raises:
      CheckpointError: its file cannot be written.
    """
    chunk = content.chunk
    write_checkpoint(
        _path(folder, chunk.group, chunk.start), purpose, content._asdict() | {"chunk": chunk._asdict()}
    )


def load(folder: Path, purpose: Mapping[str, str], group: int, start: int) -> Content | None:
    """The chunk that begins at a run of a group; None if it has not been done.

    Raises:
      CheckpointError: its file is damaged or of another sweep.
    """
    kept = read_checkpoint(_path(folder, group, start), purpose)
    return None if kept is None else Content(**{**kept, "chunk": Chunk(**kept["chunk"])})


def kept_starts(folder: Path, group: int) -> list[int]:
    """The runs of a group at which chunks begin that are there, in order."""
    return sorted(int(path.stem.rpartition("-")[2]) for path in folder.glob(f"group-{group:03d}-run-*.chunk"))


def _path(folder: Path, group: int, start: int) -> Path:
    return folder / f"group-{group:03d}-run-{start:07d}.chunk"
