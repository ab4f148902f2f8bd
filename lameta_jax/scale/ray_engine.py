"""Sweeps over the machines of a Ray cluster: the same chunks and files as those of `sweep`, done by many workers.

Workers are plain Ray actors: Ray Tune wants one trial per configuration, and here a chunk of many configurations is
what one program does and what is done again when a worker is lost. Each worker keeps the programs that it has compiled.
The driver alone writes the folder, every chunk as it arrives, so that neither a killed worker nor a killed driver loses
more than the chunks in hand; what one engine has begun, the other can finish.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from lameta_jax.scale.chunks import Block, Content, SweepConfig, Train, kept_starts, load, save
from lameta_jax.scale.ray_workers import Crew, WorkerError, cluster, has_gpus, room_for
from lameta_jax.scale.space import Group
from lameta_jax.scale.spread import Plan
from lameta_jax.scale.sweep import Progress, Results, Swept, check_blocks, identity


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
    gpus: float | None = None,
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
      cpus, gpus: of every worker; gpus not given: one where the cluster has any.
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
    plan = Plan([group.size for group in groups], budget=config.memory_bytes, tries=tries)
    for content in _there(folder, purpose, len(groups)):
        if plan.found(content.chunk):
            results.add(content)
            report(results.progress(content.chunk, True))
    if plan.finished:
        return results.swept()
    with cluster(address, workers, cpus) as ray:
        resources = {"num_cpus": cpus, "num_gpus": float(has_gpus(ray)) if gpus is None else gpus}
        room = room_for(ray, resources, workers)
        crew = Crew(ray, (make_train, list(groups), config), resources, tries)
        try:
            for _ in range(room):
                crew.hire()
            size = crew.first_built()
            if size is not None:
                check_blocks(groups, size)
            plan.begin(room, size or config.width)
            while (ended := crew.next_done(plan)) is not None:
                job, content = ended
                if content is None:
                    plan.refused(job)
                    continue
                save(folder, purpose, content)
                plan.done(job, content.chunk)
                results.add(content)
                told = results.progress(content.chunk, False)
                report(told._replace(seconds_left=told.seconds_left / room))
        finally:
            crew.dismiss()
    if plan.given_up:
        places = ", ".join(f"{job.start} to {job.stop - 1} of program {job.group}" for job in plan.given_up)
        raise WorkerError(f"runs {places}: {tries} workers were lost while doing them; all others are done")
    return results.swept()


def _there(folder: Path, purpose: Mapping[str, str], groups: int) -> Iterator[Content]:
    """The chunks that the folder has."""
    for number in range(groups):
        for start in kept_starts(folder, number):
            content = load(folder, purpose, number, start)
            if content is not None:
                yield content
