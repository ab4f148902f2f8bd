"""The pointer policy: masks, log-probabilities, and independence of the order and number of agents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import four_agents, permuted, preferences, six_agents

from lameta_jax.composition.decisions import best_action, evaluate_action, sample_action
from lameta_jax.composition.distributions import MaskedCategorical
from lameta_jax.composition.env import EnvConfig, make_env_params, observe, reset, step
from lameta_jax.composition.links import Candidates
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.rollout import decide
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario

KEY = jax.random.key(0)
POLICY = make_policy(PolicyConfig(width=8, context_width=16, intent_width=4, elam_width=2))
WEIGHTS = POLICY.init(jax.random.key(1))
USERS = make_users(preferences(5))
ORDER = [3, 5, 0, 1, 4, 2]


def decided_for(mapping, first=None):
    """What is decided for all users at the first step, or at the second after the agent `first`."""
    params = make_env_params(parse_scenario(mapping, "test"))
    encoding = POLICY.encode(WEIGHTS, POLICY.look(params))
    observations, states = jax.vmap(lambda user: reset(KEY, params, user))(USERS)
    if first is not None:
        action = Action(jnp.array(first), jnp.array(0))
        observations = jax.vmap(lambda state: step(KEY, state, action, params)[0])(states)
    return decide(POLICY, WEIGHTS, encoding.at(0 if first is None else 1), observations)


def test_a_table_of_predecessors_changes_no_decision_and_no_gradient():
    params = make_env_params(parse_scenario(six_agents(), "test"))
    starting, states = jax.jit(jax.vmap(lambda user: reset(KEY, params, user)))(USERS)
    action = Action(jnp.array(0), jnp.array(0))
    going_on = jax.jit(jax.vmap(lambda state: step(KEY, state, action, params)[0]))(states)

    def said(weights, decisions):
        encoding = POLICY.encode(weights, POLICY.look(params), decisions)
        assert (encoding.table is None) == (decisions <= 6)
        decided = [
            decide(POLICY, weights, encoding.at(place), seen)
            for place, seen in enumerate((starting, going_on))
        ]
        judged = [evaluate_action(one, Action(jnp.full(5, 2), jnp.zeros(5, int))) for one in decided]
        numbers = jnp.array([[*one, two.decision.value] for one, two in zip(judged, decided, strict=True)])
        return jnp.sum(jnp.sin(numbers)), numbers

    both = jax.jit(jax.grad(said, has_aux=True), static_argnums=1)
    (gradient, numbers), (plain_gradient, plain) = both(WEIGHTS, 7), both(WEIGHTS, 6)
    assert numbers == pytest.approx(np.asarray(plain), abs=1e-6)
    for table, without in zip(*map(jax.tree.leaves, (gradient, plain_gradient)), strict=True):
        assert table == pytest.approx(np.asarray(without), abs=1e-5)


def elam_logits(decided):
    """Of kappa, for every user and agent."""
    users, agents = decided.decision.node_logits.shape
    of_node = lambda node: decided.elams(jnp.full(users, node))
    return np.stack([np.asarray(of_node(node).logits) for node in range(agents)], axis=1)


@pytest.mark.parametrize("first", [None, 0])
def test_another_order_of_the_agents_permutes_the_choice(first):
    usual = decided_for(six_agents(), first)
    shuffled = decided_for(permuted(six_agents(), ORDER), None if first is None else ORDER.index(first))
    nodes = np.asarray(usual.decision.node_logits)[:, ORDER]
    assert shuffled.decision.node_logits == pytest.approx(nodes, abs=1e-5)
    assert elam_logits(shuffled) == pytest.approx(elam_logits(usual)[:, ORDER], abs=1e-5)
    assert shuffled.decision.value == pytest.approx(np.asarray(usual.decision.value), abs=1e-5)


@pytest.mark.parametrize("first", [None, 0])
def test_a_policy_that_sees_some_agents_says_of_them_what_it_says_of_all(first):
    params = make_env_params(parse_scenario(six_agents(), "test"), EnvConfig(mask_types=True))
    encoding, place = POLICY.encode(WEIGHTS, POLICY.look(params)), 0 if first is None else 1
    _, state = reset(KEY, params, jax.tree.map(lambda leaf: leaf[0], USERS))
    if first is not None:
        _, state, *_ = step(KEY, state, Action(jnp.array(first), jnp.array(0)), params)
    agents = jnp.array([2 * place + 1, 2 * place, -1])
    links = jnp.full(3, -1) if first is None else params.link_of_pairs[first, agents].at[2].set(-1)
    seen, some = observe(state, params), observe(state, params, Candidates(agents, links))
    for name in ("fits", "linked", "link_benefit", "node_mask"):
        assert np.array_equal(getattr(some, name)[:2], getattr(seen, name)[agents[:2]]), name
    assert not some.node_mask[2]
    whole, part = encoding.at(place), encoding.at(place, agents)
    expected, found = POLICY.decode(WEIGHTS, whole, seen), POLICY.decode(WEIGHTS, part, some)
    assert found.node_logits[:2] == pytest.approx(np.asarray(expected.node_logits)[agents[:2]], abs=1e-5)
    assert found.value == pytest.approx(float(expected.value), abs=1e-6)
    for own, agent in enumerate(agents[:2]):
        those = POLICY.elam_logits(part, found, jnp.array(own))
        assert those == pytest.approx(np.asarray(POLICY.elam_logits(whole, expected, agent)), abs=1e-5)


def test_the_same_weights_serve_another_network_and_request():
    decided = decided_for(four_agents())
    assert decided.decision.node_logits.shape == (5, 4) and elam_logits(decided).shape == (5, 4, 2)


def test_log_probabilities_and_entropy_are_those_of_the_masked_logits():
    decided = decided_for(six_agents(), first=0)
    action, log_prob = sample_action(KEY, decided)
    evaluated, entropy = evaluate_action(decided, action)
    observations, logits = decided.observation, elam_logits(decided)
    assert evaluated == pytest.approx(np.asarray(log_prob), abs=1e-6)
    for user in range(5):
        nodes = twin.log_softmax(
            np.asarray(decided.decision.node_logits[user]), np.asarray(observations.node_mask[user])
        )
        node, elam = int(action.node[user]), int(action.elam[user])
        elams = twin.log_softmax(logits[user, node], np.asarray(observations.elam_mask[user]))
        assert float(log_prob[user]) == pytest.approx(nodes[node] + elams[elam], abs=1e-5)
        assert float(entropy[user]) == pytest.approx(twin.entropy(nodes) + twin.entropy(elams), abs=1e-5)
        assert int(best_action(decided).node[user]) == int(np.argmax(nodes))


def test_a_masked_action_is_never_drawn_and_gradients_stay_finite():
    mask = jnp.array([True, False, True, False])
    logits = jnp.array([0.0, 50.0, 1.0, -50.0])
    draws = MaskedCategorical(jnp.tile(logits, (4000, 1)), jnp.tile(mask, (4000, 1))).sample(KEY)
    # e / (1 + e) = 0.731; standard error 0.007
    assert np.bincount(draws, minlength=4)[[1, 3]].sum() == 0
    assert np.mean(np.asarray(draws) == 2) == pytest.approx(0.731, abs=0.03)

    def entropy(values):
        return MaskedCategorical(values, mask).entropy()

    assert float(entropy(logits)) == pytest.approx(twin.entropy(twin.log_softmax(logits, mask)), rel=1e-5)
    gradient = np.asarray(jax.grad(entropy)(logits))
    assert np.all(np.isfinite(gradient)) and np.all(gradient[[1, 3]] == 0)


def test_weights_start_at_unit_variance_per_input():
    weights = make_policy().init(KEY)
    kernel = np.asarray(weights["actor"][0]["kernel"])
    assert kernel.std() == pytest.approx(kernel.shape[0] ** -0.5, rel=0.05)
    assert not np.any(weights["actor"][0]["bias"])


def test_the_number_of_elams_must_be_that_of_the_scenario():
    policy = make_policy(PolicyConfig(num_elams=3))
    params = make_env_params(parse_scenario(six_agents(), "six"))
    with pytest.raises(ValueError, match="num_elams = 3 of the policy must be 2"):
        jax.eval_shape(policy.look, params)
