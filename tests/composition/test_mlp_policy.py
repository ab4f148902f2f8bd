"""The actor as printed: flat over pairs of agent and E-LAM."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import four_agents, preferences, six_agents

from lameta_jax.composition.decisions import Decided, evaluate_action
from lameta_jax.composition.env import make_env_params, reset
from lameta_jax.composition.evaluate import evaluate, optimality
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.mlp_policy import MLPPolicyConfig, make_mlp_policy
from lameta_jax.composition.policy import PolicyConfig, policy_actor
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import optimum

KEY = jax.random.key(0)
SCENARIO = parse_scenario(six_agents(), "six")
PARAMS = make_env_params(SCENARIO)
POLICY = make_mlp_policy(MLPPolicyConfig(num_agents=6, common=PolicyConfig(width=16, context_width=32)))
USERS = make_users(preferences(64))


def test_it_is_the_softmax_over_all_pairs_that_the_paper_prints():
    weights = POLICY.init(KEY)
    observation, _ = reset(KEY, PARAMS, jax.tree.map(lambda leaf: leaf[0], USERS))
    assert observation.node_mask.all() and observation.elam_mask.all()
    view = POLICY.encode(weights, POLICY.look(PARAMS)).at(0)
    decided = Decided(POLICY.elam_logits, view, POLICY.decode(weights, view, observation), observation)
    pairs = np.asarray(decided.decision.elam_part, dtype=float)  # one output per pair
    flat = np.exp(pairs) / np.exp(pairs).sum()
    for node in range(6):
        for elam in range(2):
            log_prob, _ = evaluate_action(decided, Action(jnp.array(node), jnp.array(elam)))
            assert float(jnp.exp(log_prob)) == pytest.approx(flat[node, elam], rel=1e-4)


@pytest.mark.slow
def test_it_learns_who_suits_whom():
    task = composition_task(POLICY, PARAMS, EpisodeConfig(users_per_slot=128))
    trainer = make_train(LearnerConfig(num_updates=150, num_minibatches=2), task)
    state, _ = trainer.train(PPOHyperparameters(), USERS, KEY)
    users = make_users(preferences(100, seed=9))
    best = optimum(SCENARIO.network, SCENARIO.request, users.preference).qoe[:, 0]
    evaluation = evaluate(KEY, policy_actor(POLICY, state.params), PARAMS, users)
    assert float(jnp.mean(optimality(evaluation.qoe, best))) > 0.95
    assert len(np.unique(np.asarray(evaluation.chain), axis=0)) >= 2


def test_it_serves_no_network_of_another_size():
    params = make_env_params(parse_scenario(four_agents(), "four"))
    weights = POLICY.init(KEY)
    with pytest.raises(ValueError, match="num_agents = 6 of the policy must be 4"):
        evaluate(KEY, policy_actor(POLICY, weights), params, USERS)
