"""What varies between slots, and what does not; agents that fail; arrivals that grow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import preferences, six_agents

from lameta_jax.composition.baselines import random_actor, replay_actor
from lameta_jax.composition.decisions import Decided, best_action
from lameta_jax.composition.env import make_env_params, reset, slot_params, step
from lameta_jax.composition.evaluate import evaluate, evaluate_slots, value_chains
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.slots import (
    Conditions,
    SlotConfig,
    arrival_ramp,
    available,
    draw_slots,
    nominal_conditions,
    with_conditions,
    with_failures,
)
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import beam_search, optimum
from lameta_jax.types import LATENCY

SCENARIO = parse_scenario(six_agents(), "six")
NETWORK = SCENARIO.network
PARAMS = make_env_params(SCENARIO)
USERS = make_users(preferences(16))
A0, A1, B0, B1, C0, C1 = range(6)
ALL = SlotConfig(arrival_rate_spread=0.2, service_rate_spread=0.3, fading_spread=1.0, redraw_outages=True)


def without(*agents: int):
    """The nominal slot with some agents failed."""
    return with_failures(nominal_conditions(NETWORK), jnp.isin(jnp.arange(6), jnp.array(agents)))


@pytest.fixture(scope="module")
def slots() -> Conditions:
    return draw_slots(jax.random.key(0), NETWORK, ALL, 2000)


def test_without_spread_a_slot_is_the_network_exactly():
    slots = draw_slots(jax.random.key(0), NETWORK, SlotConfig(), 3)
    nominal = nominal_conditions(NETWORK)
    for drawn, given in zip(jax.tree.leaves(slots), jax.tree.leaves(nominal), strict=True):
        assert np.array_equal(drawn, np.broadcast_to(given, drawn.shape))
    network = with_conditions(NETWORK, nominal)
    assert jax.tree.all(jax.tree.map(np.array_equal, network, NETWORK))


def test_spreads_are_those_of_the_logarithms(slots):
    # Standard error of a standard deviation from n draws: s / sqrt(2 n); for one rate n = 2000, 1.6%.
    assert np.std(np.log(slots.arrival_rate)) == pytest.approx(0.2, rel=0.08)
    assert np.std(np.log(slots.service_rate / NETWORK.service_rate[None, :])) == pytest.approx(0.3, rel=0.04)
    fading = np.log(slots.link_ber / NETWORK.link_ber[None, :])
    assert np.std(fading) == pytest.approx(1.0, rel=0.04)
    assert np.mean(fading) == pytest.approx(0.0, abs=0.04)


def test_a_link_is_never_worse_than_a_coin_toss():
    wild = draw_slots(jax.random.key(0), NETWORK, SlotConfig(fading_spread=6.0), 200)
    assert float(jnp.max(wild.link_ber)) == 0.5


def test_outages_are_counted_anew(slots):
    counts = np.asarray(slots.outages)
    assert np.array_equal(counts, np.round(counts))
    assert np.all((counts >= 0) & (counts <= 100))
    # Agent 4: Binomial(100, 0.05), mean 5, variance 4.75; standard error of the mean 0.05
    assert counts[:, 4].mean() == pytest.approx(5, abs=0.25)
    assert counts[:, 4].var() == pytest.approx(4.75, rel=0.15)
    assert np.all(counts[:, 5] == 0)  # never seen in outage


def test_an_overloaded_agent_is_the_worst_of_all():
    overload = nominal_conditions(NETWORK)
    overload = Conditions(jnp.array(11.0), overload.service_rate, overload.link_ber, overload.outages)
    params = slot_params(make_env_params(SCENARIO), overload)  # b1 serves 10 a minute
    assert float(params.node_benefits[3, LATENCY]) == 0
    assert np.all(np.isfinite(params.node_benefits))


def test_a_negative_spread_is_refused():
    with pytest.raises(ValueError, match="fading_spread = -0.1 must be >= 0"):
        SlotConfig(fading_spread=-0.1)


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan")])
def test_a_failure_probability_that_is_none_is_refused(probability):
    with pytest.raises(ValueError, match=rf"failure_probability = {probability} must be in \[0, 1\]"):
        SlotConfig(failure_probability=probability)


def test_agents_fail_as_often_as_stated_and_nothing_else_changes(slots):
    config = SlotConfig(**{**vars(ALL), "failure_probability": 0.2})
    drawn = draw_slots(jax.random.key(0), NETWORK, config, 2000)
    up = np.asarray(jax.vmap(lambda conditions: available(with_conditions(NETWORK, conditions)))(drawn))
    # Standard errors: 0.4 / sqrt(12000) = 0.0037; of a correlation 1 / sqrt(2000) = 0.022
    assert 1 - up.mean() == pytest.approx(0.2, abs=0.015)
    assert np.corrcoef(up.T) == pytest.approx(np.eye(6), abs=0.1)
    rates = np.log(slots.service_rate / NETWORK.service_rate[None, :])
    assert np.corrcoef(up.ravel(), rates.ravel())[0, 1] == pytest.approx(0, abs=0.04)
    restored = drawn.replace(service_rate=jnp.where(up, drawn.service_rate, slots.service_rate))
    assert jax.tree.all(jax.tree.map(np.array_equal, restored, slots))
    assert np.all(np.asarray(drawn.service_rate)[~up] == 0)


def test_a_failed_agent_may_not_be_picked():
    params = slot_params(PARAMS, without(A0, B1))
    user = jax.tree.map(lambda leaf: leaf[0], USERS)
    key = jax.random.key(0)
    first, state = reset(key, params, user)
    assert first.node_mask.tolist() == [False, True, True, False, True, True]
    second, state, *_ = step(key, state, Action(jnp.array(A1), jnp.array(0)), params)
    assert second.linked.tolist() == [False, False, True, True, False, False]
    assert second.node_mask.tolist() == [False, False, True, False, False, False]
    _, state, _, terminated, _, info = step(key, state, Action(jnp.array(B1), jnp.array(0)), params)
    assert terminated and not state.succeeded and float(info.qoe) == -1.0
    # Where all neighbours have failed there is no way on: the mask opens, as in any dead end.
    params = slot_params(PARAMS, without(B0, B1))
    _, state = reset(key, params, user)
    lost, state, *_ = step(key, state, Action(jnp.array(A1), jnp.array(0)), params)
    assert lost.node_mask.all()


def test_a_chain_through_a_failed_agent_has_failed_and_the_others_have_not():
    chains = jnp.array([[a, b, c] for a in (A0, A1) for b in (B0, B1) for c in (C0, C1)])
    users = make_users(preferences(8))
    params = slot_params(PARAMS, without(B1))
    before, after = (evaluate(jax.random.key(0), replay_actor(chains), p, users) for p in (PARAMS, params))
    through = np.any(np.asarray(chains) == B1, axis=1)
    assert np.asarray(after.succeeded).tolist() == (~through).tolist()
    assert after.qoe == pytest.approx(np.where(through, -1.0, before.qoe), rel=1e-6)
    valued = value_chains(params.network, params.request, chains, users.preference)
    assert valued == pytest.approx(np.asarray(after.qoe), rel=1e-6)


def test_searches_avoid_failed_agents():
    mapping = six_agents()
    mapping["agents"] = [agent for agent in mapping["agents"] if agent["id"] not in ("a0", "b1")]
    mapping["links"] = [link for link in mapping["links"] if not {"a0", "b1"} & set(link["between"])]
    smaller = parse_scenario(mapping, "four of six")
    expected = optimum(smaller.network, smaller.request, USERS.preference)
    network = with_conditions(NETWORK, without(A0, B1))
    for found in (
        optimum(network, SCENARIO.request, USERS.preference),
        beam_search(network, SCENARIO.request, USERS.preference, width=8),
    ):
        chains = np.asarray(found.agents).reshape(16, 3)
        assert np.array_equal(chains, np.array([A1, B0, C0, C1])[np.asarray(expected.agents[:, 0])])
        assert np.asarray(found.qoe).reshape(16) == pytest.approx(np.asarray(expected.qoe[:, 0]), rel=1e-6)


def test_composers_keep_clear_of_failed_agents():
    actor = random_actor(respect_types=True)
    evaluation = evaluate(jax.random.key(0), actor, slot_params(PARAMS, without(A1, C0)), USERS)
    assert evaluation.succeeded.all() and not np.isin(np.asarray(evaluation.chain), [A1, C0]).any()
    usual = evaluate(jax.random.key(0), actor, PARAMS, USERS)
    assert np.isin(np.asarray(usual.chain), [A1, C0]).any()


def test_a_policy_that_has_encoded_the_slot_meets_failures_by_the_masks_alone():
    policy = make_policy(PolicyConfig(width=8, context_width=16, intent_width=4, elam_width=2))
    weights = policy.init(jax.random.key(3))
    encoding = policy.encode(weights, policy.look(PARAMS))

    def serve(params):
        user, key = jax.tree.map(lambda leaf: leaf[0], USERS), jax.random.key(0)
        observation, state = reset(key, params, user)
        for _ in range(3):
            view = encoding.at(observation.step)
            decision = policy.decode(weights, view, observation)
            action = best_action(Decided(policy.elam_logits, view, decision, observation))
            observation, state, *_ = step(key, state, action, params)
        return state.chain.tolist()

    before = serve(PARAMS)
    after = serve(slot_params(PARAMS, without(before[1])))
    assert after[0] == before[0] and after[1] != before[1] and before[1] not in after


def test_a_ramp_changes_the_arrivals_alone():
    nominal = nominal_conditions(NETWORK)
    ramp = arrival_ramp(nominal, jnp.array([1.0, 2.0, 2.4, 3.0]))
    assert ramp.arrival_rate == pytest.approx([4.0, 8.0, 9.6, 12.0])
    for name in ("service_rate", "link_ber", "outages"):
        repeated = np.tile(getattr(nominal, name), (4, 1))
        assert np.array_equal(getattr(ramp, name), repeated)
    chain, users = jnp.array([[A0, B1, C0]]), make_users(preferences(1))
    evaluation = evaluate_slots(jax.random.key(0), replay_actor(chain), PARAMS, users, ramp)
    latency = [sum(1 / (mu - rate) for mu in (60.0, 10.0, 70.0)) for rate in (4.0, 8.0, 9.6)]
    assert latency[1] < 1 < latency[2]  # minutes; L_max = 1
    assert evaluation.factors.latency[:, 0] == pytest.approx([*latency, np.inf], rel=1e-5)
    felt = [
        twin.power_qoe({**six_agents(), "arrival_rate": rate}, ("a0", "b1", "c0"), preferences(1)[0])
        for rate in (4.0, 8.0)
    ]
    assert evaluation.qoe[:, 0] == pytest.approx([*felt, -1.0, -1.0], rel=1e-4)
