"""Searches over sizes of a function whose best sizes are known, cut short and taken up again."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.scale.checkpoint import CheckpointError
from lameta_jax.scale.chunks import SweepConfig
from lameta_jax.scale.optuna_search import optuna_search
from lameta_jax.scale.space import grid_runs
from lameta_jax.scale.sweep import sweep

SIZES = {"width": range(8, 41, 8), "layers": ((16,), (16, 16))}
RATES = (0.25, 0.5, 1.0)


def train(settings, key):
    """Best at width 24 with two layers and rate 0.5: 10 there."""
    width, layers = settings["width"], len(settings["layers"])
    noise = jax.random.uniform(key, (width,))[0]
    score = 8.0 + layers - ((width - 24) / 8) ** 2 - (settings["rate"] - 0.5) ** 2 + 0.01 * noise
    return {"score": score}, {"noise": noise}


def runs(fixed):
    return grid_runs({"rate": RATES, **fixed}, seeds=range(5))


def search(folder, trials, done=lambda progress: None, **options):
    config = SweepConfig(width=5, keep=2)

    def do(groups, inner):
        return sweep(train, groups, config, folder=inner, report=done)

    return optuna_search(do, runs, SIZES, folder=folder, trials=trials, **options)


def expected(width, layers, rate, seed):
    noise = float(jax.random.uniform(jax.random.key(seed), (width,))[0])
    return 8 + len(layers) - ((width - 24) / 8) ** 2 - (rate - 0.5) ** 2 + 0.01 * noise


def test_all_runs_are_in_the_table_and_trials_are_worth_their_best_configuration(tmp_path):
    told = []
    found = search(tmp_path, 4, report=told.append)
    assert found.trials == told and [one.number for one in told] == list(range(4))
    different = {(one.sizes["width"], one.sizes["layers"]) for one in told}
    table = found.table
    assert len(table["run"]) == 15 * len(different) and table["run"] == list(range(15 * len(different)))
    for row, score in enumerate(table["score"]):
        sizes = told[table["trial"][row]].sizes
        assert (table["width"][row], table["layers"][row]) == (sizes["width"], sizes["layers"])
        values = [table[name][row] for name in ("width", "layers", "rate", "seed")]
        assert score == pytest.approx(expected(*values), rel=1e-5)
    for one in told:  # the interquartile mean of five: the outer ones are cut off in part
        scores = sorted(expected(**one.sizes, rate=0.5, seed=seed) for seed in range(5))
        middle = (0.75 * scores[1] + scores[2] + 0.75 * scores[3]) / 2.5
        assert one.value == pytest.approx(middle, rel=1e-4)
    assert [one.score for one in found.best] == sorted(table["score"], reverse=True)[:2]
    assert [table["score"][one.run] for one in found.best] == [one.score for one in found.best]


def test_what_does_not_fit_or_has_no_score_counts_as_the_worst(tmp_path):
    def fails(settings, key):
        scores, kept = train(settings, key)
        return {"score": jnp.nan * scores["score"] if settings["width"] < 20 else scores["score"]}, kept

    def do(groups, inner):
        if groups[0].fixed["width"] == 40:
            raise MemoryError("5 runs at once need more than 10 bytes")
        return sweep(fails, groups, SweepConfig(width=15), folder=inner)

    found = optuna_search(do, runs, {"width": SIZES["width"], "layers": ((16,),)}, folder=tmp_path, trials=12)
    assert len(found.trials) == 12 and {one.sizes["width"] for one in found.trials} >= {8, 24, 40}
    for one in found.trials:
        assert np.isnan(one.value) == (one.sizes["width"] in (8, 16, 40))
    assert 40 not in found.table["width"] and 8 in found.table["width"]


def test_a_folder_of_another_search_is_refused(tmp_path):
    search(tmp_path, 1, purpose={"version": "1"})
    search(tmp_path, 1, purpose={"version": "1"})
    for options, named in (
        ({"seed": 1, "purpose": {"version": "1"}}, "seed"),
        ({"purpose": {"version": "2"}}, "version"),
        ({}, "version"),
    ):
        with pytest.raises(CheckpointError, match=f"a search with another {named};"):
            search(tmp_path, 1, **options)


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from scale.test_optuna_search import search

    chunks = []

    def done(progress):
        chunks.append(progress.chunk)
        if len(chunks) == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

    search(Path(sys.argv[1]), 3, done)
"""


@pytest.mark.slow
def test_a_killed_search_ends_as_one_that_was_not(tmp_path):
    """Killed in the second trial, after one of its three chunks."""
    program = [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path / "killed"), "4"]
    tests = str(Path(__file__).parents[1])
    ended = subprocess.run(program, check=False, env={**os.environ, "PYTHONPATH": tests})
    assert ended.returncode == -signal.SIGKILL
    told = []
    resumed = search(tmp_path / "killed", 3, told.append)
    whole = search(tmp_path / "whole", 3)
    assert resumed.trials[1].sizes == whole.trials[1].sizes
    assert [one.resumed for one in told[:3]] == [True, False, False]
    assert resumed.table.keys() == whole.table.keys()
    assert [one.sizes for one in resumed.trials] == [one.sizes for one in whole.trials]
    np.testing.assert_allclose(resumed.table["score"], whole.table["score"], rtol=1e-6)
    assert [one.run for one in resumed.best] == [one.run for one in whole.best]
