"""Every composer keeps the same contract; the baselines do what their names say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import dead_end, four_agents, preferences, six_agents

from lameta_jax.composition.annealing import anneal
from lameta_jax.composition.baselines import (
    even_users,
    greedy_actor,
    greedy_reward_actor,
    hide_intents,
    random_actor,
    replay_actor,
)
from lameta_jax.composition.env import EnvConfig, make_env_params, reset, step
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import beam_search, optimum

KEY = jax.random.key(0)
SIX = parse_scenario(six_agents(), "six")
PARAMS = make_env_params(SIX)
USERS = make_users(preferences(16), preferences(32, seed=1).reshape(16, 2, 4))
POLICY = make_policy(PolicyConfig(width=8, context_width=16, intent_width=4, elam_width=2))
WEIGHTS = POLICY.init(KEY)
ACTORS = {
    "random": random_actor(),
    "random of the type": random_actor(respect_types=True),
    "greedy": greedy_actor(),
    "greedy on the reward": greedy_reward_actor(),
    "replayed": replay_actor(jnp.tile(jnp.array([1, 2, 5]), (16, 1))),
    "policy": policy_actor(POLICY, WEIGHTS),
    "sampled policy": policy_actor(POLICY, WEIGHTS, greedy=False),
}


def served(actor, mapping=None, users=USERS, key=KEY):
    params = PARAMS if mapping is None else make_env_params(parse_scenario(mapping, "test"))
    return evaluate(key, actor, params, users)


@pytest.mark.parametrize("name", ACTORS)
def test_the_contract_of_an_actor(name):
    traces = []

    @jax.jit
    def play(key, act, params, users):
        traces.append(name)

        def serve(user):
            def one_step(carry, step_key):
                observation, state = carry
                action = act(step_key, observation, state, params)
                following, moved, *_ = step(step_key, state, action, params)
                allowed = observation.node_mask[action.node] & observation.elam_mask[action.elam]
                return (following, moved), (action, allowed)

            return jax.lax.scan(one_step, reset(key, params, user), jax.random.split(key, 3))[1]

        return jax.vmap(serve)(users)

    first = play(KEY, ACTORS[name], PARAMS, USERS)
    again = play(KEY, ACTORS[name], PARAMS, USERS)
    play(jax.random.key(1), ACTORS[name], PARAMS, even_users(USERS))
    assert len(traces) == 1  # other keys, users and conditions compile nothing anew
    assert jax.tree.all(jax.tree.map(np.array_equal, first, again))
    actions, allowed = first
    assert np.all(allowed)
    assert actions.node.shape == actions.elam.shape == (16, 3)
    assert np.issubdtype(actions.node.dtype, np.integer)


def test_random_is_uniform_over_what_is_legal():
    users = make_users(preferences(6000))
    chains = np.asarray(served(random_actor(), users=users).chain)
    # First any of six: 1000 each, standard deviation 29. From a0 then any of b0, b1.
    assert np.bincount(chains[:, 0]) == pytest.approx([1000] * 6, abs=120)
    assert np.mean(chains[chains[:, 0] == 0, 1] == 2) == pytest.approx(0.5, abs=0.08)


def test_random_of_the_type_always_serves_where_all_are_linked():
    evaluation = served(random_actor(respect_types=True))
    assert np.all(evaluation.succeeded) and len(np.unique(np.asarray(evaluation.chain), axis=0)) > 3


@pytest.mark.parametrize(
    ("preference", "chain"),
    [
        ([0.7, 0.1, 0.1, 0.1], [1, 3, 5]),  # always the capable one
        ([0.1, 0.1, 0.7, 0.1], [0, 2, 4]),  # always the fast one
        # Crashes: a0 2 < a1 3, b0 1 < b1 4, c1 0 < c0 5
        ([0.1, 0.1, 0.1, 0.7], [0, 2, 5]),
        # BER: all first agents tie; s . I decides for a1: I(C) = 1 counts more than latency. Then the better
        # links: a1-b0 0.015 < a1-b1 0.020, b0-c0 0.025 < b0-c1 0.030
        ([0.3, 0.6, 0.05, 0.05], [1, 2, 4]),
    ],
)
def test_greedy_takes_the_best_in_the_dominant_factor(preference, chain):
    evaluation = served(greedy_actor(), users=make_users(np.array([preference])))
    assert evaluation.chain.tolist() == [chain]


def test_greedy_goes_by_what_the_elam_says():
    users = make_users(np.array([[0.7, 0.1, 0.1, 0.1]]), np.array([[[0.1, 0.1, 0.7, 0.1]] * 2]))
    assert served(greedy_actor(), users=users).chain.tolist() == [[0, 2, 4]]


def test_greedy_may_run_into_a_dead_end():
    # b2 is faster than b1 but leads nowhere.
    evaluation = served(greedy_actor(), dead_end(), make_users(np.array([[0.1, 0.1, 0.7, 0.1]])))
    assert evaluation.qoe.tolist() == [-1.0] and not evaluation.succeeded.any()


def test_greedy_on_the_reward_weighs_all_factors():
    # Dominant is the capability, for which greedy takes b1. But with I(C), I(L), I(F/O) of b0 = 0.08, 0.96, 0.8 and of
    # b1 = 0.92, 0, 0.2, s . I is 0.4 * 0.08 + 0.3 * 0.96 + 0.3 * 0.8 = 0.56 for b0 and 0.43 for b1.
    users = make_users(np.array([[0.4, 0.0, 0.3, 0.3]]))
    assert served(greedy_actor(), users=users).chain.tolist() == [[1, 3, 5]]
    assert served(greedy_reward_actor(), users=users).chain.tolist() == [[1, 2, 5]]


def test_no_action_pays_a_larger_step_reward_than_greedy_on_the_reward_takes():
    @jax.jit
    @jax.vmap
    def rewards_along_the_way(user):
        observation, state = reset(KEY, PARAMS, user)
        taken, best = [], []
        for _ in range(3):
            action = greedy_reward_actor()(KEY, observation, state, PARAMS)

            def reward(node, state=state, elam=action.elam):
                return step(KEY, state, Action(node, elam), PARAMS)[-1].step_reward

            every = jax.vmap(reward)(jnp.arange(6))
            taken.append(every[action.node])
            best.append(jnp.max(jnp.where(observation.node_mask, every, -jnp.inf)))
            observation, state, *_ = step(KEY, state, action, PARAMS)
        return jnp.stack(taken), jnp.stack(best)

    taken, best = rewards_along_the_way(USERS)
    np.testing.assert_array_equal(taken, best)


@pytest.mark.parametrize("search", ["beam", "annealing"])
def test_searched_chains_are_replayed(search):
    """For what the E-LAMs say; the value is the user's own."""
    said = USERS.translated[:, 1]
    if search == "beam":
        chains = beam_search(SIX.network, SIX.request, said).agents
    else:
        chains = anneal(KEY, SIX.network, SIX.request, said).agents
    evaluation = served(replay_actor(chains))
    plug_in = served(replay_actor(optimum(SIX.network, SIX.request, said).agents[:, 0]))
    assert np.all(evaluation.feasible)
    # Eight chains: both searches see them all.
    np.testing.assert_allclose(evaluation.qoe, plug_in.qoe, rtol=1e-5)


@pytest.mark.parametrize("mask_types", [False, True])
@pytest.mark.parametrize(
    ("request_types", "types"),
    [
        ("ABC", "AABBCC"),
        ("ABC", "AABBCA"),  # the last agent, which an index of -1 would mean, can be the first of a chain
        ("AAA", "AAAAAA"),  # every agent fits everywhere
        ("A", "AABBCA"),
    ],
)
def test_no_chain_fails_when_it_is_replayed(request_types, types, mask_types):
    mapping = six_agents() | {"request": list(request_types)}
    for agent, kind in zip(mapping["agents"], types, strict=True):
        agent["type"] = kind
    params = make_env_params(parse_scenario(mapping, "test"), EnvConfig(mask_types=mask_types))
    chains = jnp.full((16, len(request_types)), -1)
    evaluation = evaluate(KEY, replay_actor(chains), params, USERS)
    assert evaluation.qoe.tolist() == [-1.0] * 16
    assert not np.any(evaluation.succeeded)


def test_a_failed_chain_leaves_the_others_alone():
    best = optimum(SIX.network, SIX.request, USERS.preference)
    evaluation = served(replay_actor(best.agents[:, 0].at[3].set(-1)))
    assert evaluation.succeeded.tolist() == [user != 3 for user in range(16)]
    np.testing.assert_allclose(np.delete(evaluation.qoe, 3), np.delete(best.qoe[:, 0], 3), rtol=1e-5)


def test_replayed_optima_reach_the_optimum():
    best = optimum(SIX.network, SIX.request, USERS.preference)
    evaluation = served(replay_actor(best.agents[:, 0]))
    assert evaluation.qoe == pytest.approx(np.asarray(best.qoe[:, 0]), rel=1e-5)
    assert evaluation.chain.tolist() == best.agents[:, 0].tolist()
    # Three translations by the cheapest E-LAM: one at the start and one for each step but the last.
    assert evaluation.fee == pytest.approx([0.03] * 16)
    assert evaluation.net_qoe == pytest.approx(np.asarray(best.qoe[:, 0]) - 0.03, rel=1e-5)


def test_hidden_intents_change_what_is_said_not_what_is_felt():
    hidden, even = hide_intents(USERS), even_users(USERS)
    assert np.all(hidden.translated == 0.25) and np.array_equal(hidden.preference, USERS.preference)
    assert np.all(even.translated == 0.25) and np.all(even.preference == 0.25)
    chains = served(policy_actor(POLICY, WEIGHTS), users=hidden).chain
    assert len(np.unique(np.asarray(chains), axis=0)) == 1


def test_an_actor_with_other_weights_compiles_nothing_anew():
    served(policy_actor(POLICY, WEIGHTS))
    compiled = evaluate._cache_size()
    served(policy_actor(POLICY, POLICY.init(jax.random.key(7))))
    assert evaluate._cache_size() == compiled


def test_evaluation_agrees_with_the_twin():
    evaluation = served(random_actor(respect_types=True), four_agents())
    names = ["a", "b1", "b2", "c"]
    for user in range(16):
        chain = [names[agent] for agent in np.asarray(evaluation.chain[user])]
        felt = twin.power_qoe(four_agents(), chain, np.asarray(USERS.preference[user], dtype=float))
        assert float(evaluation.qoe[user]) == pytest.approx(felt, rel=1e-4)
