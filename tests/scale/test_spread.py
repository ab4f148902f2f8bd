"""Plans followed by workers that are played here: in whatever order they end, every run is done once."""

import numpy as np
import pytest

from lameta_jax.scale.spread import Plan
from lameta_jax.scale.width import Chunk


def begun(sizes, workers, width, **limits):
    plan = Plan(sizes, **limits)
    plan.begin(workers, width)
    return plan


def play(plan, workers, seconds, seed=0, lose=lambda job, times: False):
    """Workers who end in a random order; `lose(job, times it was begun)` loses one. What was done, in order."""
    random, busy, done, times = np.random.default_rng(seed), [], [], {}
    while not plan.finished:
        while len(busy) < workers and (job := plan.hand_out()) is not None:
            busy.append(job)
        job = busy.pop(int(random.integers(len(busy))))
        times[job] = times.get(job, 0) + 1
        if lose(job, times[job]):
            plan.lost(job)
            continue
        count = job.stop - job.start
        plan.done(job, Chunk(job.group, job.start, count, job.width, seconds(job.width), 0.0, 8 * job.width))
        done.append(job)
    return done


def check_each_run_once(done, sizes):
    for group, size in enumerate(sizes):
        runs = sorted(run for job in done if job.group == group for run in range(job.start, job.stop))
        assert runs == list(range(size))


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("width", [None, 1, 7])
def test_every_run_is_done_once_whoever_is_lost(workers, width):
    for seed in range(5):
        plan = begun((50, 3, 121), workers, width, budget=float("inf"), tries=3)
        done = play(
            plan,
            workers,
            lambda n: 1.0 + 0.1 * n,
            seed,
            lose=lambda job, times: job.start % 3 == 0 and times < 3,
        )
        check_each_run_once(done, (50, 3, 121))
        assert not plan.given_up


def test_widths_are_tried_one_after_the_other_and_then_all_work():
    """No width costs more than a run alone: the widest is best, until four workers would not all have a chunk."""
    plan = begun((201,), 4, None, budget=float("inf"), tries=3)
    for width in (1, 4, 16):
        job = plan.hand_out()
        assert job.width == width and plan.hand_out() is None
        plan.done(job, Chunk(0, job.start, width, width, 1.0, 0.0, 0))
    jobs = [plan.hand_out() for _ in range(12)]
    assert [job.width for job in jobs[:12]] == 12 * [16]  # 64 is more than a quarter of the 180 left
    assert jobs[0].start == 21 and jobs[11].stop == 201 and plan.hand_out() is None
    assert [job.stop - job.start for job in jobs] == 11 * [16] + [4]


def test_what_is_there_is_not_done_again():
    plan = begun((30,), 2, 4, budget=float("inf"), tries=3)
    there = [Chunk(0, 8, 4, 4, 1.0, 0.0, 0), Chunk(0, 14, 4, 4, 1.0, 0.0, 0)]
    assert all(plan.found(chunk) for chunk in there)
    assert not plan.found(Chunk(0, 16, 4, 4, 1.0, 0.0, 0))  # of which one run is there already
    done = play(plan, 2, lambda n: 1.0)
    assert sorted((job.start, job.stop) for job in done) == [
        (0, 4), (4, 8), (12, 14), (18, 22), (22, 26), (26, 30),
    ]  # fmt: skip


def test_a_chunk_that_ends_every_worker_is_given_up_and_all_others_are_done():
    plan = begun((20, 5), 3, 5, budget=float("inf"), tries=2)
    done = play(plan, 3, lambda n: 1.0, lose=lambda job, times: (job.group, job.start) == (0, 10))
    assert [(job.group, job.start, job.stop) for job in plan.given_up] == [(0, 10, 15)]
    assert sorted((job.group, job.start) for job in done) == [(0, 0), (0, 5), (0, 15), (1, 0)]


def test_what_does_not_fit_is_done_in_narrower_chunks_or_not_at_all():
    plan = begun((100,), 1, None, budget=1e3, tries=3)
    job = plan.hand_out()
    plan.done(job, Chunk(0, 0, 1, 1, 1.0, 0.0, 10))
    job = plan.hand_out()
    assert job.width == 4
    plan.refused(job)
    assert (plan.hand_out().width, plan.hand_out().start) == (1, 2)
    for width in (None, 6):
        plan = begun((100,), 1, width, budget=1e3, tries=3)
        job = plan.hand_out()
        with pytest.raises(MemoryError, match=f"{job.width} runs at once need more than 1e\\+03 bytes"):
            plan.refused(job)
