"""Every composer keeps the same contract; the baselines do what their names say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import dead_end, four_agents, preferences, six_agents

from lameta_jax.composition.baselines import (
    even_users,
    greedy_actor,
    hide_intents,
    random_actor,
    replay_actor,
)
from lameta_jax.composition.env import make_env_params, reset, step
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.types import make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import optimum

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
