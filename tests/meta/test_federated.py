"""Rounds of collaboration on quadratics, where every method has a closed form, and what all methods share."""

import os
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.meta.agents import Agents, at_rows, draw, over_agents
from lameta_jax.meta.baselines import local_steps, per_fedavg
from lameta_jax.meta.federated import Rates, RoundConfig, collaborators, make_federated, make_local
from lameta_jax.meta.man import MANConfig, meta_updates
from lameta_jax.meta.tasks import environments

CENTRES = np.array([[1.0, -2.0], [3.0, 0.5], [-1.0, 4.0]])
START = np.array([0.3, 0.7])
CURVATURE = np.array([0.5, 2.0])
SIZES = {"batch_size": 2}


def loss_fn(params, batch):
    """1/2 sum_i a_i (w_i - c_i)^2, averaged over the batch."""
    return 0.5 * jnp.mean(jnp.sum(jnp.asarray(CURVATURE)[None] * (params[None] - batch.samples) ** 2, axis=1))


@pytest.fixture
def agents():
    """Each agent's samples are all equal, so that it does not matter which are drawn."""
    parts = [np.array([2 * agent, 2 * agent + 1]) for agent in range(3)]
    return Agents(*(environments([part[half : half + 1] for part in parts]) for half in (0, 1)))


SAMPLES = jnp.asarray(np.repeat(CENTRES, 2, axis=0), dtype=float)


def after_a_round(work, agents, rates, make=make_federated, start=START, **config):
    program = make(loss_fn, work, RoundConfig(**config))
    state = program.init(jnp.asarray(start, dtype=float), jax.random.key(0))
    state, losses = program.advance(rates, state, agents, SAMPLES, 1)
    assert losses.shape == (1,)
    return np.asarray(state.params)


def descended(start, centre, rate, steps):
    return centre + (1 - rate * CURVATURE) ** steps * (start - centre)


def test_fedavg_is_the_mean_of_models_that_went_their_own_way(agents):
    found = after_a_round(local_steps(7, 2), agents, Rates(meta=0.1))
    np.testing.assert_allclose(found, descended(START, CENTRES, 0.1, 7).mean(axis=0), rtol=1e-5)


def test_reptile_goes_part_of_the_way(agents):
    found = after_a_round(local_steps(7, 2), agents, Rates(meta=0.1, server=0.25))
    mean = descended(START, CENTRES, 0.1, 7).mean(axis=0)
    np.testing.assert_allclose(found, 0.75 * START + 0.25 * mean, rtol=1e-5)


def test_local_training_leaves_each_agent_its_own_model(agents):
    start = np.tile(START, (3, 1))
    found = after_a_round(local_steps(7, 2), agents, Rates(meta=0.1), make_local, start)
    np.testing.assert_allclose(found, descended(START, CENTRES, 0.1, 7), rtol=1e-5)


@pytest.mark.parametrize("order", ["first_order", "second_order"])
def test_one_update_per_round_is_equation_6(agents, order):
    config = MANConfig(adaptation_steps=4, meta_gradient=order, **SIZES)
    found = after_a_round(meta_updates(config), agents, Rates(adaptation=0.2, meta=0.3))
    grads = CURVATURE * (descended(START, CENTRES, 0.2, 4) - CENTRES)
    if order == "second_order":
        grads = grads * (1 - 0.2 * CURVATURE) ** 4
    np.testing.assert_allclose(found, START - 0.3 * grads.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("work", "power"),
    [
        (per_fedavg(3, 2), 1),
        (meta_updates(MANConfig(adaptation_steps=1, updates=3, **SIZES)), 2),
    ],
)
def test_several_updates_before_the_mean(agents, work, power):
    """On a quadratic an update is w - c <- (1 - gamma a (1 - beta a)^power) (w - c), its power 2 if of second order."""
    found = after_a_round(work, agents, Rates(adaptation=0.2, meta=0.3))
    factor = (1 - 0.3 * CURVATURE * (1 - 0.2 * CURVATURE) ** power) ** 3
    np.testing.assert_allclose(found, (CENTRES + factor * (START - CENTRES)).mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("loop", ["mapped", "vectorised", "unrolled", "spread"])
def test_all_loops_over_agents_agree(agents, loop):
    work = meta_updates(MANConfig(adaptation_steps=2, updates=2, **SIZES))
    found = after_a_round(work, agents, Rates(adaptation=0.1, meta=0.1), loop=loop)
    expected = after_a_round(work, agents, Rates(adaptation=0.1, meta=0.1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_collaborators_are_distinct_and_present(agents):
    absent = agents.replace(inner=agents.inner.replace(size=agents.inner.size * jnp.array([1, 0, 1])))
    for seed in range(5):
        chosen, held = collaborators(2, absent, jax.random.key(seed))
        assert sorted(chosen.tolist()) == [0, 2]
        np.testing.assert_array_equal(held.inner.index, absent.inner.index[chosen])
    counts = np.zeros(3)
    for key in jax.random.split(jax.random.key(0), 300):
        counts[collaborators(1, agents, key)[0]] += 1
    assert np.all(np.abs(counts - 100) < 4 * np.sqrt(300 * 2 / 9))  # each in a third of the rounds


@pytest.mark.parametrize("count", [None, 3])
def test_agents_that_have_not_joined_are_no_part_of_the_mean(agents, count):
    absent = agents.replace(inner=agents.inner.replace(size=agents.inner.size * jnp.array([1, 0, 1])))
    config = MANConfig(adaptation_steps=1, **SIZES)
    rates = Rates(adaptation=0.2, meta=0.3)
    found = after_a_round(meta_updates(config), absent, rates, collaborators=count)
    grads = CURVATURE * (1 - 0.2 * CURVATURE) * (descended(START, CENTRES, 0.2, 1) - CENTRES)
    np.testing.assert_allclose(found, START - 0.3 * grads[[0, 2]].mean(axis=0), rtol=1e-5)


def test_some_of_the_agents_make_the_mean(agents):
    found = after_a_round(local_steps(7, 2), agents, Rates(meta=0.1), collaborators=1)
    models = descended(START, CENTRES, 0.1, 7)
    assert min(np.abs(models - found).max(axis=1)) < 1e-5


def test_rounds_may_be_cut_anywhere_and_rates_compile_nothing(agents):
    traces = []

    def counted(params, batch):
        traces.append(None)
        return loss_fn(params, batch)

    program = make_federated(counted, local_steps(3, 2), RoundConfig())
    whole = program.init(jnp.asarray(START, dtype=float), jax.random.key(0))
    cut = whole
    whole, losses = program.advance(Rates(meta=0.1), whole, agents, SAMPLES, 4)
    seen = len(traces)
    parts = []
    for _ in range(2):
        cut, part = program.advance(Rates(meta=0.1), cut, agents, SAMPLES, 2)
        parts.append(part)
    np.testing.assert_array_equal(cut.params, whole.params)
    np.testing.assert_array_equal(jnp.concatenate(parts), losses)
    assert int(cut.num_rounds) == 4
    once_more = len(traces)
    assert once_more > seen  # another number of rounds is another program
    program.advance(Rates(meta=0.2), cut, agents, SAMPLES, 2)
    assert len(traces) == once_more


def test_a_loss_sees_the_samples_that_were_drawn(agents):
    one = jax.tree.map(lambda leaf: leaf[1], agents)
    drawn = draw(jax.random.key(0), one.inner, (5, 3))
    assert drawn.rows.shape == (5, 3) and drawn.key.shape == (5,)
    assert set(np.asarray(drawn.rows).ravel().tolist()) == {2}
    seen = at_rows(lambda params, batch: batch.samples.sum() * params, SAMPLES)
    single = draw(jax.random.key(0), one.outer, (3,))
    np.testing.assert_allclose(seen(2.0, single), 2.0 * 3 * CENTRES[1].sum())


def test_over_agents_takes_any_pytree():
    work = lambda pair, shift: {"sum": pair[0] + pair[1] + shift}
    pair, shift = (jnp.arange(3.0), jnp.ones(3)), jnp.array([0.0, 10.0, 20.0])
    for loop in ("mapped", "vectorised", "unrolled", "spread", "auto"):
        assert over_agents(loop, work, pair, shift)["sum"].tolist() == [1.0, 12.0, 23.0]
    assert partial(over_agents, "mapped")(work, pair, shift)["sum"].shape == (3,)


SPREAD = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_num_cpu_devices", 3)
from lameta_jax.meta.agents import over_agents

def run(loop, shared, shifts, keys):
    return over_agents(loop, lambda shift, key: shared * shift + jax.random.normal(key, (2,)), shifts, keys)

arguments = jnp.array([2.0, 3.0]), jnp.arange(6.0), jax.random.split(jax.random.key(0), 6)
found = {loop: jax.jit(run, static_argnums=0)(loop, *arguments) for loop in ("auto", "mapped")}
assert len(found["auto"].sharding.device_set) == 3 and len(found["mapped"].sharding.device_set) == 1
np.testing.assert_allclose(found["auto"], found["mapped"], rtol=1e-6)
"""


def test_devices_share_agents():
    subprocess.run([sys.executable, "-c", SPREAD], check=True, env={**os.environ, "XLA_FLAGS": ""})
