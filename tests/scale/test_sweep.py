"""Sweeps of functions whose results are known, cut short and taken up again."""

import os
import signal
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.scale.checkpoint import CheckpointError
from lameta_jax.scale.chunks import ChunkRunner, SweepConfig
from lameta_jax.scale.space import Choice, Fixed, LogUniform, SpaceError, grid_runs, random_runs
from lameta_jax.scale.sweep import sweep

SPACE = {"rate": (0.5, 1.0, 2.0), "corner": Choice(("low", "high")), "power": Fixed((1, 2))}


def train(settings, key):
    """A score in closed form; what is kept is the settings themselves."""
    noise = jax.random.uniform(key)
    score = settings["rate"] ** settings["power"] + 10.0 * settings["corner"] + noise
    return {"score": score, "noise": noise}, {"rate": settings["rate"], "noise": noise}


def expected(row):
    noise = float(jax.random.uniform(jax.random.key(row["seed"])))
    return row["rate"] ** row["power"] + 10.0 * (row["corner"] == "high") + noise


def rows(table):
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


@pytest.mark.parametrize("width", [None, 1, 5, 18, 32])
def test_every_run_gets_its_own_settings_and_seed_whatever_the_width(tmp_path, width):
    groups = grid_runs(SPACE, seeds=(3, 4, 9))
    found = sweep(train, groups, SweepConfig(width=width), folder=tmp_path)
    table = rows(found.table)
    assert len(table) == 3 * 2 * 2 * 3 and [row["run"] for row in table] == list(range(36))
    assert len({(row["rate"], row["corner"], row["power"], row["seed"]) for row in table}) == 36
    for row in table:
        assert row["score"] == pytest.approx(expected(row), rel=1e-6)


def test_the_best_runs_are_kept_with_their_results(tmp_path):
    groups = grid_runs(SPACE, seeds=(3, 4, 9))
    found = sweep(train, groups, SweepConfig(width=4, keep=3), folder=tmp_path)
    scores = np.asarray(found.table["score"])
    assert [kept.run for kept in found.best] == list(np.argsort(-scores)[:3])
    for kept in found.best:
        assert kept.score == scores[kept.run]
        assert float(kept.result["rate"]) == found.table["rate"][kept.run]
        assert float(kept.result["noise"]) == pytest.approx(found.table["noise"][kept.run])


def test_a_run_without_a_score_is_last_and_in_the_table(tmp_path):
    def fails(settings, key):
        return {"score": jnp.where(settings["rate"] > 1, jnp.nan, settings["rate"])}, settings["rate"]

    found = sweep(
        fails, grid_runs({"rate": (0.5, 1.0, 2.0)}, seeds=(0,)), SweepConfig(keep=2), folder=tmp_path
    )
    assert np.isnan(found.table["score"][2]) and [kept.run for kept in found.best] == [1, 0]


def test_one_program_per_width_and_group(tmp_path):
    traced = []

    def counted(settings, key):
        traced.append(settings["power"])
        return train(settings, key)

    groups = grid_runs(SPACE, seeds=range(4))  # two groups of 24 runs
    sweep(counted, groups, SweepConfig(width=5), folder=tmp_path)
    assert traced == [1, 2]


def test_what_is_done_is_not_done_again(tmp_path):
    groups, told = grid_runs(SPACE, seeds=(3, 4, 9)), []
    first = sweep(train, groups, SweepConfig(width=4), folder=tmp_path)
    chunks = sorted(tmp_path.iterdir())
    chunks[-1].unlink()
    chunks[2].unlink()
    again = sweep(train, groups, SweepConfig(width=4), folder=tmp_path, report=told.append)
    assert again.table == first.table
    assert [one.resumed for one in told] == [
        place not in (2, len(chunks) - 1) for place in range(len(chunks))
    ]
    assert told[-1].done == told[-1].total == 36 and told[-1].seconds_left == 0


def test_chunks_of_another_sweep_are_refused(tmp_path):
    sweep(train, grid_runs(SPACE, seeds=(3,)), folder=tmp_path)
    with pytest.raises(CheckpointError, match="another settings or seeds"):
        sweep(train, grid_runs(SPACE, seeds=(4,)), folder=tmp_path)
    with pytest.raises(CheckpointError, match="another version"):
        sweep(train, grid_runs(SPACE, seeds=(3,)), folder=tmp_path, purpose={"version": "2"})
    damaged = sorted(tmp_path.iterdir())[0]
    content = bytearray(damaged.read_bytes())
    content[-1] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged"):
        sweep(train, grid_runs(SPACE, seeds=(3,)), folder=tmp_path)


def test_a_program_that_needs_too_much_memory_is_not_run(tmp_path):
    def hungry(settings, key):
        square = jax.random.normal(key, (300, 300)) * settings["rate"]
        return {"score": jnp.trace(square @ square @ square)}, settings["rate"]

    group = grid_runs({"rate": tuple(np.linspace(0, 1, 64))}, seeds=(0,))[0]
    one = ChunkRunner(hungry, 0, group, SweepConfig()).do(0, 1)
    budget = 8.0 * one.chunk.bytes
    assert one.chunk.bytes > 300 * 300 * 4
    assert ChunkRunner(hungry, 0, group, SweepConfig(memory_bytes=budget)).do(0, 64) is None
    found = sweep(hungry, [group], SweepConfig(memory_bytes=budget), folder=tmp_path)
    assert max(chunk.bytes for chunk in found.chunks) <= budget and len(found.table["score"]) == 64
    with pytest.raises(MemoryError, match="1 runs at once need more than"):
        sweep(hungry, [group], SweepConfig(memory_bytes=10.0), folder=tmp_path / "none")


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from lameta_jax.scale.chunks import SweepConfig
    from lameta_jax.scale.sweep import sweep
    from scale.test_sweep import SPACE, train
    from lameta_jax.scale.space import grid_runs

    def report(progress):
        if not progress.resumed and progress.chunk.start + progress.chunk.count >= int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    sweep(train, grid_runs(SPACE, range(3)), SweepConfig(width=4), folder=Path(sys.argv[1]), report=report)
"""


def test_a_killed_sweep_ends_in_the_table_of_one_that_was_not(tmp_path):
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), "12"]
    tests = os.path.dirname(os.path.dirname(__file__))
    ended = subprocess.run(program, check=False, env={**os.environ, "PYTHONPATH": tests})
    assert ended.returncode == -signal.SIGKILL
    groups, told = grid_runs(SPACE, range(3)), []
    whole = sweep(train, groups, SweepConfig(width=4), folder=tmp_path / "whole")
    resumed = sweep(train, groups, SweepConfig(width=4), folder=tmp_path / "killed", report=told.append)
    assert sum(one.resumed for one in told) == 3
    assert resumed.table == whole.table
    assert [kept.run for kept in resumed.best] == [kept.run for kept in whole.best]


def test_random_runs_are_in_their_ranges_and_repeatable():
    space = {"rate": LogUniform(1e-4, 1e-2), "batch": (16.0, 32.0), "width": Fixed((8, 9))}
    groups = random_runs(space, 200, seeds=(0, 1), draw_seed=7)
    assert [group.fixed for group in groups] == [{"width": 8}, {"width": 9}]
    for group in groups:
        rate = group.settings["rate"]
        assert group.size == 400 and rate.min() >= 1e-4 and rate.max() <= 1e-2
        assert np.median(np.log10(rate)) == pytest.approx(-3, abs=0.2)  # even in logarithms
        assert set(group.settings["batch"]) == {16.0, 32.0}
        assert (rate[::2] == rate[1::2]).all() and list(group.seed[:4]) == [0, 1, 0, 1]
    again = random_runs(space, 200, seeds=(0, 1), draw_seed=7)
    assert (again[0].settings["rate"] == groups[0].settings["rate"]).all()
    other = random_runs(space, 200, seeds=(0, 1), draw_seed=8)
    assert (other[0].settings["rate"] != groups[0].settings["rate"]).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: grid_runs({"rate": ()}, (0,)), "rate: no values"),
        (lambda: grid_runs({"rate": LogUniform(1.0, 2.0)}, (0,)), "rate: a grid needs values"),
        (lambda: grid_runs({"rate": (1.0,)}, ()), "no seeds"),
        (lambda: random_runs({"rate": LogUniform(0.0, 2.0)}, 3, (0,), 0), "must be > 0"),
        (lambda: random_runs({"rate": LogUniform(2.0, 2.0)}, 3, (0,), 0), "2.0 must be less than 2.0"),
        (lambda: random_runs({"rate": (1.0,)}, 0, (0,), 0), "0 configurations"),
    ],
)
def test_spaces_without_runs_are_refused(make, message):
    with pytest.raises(SpaceError, match=message):
        make()
