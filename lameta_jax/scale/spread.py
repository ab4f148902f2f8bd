"""Which chunk of a sweep comes next where several workers do chunks at once: book-keeping, whoever the workers are.

In every group chunks are done one at a time until their width is settled (see `width`), then as many at once as there
are workers. A chunk whose worker is lost is handed out again, a few times.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from lameta_jax.scale.width import Chunk, next_width


class Job(NamedTuple):
    """Runs `start` to `stop` of a group, to be done by a program for `width` of them."""

    group: int
    start: int
    stop: int
    width: int


@dataclass
class _Group:
    size: int
    taken: set[tuple[int, int]] = field(
        default_factory=set
    )  # first run and the one behind the last: nobody's to do
    done: list[Chunk] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)  # widths that do not fit into memory
    in_hand: int = 0
    settled: int | None = None  # width

    def gaps(self) -> list[tuple[int, int]]:
        """Runs that nobody does or has done, as stretches."""
        found, place = [], 0
        for start, stop in [*sorted(self.taken), (self.size, self.size)]:
            if start > place:
                found.append((place, start))
            place = max(place, stop)
        return found


class Plan:
    """What is done, what is in whose hands, and what comes next."""

    def __init__(self, sizes: Sequence[int], *, budget: float, tries: int):
        """Nothing is done yet.

        Args:
          sizes: runs of every group.
          budget: bytes that a program may need.
          tries: how often a chunk is handed out before it is given up.
        """
        self._groups = [_Group(size) for size in sizes]
        self._width: int | None = None
        self._workers, self._budget, self._tries = 1, budget, tries
        self._losses: dict[tuple[int, int], int] = {}  # by group and first run
        self.given_up: list[Job] = []

    def begin(self, workers: int, width: int | None) -> None:
        """So many workers share the runs that are left, `width` of them at once; none: measured."""
        self._workers, self._width = workers, width
        for group in self._groups:
            group.settled = width

    def found(self, chunk: Chunk) -> bool:
        """A chunk that was there before; whether it is of use, having no runs that another has."""
        group, mine = self._groups[chunk.group], (chunk.start, chunk.start + chunk.count)
        if any(start < mine[1] and mine[0] < stop for start, stop in group.taken):
            return False
        group.taken.add(mine)
        group.done.append(chunk)
        return True

    def hand_out(self) -> Job | None:
        """The next chunk to do, which is then in somebody's hands; None where one must wait, or all are."""
        for number, group in enumerate(self._groups):
            gaps = group.gaps()
            if not gaps or (group.settled is None and group.in_hand):
                continue
            width = self._chosen(group, sum(stop - start for start, stop in gaps))
            start, end = gaps[0]
            job = Job(number, start, min(start + width, end), width)
            group.taken.add((job.start, job.stop))
            group.in_hand += 1
            return job
        return None

    def done(self, job: Job, chunk: Chunk) -> None:
        """What was handed out has been done."""
        self._groups[job.group].in_hand -= 1
        self._groups[job.group].done.append(chunk)

    def refused(self, job: Job) -> None:
        """What was handed out does not fit into memory.

        Raises:
          MemoryError: there is no narrower one.
        """
        if job.width in (self._width, 1):
            raise MemoryError(f"{job.width} runs at once need more than {self._budget:.3g} bytes")
        self._back(job)
        self._groups[job.group].refused.add(job.width)

    def lost(self, job: Job) -> None:
        """Whoever was doing it is gone."""
        self._back(job)
        place = (job.group, job.start)
        self._losses[place] = self._losses.get(place, 0) + 1
        if self._losses[place] >= self._tries:
            self._groups[job.group].taken.add((job.start, job.stop))
            self.given_up.append(job)

    @property
    def finished(self) -> bool:
        """Nothing is in anybody's hands, and nothing is left to hand out."""
        return not any(group.in_hand or group.gaps() for group in self._groups)

    def _back(self, job: Job) -> None:
        group = self._groups[job.group]
        group.taken.discard((job.start, job.stop))
        group.in_hand -= 1

    def _chosen(self, group: _Group, left: int) -> int:
        if group.settled is None:
            share = -(-left // self._workers)  # wider chunks would leave workers without any
            width = next_width(group.done, share, budget=self._budget, refused=group.refused)
            if width not in {chunk.width for chunk in group.done}:
                return width
            group.settled = width
        return group.settled
