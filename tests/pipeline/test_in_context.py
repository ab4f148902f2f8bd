"""A memory in the rollout: what composers are told of a queue of users, against the memory used one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import preferences, six_agents

from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.rollout import EpisodeConfig, collect_in_turn, composition_task
from lameta_jax.composition.task import Transition
from lameta_jax.composition.types import make_users
from lameta_jax.composition.users import foreign_users, misread_users, unread_users
from lameta_jax.intents.memory import MemoryConfig, empty_memory, remember
from lameta_jax.intents.memory import in_context as held_against
from lameta_jax.network.files import parse_scenario
from lameta_jax.pipeline.in_context import in_context_learning

CONFIG = MemoryConfig(capacity=6, num_recent=4, max_distance=0.15, prediction_variance=0.02)
FALLBACK = jnp.array([0.4, 0.3, 0.2, 0.1])
ROUNDS, LANES, HOPS = 8, 3, 2


@pytest.fixture(scope="module")
def users():
    count = ROUNDS * LANES
    read = np.stack([preferences(count, 1), preferences(count, 2)], axis=1)
    return unread_users(jax.random.key(5), make_users(preferences(count), read), 0.2, FALLBACK)


def play(key, slot, told):
    """Episodes of two steps whose observation is what was told, and whose return depends on it and on the user."""
    del key, slot
    reward = jnp.stack([told.translated[:, 0, 0], jnp.sin(told.index.astype(float))])
    none = jnp.zeros(reward.shape)
    batch = Transition(
        observation=jnp.broadcast_to(told.translated, (HOPS, *told.translated.shape)),
        action=none,
        log_prob=none,
        value=none,
        next_value=none,
        reward=reward,
        terminated=none > 0,
        truncated=none > 0,
        alive=none == 0,
    )
    return batch, reward, told.index


def test_every_queue_has_its_own_memory_of_every_elam(users):
    in_context = in_context_learning(CONFIG, FALLBACK)
    batch, _, served = collect_in_turn(play, in_context, ROUNDS, jax.random.key(0), None, users)
    assert np.array_equal(served, users.index)  # in the order in which they came
    regimes = set()
    for lane in range(LANES):
        memories = [empty_memory(CONFIG), empty_memory(CONFIG)]
        for place in range(lane, ROUNDS * LANES, LANES):
            total = float(batch.reward[:, place].sum())
            for elam in range(2):
                said, failed = users.translated[place, elam], users.failed[place, elam]
                expected = held_against(memories[elam], said, failed, FALLBACK, CONFIG)
                regimes.add(int(expected.regime))
                for step in range(HOPS):
                    seen = np.asarray(batch.observation[step, place, elam])
                    assert seen == pytest.approx(np.asarray(expected.preference), abs=1e-6)
                if not failed:  # the prediction is remembered, not what became of it
                    memories[elam] = remember(memories[elam], place, said, total)
    assert regimes == {0, 1, 2, 3}  # the case shows everything that can happen


@pytest.mark.slow
def test_a_policy_is_told_what_the_memory_makes_of_translations(users):
    policy = make_policy(PolicyConfig(width=8, context_width=16))
    params = make_env_params(parse_scenario(six_agents(), "test"), EnvConfig(mask_types=True))
    config = EpisodeConfig(num_slots=2, users_per_slot=ROUNDS * LANES, rounds=ROUNDS)
    seen = []
    for memory in (None, in_context_learning(CONFIG, FALLBACK)):
        task = composition_task(policy, params, config, memory)
        _, batch, _ = jax.jit(task.collect)(policy.init(jax.random.key(0)), users, jax.random.key(3))
        seen.append(np.asarray(batch.observation.preference[:, 0]))
    assert np.array_equal(seen[0][:, :LANES], seen[1][:, :LANES])  # nothing to remember yet, and none failed
    assert not np.array_equal(seen[0], seen[1])


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
