"""A memory in the rollout: what policies are told of a queue of users, against the memory used one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import preferences, six_agents

from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import make_users
from lameta_jax.composition.users import foreign_users, misread_users, unread_users
from lameta_jax.intents.memory import MemoryConfig, empty_memory, in_context, remember
from lameta_jax.network.files import parse_scenario
from lameta_jax.pipeline.in_context import in_context_learning

POLICY = make_policy(PolicyConfig(width=8, context_width=16))
PARAMS = make_env_params(parse_scenario(six_agents(), "test"), EnvConfig(mask_types=True))
CONFIG = MemoryConfig(capacity=6, num_recent=4, max_distance=0.15, prediction_variance=0.02)
FALLBACK = jnp.array([0.4, 0.3, 0.2, 0.1])
ROUNDS, LANES = 8, 3


@pytest.fixture(scope="module")
def pool():
    users = make_users(preferences(40), np.stack([preferences(40, 1), preferences(40, 2)], axis=1))
    return unread_users(jax.random.key(5), users, 0.2, FALLBACK)


@pytest.fixture(scope="module")
def played(pool):
    config = EpisodeConfig(num_slots=2, users_per_slot=ROUNDS * LANES, rounds=ROUNDS)
    task = composition_task(POLICY, PARAMS, config, in_context_learning(CONFIG, FALLBACK))
    params = POLICY.init(jax.random.key(0))
    return jax.jit(task.collect)(params, pool, jax.random.key(3))[1]


def test_every_queue_has_its_own_memory_of_every_elam(pool, played):
    """The E-LAM in force first is 0, so the first observation shows what memory made of its translations."""
    drawn = np.asarray(users_of(pool))
    returns = np.asarray(played.reward.sum(axis=1))
    seen = np.asarray(played.observation.preference[:, 0])
    regimes = set()
    for slot in range(2):
        for lane in range(LANES):
            memory = empty_memory(CONFIG)
            for round_ in range(ROUNDS):
                place = round_ * LANES + lane
                user = int(drawn[slot, place])
                said, failed = pool.translated[user, 0], pool.failed[user, 0]
                expected = in_context(memory, said, failed, FALLBACK, CONFIG)
                regimes.add(int(expected.regime))
                assert seen[slot, place] == pytest.approx(np.asarray(expected.preference), abs=1e-6)
                if not failed:
                    memory = remember(memory, user, said, float(returns[slot, place]))
    assert regimes == {0, 1, 2, 3}  # the case shows everything that can happen


def users_of(pool):
    """Which users `collect` draws with that key."""
    _, key_users, _ = jax.random.split(jax.random.key(3), 3)
    shape = (2, ROUNDS * LANES)
    return jnp.floor(pool.preference.shape[0] * jax.random.uniform(key_users, shape)).astype(int)


def test_without_a_memory_translations_are_taken_as_they_are(pool):
    task = composition_task(POLICY, PARAMS, EpisodeConfig(num_slots=2, users_per_slot=ROUNDS * LANES))
    _, batch, _ = jax.jit(task.collect)(POLICY.init(jax.random.key(0)), pool, jax.random.key(3))
    expected = pool.translated[users_of(pool), 0]
    assert np.asarray(batch.observation.preference[:, 0]) == pytest.approx(np.asarray(expected))


def test_rounds_must_divide_the_users():
    with pytest.raises(ValueError, match="rounds = 3"):
        EpisodeConfig(users_per_slot=8, rounds=3)


def test_disturbed_users():
    users = make_users(preferences(4000), num_elams=2)
    others = make_users(preferences(50, 7), num_elams=2)
    theirs = {tuple(row) for row in np.asarray(others.preference).tolist()}
    misread = misread_users(jax.random.key(0), users, others, 0.2)
    foreign = foreign_users(jax.random.key(0), users, others, 0.2)
    changed = np.any(np.asarray(misread.translated) != np.asarray(users.translated), axis=(1, 2))
    assert changed.mean() == pytest.approx(0.2, abs=0.02)  # standard error 0.006
    assert np.array_equal(misread.preference, users.preference)
    assert {tuple(row) for row in np.asarray(misread.translated)[changed, 1].tolist()} <= theirs
    assert {tuple(row) for row in np.asarray(foreign.preference)[changed].tolist()} <= theirs
    assert np.array_equal(
        foreign.translated[:, 0], foreign.preference
    )  # read as well as they read themselves
    assert np.array_equal(foreign.index, users.index)
    unread = unread_users(jax.random.key(1), users, 0.1, FALLBACK)
    assert np.asarray(unread.failed).mean() == pytest.approx(0.1, abs=0.02)
    assert np.asarray(unread.translated)[np.asarray(unread.failed)] == pytest.approx(
        np.tile(FALLBACK, (int(unread.failed.sum()), 1))
    )
