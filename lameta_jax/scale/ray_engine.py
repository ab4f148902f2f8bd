"""Sweeps over the machines of a Ray cluster: the same chunks and files as those of `sweep`, done by many workers.

Workers are plain Ray actors: Ray Tune wants one trial per configuration, and here a chunk of many configurations is
what one program does and what is done again when a worker is lost. Each worker keeps the programs that it has compiled.
The driver alone writes the folder, every chunk as it arrives, so that neither a killed worker nor a killed driver loses
more than the chunks in hand; what one engine has begun, the other can finish.
"""

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lameta_jax.scale.chunks import (
    Block,
    ChunkRunner,
    Content,
    SweepConfig,
    Train,
    kept_starts,
    load,
    save,
)
from lameta_jax.scale.space import Group, SpaceError
from lameta_jax.scale.spread import Job, Plan
from lameta_jax.scale.sweep import Progress, Results, Swept, identity


class WorkerError(RuntimeError):
    """Workers were lost again and again; the message is one line."""


def ray_sweep(
    make_train: Callable[[], Train | Block],
    groups: Sequence[Group],
    config: SweepConfig | None = None,
    *,
    folder: Path,
    purpose: Mapping[str, str] | None = None,
    address: str | None = None,
    workers: int | None = None,
    cpus: float = 1,
    gpus: float = 0,
    tries: int = 3,
    report: Callable[[Progress], None] = lambda _: None,
) -> Swept:
    """`sweep` with the chunks spread over the workers of a Ray cluster; needs the extra `ray`.

    Args:
      make_train: builds what `sweep` takes, in every worker. It is sent there, so it must be picklable and hold no
        arrays of a device; `functools.partial` of a function of a module does.
      groups, config, folder, purpose, report: as for `sweep`. The folder is the driver's.
      address: of the cluster, or `auto` for the one that this machine belongs to; none: that in RAY_ADDRESS, else a Ray
        of this machine alone, which ends with the sweep.
      workers: how many; none: as many as the cluster has room for now.
      cpus, gpus: of every worker.
      tries: how often a chunk is begun before it is given up because its workers are lost.

    Raises:
      CheckpointError: a chunk's file is damaged or of another sweep, or none can be written.
      SpaceError: the runs of a group cannot be divided into blocks.
      MemoryError: not even the narrowest chunk fits into the given memory.
      WorkerError: chunks were given up, all others are done; or no worker has a place or can be started.
      ConnectionError: there is no cluster at the address.
      ModuleNotFoundError: Ray is missing.
    """
    config = config or SweepConfig()
    folder.mkdir(parents=True, exist_ok=True)
    purpose = identity(groups, config, purpose or {})
    results = Results(groups, config)
    with _cluster(address, workers, cpus) as ray:
        room = _room(ray, cpus, gpus, workers)
        crew = _Crew(ray, (make_train, list(groups), config), {"num_cpus": cpus, "num_gpus": gpus}, tries)
        try:
            for _ in range(room):
                crew.hire()
            size = crew.first_built()
            _check_blocks(groups, size)
            plan = Plan(
                [group.size for group in groups],
                width=size or config.width,
                workers=room,
                budget=config.memory_bytes,
                tries=tries,
            )

            def take_in(content: Content, resumed: bool) -> None:
                results.add(content)
                told = results.progress(content.chunk, resumed)
                report(told._replace(seconds_left=told.seconds_left / room))

            for content in _there(folder, purpose, len(groups)):
                if plan.found(content.chunk):
                    take_in(content, True)
            while not plan.finished:
                job, content = crew.next_done(plan)
                if content is None:
                    plan.refused(job)
                    continue
                save(folder, purpose, content)
                plan.done(job, content.chunk)
                take_in(content, False)
        finally:
            crew.dismiss()
    if plan.given_up:
        places = ", ".join(f"{job.start} to {job.stop - 1} of program {job.group}" for job in plan.given_up)
        raise WorkerError(f"runs {places}: {tries} workers were lost while doing them; all others are done")
    return results.swept()


class Worker:
    """Does chunks in a process of its own, where alone JAX is used."""

    def __init__(self, make_train: Callable[[], Train | Block], groups: list[Group], config: SweepConfig):
        self._make_train, self._groups, self._config = make_train, groups, config
        self._runners: dict[int, ChunkRunner] = {}
        self._train: Any = None

    def build(self) -> int | None:
        """Makes the training; the number of runs of a block, if it is one."""
        self._train = self._make_train()
        return self._train.size if isinstance(self._train, Block) else None

    def do(self, job: Job) -> Content | None:
        """The chunk; None if it does not fit into memory."""
        if job.group not in self._runners:
            self._runners[job.group] = ChunkRunner(
                self._train, job.group, self._groups[job.group], self._config
            )
        return self._runners[job.group].do(job.start, job.width, job.stop)


class _Crew:
    """The workers, and what each is at."""

    def __init__(self, ray: Any, arguments: tuple, resources: dict[str, float], tries: int):
        self._ray, self._tries = ray, tries
        self._kind = ray.remote(Worker).options(**resources)
        self._arguments = [ray.put(argument) for argument in arguments]  # sent to each machine once
        self._at: dict[
            Any, tuple[Any, Job | None]
        ] = {}  # what is awaited: the worker, and its job unless it begins
        self._idle: list[Any] = []
        self._failures = 0  # of workers to begin, since one did

    def hire(self) -> None:
        """Begins to start one more worker; where there is no room it waits for its turn, and the others go on."""
        worker = self._kind.remote(*self._arguments)
        self._at[worker.build.remote()] = (worker, None)

    def first_built(self) -> int | None:
        """What the first worker that is ready says of the training."""
        while True:
            worker, _, size = self._next(None)
            if worker is not None:
                self._idle.append(worker)
                return size

    def next_done(self, plan: Plan) -> tuple[Job, Content | None]:
        """Keeps everybody busy until a chunk is done, or does not fit into memory."""
        while True:
            while self._idle and (job := plan.hand_out()) is not None:
                worker = self._idle.pop()
                self._at[worker.do.remote(job)] = (worker, job)
            worker, job, value = self._next(plan)
            if worker is not None:
                self._idle.append(worker)
            if worker is not None and job is not None:
                return job, value

    def _next(self, plan: Plan | None) -> tuple[Any, Job | None, Any]:
        """Whoever is ready first, its job and what came of it; no worker where one was lost, and then replaced."""
        ref = self._ray.wait(list(self._at), num_returns=1)[0][0]
        worker, job = self._at.pop(ref)
        try:
            value = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            self._failures += job is None
            if job is not None and plan is not None:
                plan.lost(job)
            if self._failures < self._tries:
                self.hire()
            elif not self._at and not self._idle:
                reason = str(error).strip().splitlines()[0]
                raise WorkerError(f"{self._failures} workers could not be started: {reason}") from None
            return None, job, None
        if job is None:
            self._failures = 0
        return worker, job, value

    def dismiss(self) -> None:
        """Ends all workers."""
        for worker in [*self._idle, *(worker for worker, _ in self._at.values())]:
            self._ray.kill(worker)


@contextmanager
def _cluster(address: str | None, workers: int | None, cpus: float):
    """Ray, connected; what was not there before is gone afterwards."""
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:  # read when Ray is imported; a Ray of one machine and one user needs none of it
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        ray.init(address=address, **quiet)
    else:
        count = max(os.cpu_count() or 1, math.ceil((workers or 1) * cpus))
        ray.init(address="local", include_dashboard=False, num_cpus=count, **quiet)
    try:
        yield ray
    finally:
        ray.shutdown()


def _room(ray: Any, cpus: float, gpus: float, workers: int | None) -> int:
    """Workers to start: those asked for, or as many as the cluster has room for now."""
    needed = {"CPU": cpus, "GPU": gpus}

    def fitting(resources: Mapping[str, float]) -> int:
        return min(int(resources.get(name, 0) // need) for name, need in needed.items() if need)

    if not fitting(ray.cluster_resources()):
        raise WorkerError(f"the cluster has no place for a worker with {cpus:g} CPUs and {gpus:g} GPUs")
    return workers or max(1, fitting(ray.available_resources()))


def _check_blocks(groups: Sequence[Group], size: int | None) -> None:
    for group in groups:
        if size and group.size % size:
            raise SpaceError(f"{group.size} runs of a program must be a multiple of {size}, done together")


def _there(folder: Path, purpose: Mapping[str, str], groups: int):
    """The chunks that the folder has."""
    for number in range(groups):
        for start in kept_starts(folder, number):
            content = load(folder, purpose, number, start)
            if content is not None:
                yield content
