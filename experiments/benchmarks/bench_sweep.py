"""A sweep of 256 trainings: runs at once beside the same runs one by one, and what the sweep itself chooses.

    lameta bench sweep                            # or: python experiments/benchmarks/bench_sweep.py

Trainings of the pointer policy on lameta-81, learning rates drawn at random. First one run after the other by the whole
processor, in a process of its own; then contenders that take turns, several at once on one device or shared by devices
of one core each. Then all runs are done by `sweep`, which measures by itself; its choice must not cost more per run
than one by one.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import jax
from benchmark import Contender, comparison, finish, measured, options, report

from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.policy_sweep import ANY, PolicySweep, PolicySweepConfig, checked_space
from lameta_jax.scale.chunks import ChunkRunner, SweepConfig
from lameta_jax.scale.cores import cores_as_devices
from lameta_jax.scale.distributed import device_mesh
from lameta_jax.scale.space import Group, LogUniform, random_runs
from lameta_jax.scale.sweep import sweep
from lameta_jax.scale.timing import Timing, interleaved, peak_memory
from lameta_jax.scale.width import seconds_per_run

BUDGET = 2e9  # bytes
ALONE = "one by one"
AIM = 1.0


def main() -> None:
    given = options(__doc__)
    cores_as_devices()
    runs, updates, users, repeats = (8, 1, 16, 2) if given.quick else (256, 10, 64, 5)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        timing = pool.submit(alone, runs, updates, users, repeats).result()
    trained, group = problem(runs, updates, users)
    mesh = device_mesh()
    contenders = {f"{ALONE}, one of {mesh.size} devices": contender(trained, group, 1, None)}
    for width in (4,) if given.quick else (2, 8, 32):
        contenders[f"{width} at once, one device"] = contender(trained, group, width, None)
        if mesh.size > 1:
            contenders[f"{width} at once, {mesh.size} devices"] = contender(trained, group, width, mesh)
    rows = {ALONE: {"per_second": 1 / timing.median, "seconds": timing._asdict()}}
    rows |= measured(contenders, repeats)
    with tempfile.TemporaryDirectory() as folder:
        config = SweepConfig(memory_bytes=BUDGET)
        found = sweep(trained.train, [group], config, folder=Path(folder), mesh=mesh)
    times = seconds_per_run(found.chunks)
    steady = sum(chunk.seconds for chunk in found.chunks) / runs
    rows["the sweep"] = {"per_second": 1 / steady}
    comparisons = [
        comparison(f"a sweep of {runs} trainings", rows, "the sweep", ALONE, unit="trainings", aim=AIM)
    ]
    results = {
        "sizes": {"runs": runs, "updates": updates, "users": users},
        "contenders": rows,
        "sweep": {
            "seconds_per_run": steady,
            "seconds_per_run_one_by_one": timing.median,
            "compile_seconds": sum(chunk.compile_seconds for chunk in found.chunks),
            "seconds_per_run_by_width": {str(width): seconds for width, seconds in times.items()},
            "runs_by_width": {
                str(width): sum(chunk.count for chunk in found.chunks if chunk.width == width)
                for width in times
            },
            "program_bytes": max(chunk.bytes for chunk in found.chunks),
            "budget_bytes": BUDGET,
            "peak_bytes_of_the_process": peak_memory(),
        },
    }
    report(f"chosen: {results['sweep']['runs_by_width']}")
    finish("sweep", comparisons, results, given, seeds=[0])


def problem(runs: int, updates: int, users: int) -> tuple[PolicySweep, Group]:
    """Trainings that differ in their learning rates."""
    trained = PolicySweep([load_named("lameta-81")], (ANY,), PolicySweepConfig(updates=updates, users=users))
    space = checked_space("ppo", {"learning_rate": LogUniform(1e-4, 1e-2)})
    (group,) = trained.in_world(random_runs(trained.spaces(space)[0], runs, (0,), draw_seed=0), 0)
    return trained, group


def alone(runs: int, updates: int, users: int, repeats: int) -> Timing:
    """One run after the other, in a process where all cores are one device."""
    (found,) = interleaved(
        {ALONE: contender(*problem(runs, updates, users), 1, None).call}, 4 * repeats
    ).values()
    return found


def contender(trained: PolicySweep, group: Group, width: int, mesh: jax.sharding.Mesh | None) -> Contender:
    """The first runs of the group."""
    runner = ChunkRunner(trained.train, 0, group, SweepConfig(), mesh)
    content = runner.do(0, width)
    assert content is not None
    report(f"{width} at once: compiled in {content.chunk.compile_seconds:.0f} s")
    return Contender(partial(runner.do, 0, width), width)


if __name__ == "__main__":
    main()
