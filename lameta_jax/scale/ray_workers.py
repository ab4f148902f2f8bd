"""Workers of a Ray cluster that do chunks of a sweep, and are replaced when they are lost; see `ray_engine`."""

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lameta_jax.scale.chunks import Block, ChunkRunner, Content, SweepConfig, Train
from lameta_jax.scale.space import Group
from lameta_jax.scale.spread import Job, Plan


class WorkerError(RuntimeError):
    """Workers were lost again and again; the message is one line."""


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


class Crew:
    """The workers, and what each is at."""

    def __init__(self, ray: Any, arguments: tuple, resources: dict[str, float], tries: int):
        self._ray, self._tries = ray, tries
        self._kind = ray.remote(Worker).options(**resources)
        self._arguments = [ray.put(argument) for argument in arguments]  # sent to each machine once
        # By what is awaited, the worker and its job; none: it begins.
        self._at: dict[Any, tuple[Any, Job | None]] = {}
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

    def next_done(self, plan: Plan) -> tuple[Job, Content | None] | None:
        """Keeps everybody busy until a chunk is done, or does not fit into memory; None if the plan is finished."""
        while not plan.finished:
            while self._idle and (job := plan.hand_out()) is not None:
                worker = self._idle.pop()
                self._at[worker.do.remote(job)] = (worker, job)
            worker, job, value = self._next(plan)
            if worker is not None:
                self._idle.append(worker)
            if worker is not None and job is not None:
                return job, value
        return None

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
def cluster(address: str | None, workers: int | None, cpus: float) -> Iterator[Any]:
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


def room_for(ray: Any, resources: Mapping[str, float], workers: int | None) -> int:
    """Workers to start: those asked for, or as many as the cluster has room for now."""
    needed = {"CPU": resources["num_cpus"], "GPU": resources["num_gpus"]}

    def fitting(there: Mapping[str, float]) -> int:
        return min(int(there.get(name, 0) // need) for name, need in needed.items() if need)

    if not fitting(ray.cluster_resources()):
        raise WorkerError(
            f"the cluster has no place for a worker with {needed['CPU']:g} CPUs and {needed['GPU']:g} GPUs"
        )
    return workers or max(1, fitting(ray.available_resources()))


def has_gpus(ray: Any) -> bool:
    """Whether the cluster has GPUs."""
    return ray.cluster_resources().get("GPU", 0) > 0
