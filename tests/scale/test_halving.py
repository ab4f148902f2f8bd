"""Successive halving on scores that are known, beside a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.scale.chunks import SweepConfig
from lameta_jax.scale.halving import HalvingConfig, Staged, halve
from lameta_jax.scale.space import SpaceError, grid_runs
from lameta_jax.scale.sweep import sweep


def init(settings, key):
    return {"value": jnp.zeros(()), "noise": jax.random.normal(key), "steps": jnp.zeros((), int), "key": key}


def advance(settings, state, stage):
    """Every stage adds the slope; a configuration with an early lead loses it at the last stage."""
    value = state["value"] + settings["slope"] * (stage + 1) + 0.01 * state["noise"]
    return {**state, "value": value, "steps": state["steps"] + 1}, {"score": value}


TRAIN = Staged(init, advance, lambda state: {"value": state["value"], "steps": state["steps"]})


def twin(slopes, seeds, config):
    """Score and number of stages of every configuration and seed."""
    noise = np.array([float(jax.random.normal(jax.random.key(seed))) for seed in seeds])
    value, stages = np.zeros((len(slopes), len(seeds))), np.zeros(len(slopes), int)
    alive = list(range(len(slopes)))
    for stage in range(config.stages):
        for one in alive:
            value[one] += slopes[one] * (stage + 1) + 0.01 * noise
            stages[one] += 1
        alive = sorted(alive, key=lambda one: -value[one].mean())[: len(alive) // config.eta]
    return value, stages


@pytest.mark.parametrize(("count", "stages", "eta"), [(12, 3, 2), (9, 3, 3), (5, 1, 4)])
def test_the_better_ones_go_on(tmp_path, count, stages, eta):
    slopes, seeds = np.random.default_rng(count).uniform(size=2 * count), (0, 1, 5)
    config = HalvingConfig(configurations=count, num_seeds=3, stages=stages, eta=eta)
    groups = grid_runs({"slope": tuple(slopes)}, seeds)
    found = sweep(halve(TRAIN, config), groups, SweepConfig(keep=2), folder=tmp_path)
    scores = np.reshape(found.table["score"], (2, count, 3))
    took = np.reshape(found.table["stages"], (2, count, 3))
    for bracket in range(2):  # each by itself
        value, expected = twin(slopes[bracket * count : (bracket + 1) * count], seeds, config)
        np.testing.assert_allclose(scores[bracket], value, rtol=1e-5)
        assert (took[bracket] == expected[:, None]).all()
    for kept in found.best:
        assert float(kept.result["value"]) == pytest.approx(found.table["score"][kept.run])
        assert int(kept.result["steps"]) == found.table["stages"][kept.run]


def test_later_stages_are_narrower():
    """The point of it: what a stage costs falls with the configurations that are left."""
    seen = []

    def counted(settings, state, stage):
        jax.debug.callback(lambda _: seen.append(stage), state["value"], ordered=False)
        return advance(settings, state, stage)

    config = HalvingConfig(configurations=8, stages=3, eta=2)
    many = halve(Staged(init, counted, TRAIN.result), config).many({})
    jax.block_until_ready(many({"slope": jnp.arange(8.0)}, jnp.zeros(8, jnp.uint32)))
    jax.effects_barrier()
    assert [seen.count(stage) for stage in range(3)] == [8, 4, 2]


def test_a_configuration_that_diverges_does_not_go_on():
    config = HalvingConfig(configurations=4, stages=2, eta=2)
    many = halve(TRAIN, config).many({})
    scores, _ = many({"slope": jnp.array([1.0, jnp.nan, 2.0, jnp.nan])}, jnp.zeros(4, jnp.uint32))
    assert scores["stages"].tolist() == [2, 1, 2, 1]


def test_runs_that_make_no_whole_blocks_are_refused(tmp_path):
    config = HalvingConfig(configurations=4, stages=2, eta=2)
    with pytest.raises(SpaceError, match="3 runs of a program must be a multiple of 4"):
        sweep(halve(TRAIN, config), grid_runs({"slope": (1.0, 2.0, 3.0)}, (0,)), folder=tmp_path)
    with pytest.raises(ValueError, match="3 configurations must be at least"):
        HalvingConfig(configurations=3, stages=2, eta=4)
