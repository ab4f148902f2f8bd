"""Algorithm 1: thresholds decide who adapts and whether the meta-model moves; agents come, go and change."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.meta.agents import Agents, at_rows
from lameta_jax.meta.federated import Rates, RoundConfig
from lameta_jax.meta.man import MANConfig, SlotConfig, Thresholds, adapted, run_slot
from lameta_jax.meta.tasks import environments

CENTRES = np.array([1.0, 3.0, -1.0, 9.0])  # of D_in and D_out of agents 0 and 1
RATES = Rates(adaptation=0.5, meta=0.5)
NEVER, ALWAYS = float("inf"), -float("inf")


def loss_fn(params, batch):
    """1/2 (w - c)^2, averaged over the batch."""
    return 0.5 * jnp.mean((params - batch.samples) ** 2)


@pytest.fixture
def agents():
    """Agent 0 adapts to 1 and is judged by 3; agent 1 adapts to -1 and is judged by 9."""
    return Agents(*(environments([np.array([half]), np.array([half + 2])]) for half in (0, 1)))


@pytest.fixture(scope="module")
def slot():
    man = MANConfig(adaptation_steps=1, batch_size=2)
    config = SlotConfig(man=man, evaluation_size=4, most_adaptations=3, most_updates=2)
    run = jax.jit(partial(run_slot, loss_fn, config))

    def call(thresholds, agents, start=0.0, optimal_loss=(0.0, 0.0)):
        samples = jnp.asarray(CENTRES, dtype=float)
        params = jnp.asarray(start, dtype=float)
        return run(RATES, thresholds, params, agents, samples, jax.random.key(0), jnp.asarray(optimal_loss))

    return call


def test_what_is_tolerated_is_left_alone(slot, agents):
    found = slot(Thresholds(NEVER, NEVER), agents)
    assert found.params == 0.0 and found.models.tolist() == [0.0, 0.0]
    assert found.adaptations.tolist() == [0, 0] and found.updates == 0
    np.testing.assert_allclose(found.personalisation, [9 / 2, 81 / 2])
    np.testing.assert_allclose(found.generalisation, ((9 - 1) / 2 + (81 - 1) / 2) / 2)


def test_agents_adapt_until_it_is_tolerable_or_they_have_tried_enough(slot, agents):
    """From 0 agent 0 halves its distance to 1: losses on 3 are 9/2, 25/8 and (9/4)^2 / 2 = 2.53; agent 1 gets worse."""
    found = slot(Thresholds(2.6, NEVER), agents)
    assert found.adaptations.tolist() == [2, 3]
    np.testing.assert_allclose(found.models, [0.75, -0.875])
    np.testing.assert_allclose(found.personalisation, [2.25**2 / 2, 9.875**2 / 2])
    assert found.params == 0.0 and found.updates == 0


def test_a_local_optimum_counts_from_its_own_loss(slot, agents):
    found = slot(Thresholds(2.6, NEVER), agents, optimal_loss=(2.0, 40.0))
    assert found.adaptations.tolist() == [0, 0]
    np.testing.assert_allclose(found.personalisation, [2.5, 0.5])


def test_the_meta_model_moves_by_6_until_it_has_moved_enough(slot, agents):
    """w <- w - gamma mean_k (1 - beta) (w_k - c_out), w_k = w / 2 + c_in / 2: from 0 by 0.25 mean(5/2, 19/2) = 1.5."""
    found = slot(Thresholds(NEVER, ALWAYS), agents)
    first = 0.25 * np.mean([3 - 0.5, 9 + 0.5])
    second = first + 0.25 * np.mean([3 - (first + 1) / 2, 9 - (first - 1) / 2])
    assert found.updates == 2
    np.testing.assert_allclose(found.params, second, rtol=1e-6)


def test_agents_that_have_not_joined_count_for_nothing(slot, agents):
    alone = agents.replace(inner=agents.inner.replace(size=jnp.array([1, 0])))
    found = slot(Thresholds(ALWAYS, NEVER), alone)
    assert found.adaptations.tolist() == [3, 0]
    model = 1 - 0.5**3
    np.testing.assert_allclose(found.generalisation, ((3 - model) ** 2 - (1 - model) ** 2) / 2, rtol=1e-6)


def test_a_slot_starts_from_what_the_last_one_left_as_environments_change(slot, agents):
    """Two slots with other data each: the second's errors are those of the moved meta-model on the new data."""
    first = slot(Thresholds(NEVER, ALWAYS), agents)
    later = jax.tree.map(lambda leaf: leaf[::-1], agents)
    second = slot(Thresholds(NEVER, NEVER), later, start=first.params)
    np.testing.assert_allclose(
        second.personalisation, (np.asarray(first.params) - CENTRES[[3, 1]]) ** 2 / 2, rtol=1e-6
    )


def test_an_agent_that_joins_adapts_the_meta_model(agents):
    task, one = (
        at_rows(loss_fn, jnp.asarray(CENTRES, dtype=float)),
        jax.tree.map(lambda leaf: leaf[1], agents),
    )
    found = adapted(task, jnp.asarray(4.0), one.inner, jax.random.key(0), 0.5, 2)
    np.testing.assert_allclose(found, -1 + 5 / 4)


def test_some_collaborators_make_an_update(agents):
    man = MANConfig(adaptation_steps=1, batch_size=2)
    config = SlotConfig(man=man, rounds=RoundConfig(collaborators=1), evaluation_size=4, most_updates=1)
    found = run_slot(
        loss_fn,
        config,
        RATES,
        Thresholds(NEVER, ALWAYS),
        jnp.asarray(0.0),
        agents,
        jnp.asarray(CENTRES, dtype=float),
        jax.random.key(0),
    )
    alone = [0.25 * (3 - 0.5), 0.25 * (9 + 0.5)]
    assert min(abs(float(found.params) - value) for value in alone) < 1e-6
