"""The decision process: rewards by hand on four agents, every way to fail, what a policy may see."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import dead_end, four_agents, interleaved, walks_without_return

from lameta_jax.composition.baselines import random_actor, replay_actor
from lameta_jax.composition.env import EnvConfig, make_env_params, reset, step
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import optimum

KEY = jax.random.key(0)
A, B1, B2, C = range(4)
SMALL, LARGE = 0, 1
FEES = (0.01, 0.05)
TRUE = [0.4, 0.3, 0.2, 0.1]
BY_SMALL = [0.25, 0.25, 0.25, 0.25]
BY_LARGE = [0.1, 0.2, 0.3, 0.4]
USER = jax.tree.map(lambda leaf: leaf[0], make_users(np.array([TRUE]), np.array([[BY_SMALL, BY_LARGE]])))


FULL = EnvConfig(step_reward_scale=1.0)


def four(config=FULL, **changes):
    return make_env_params(parse_scenario({**four_agents(), **changes}, "four"), config)


PARAMS = four()


def play(actions, params=PARAMS, user=USER):
    """Observations before each action and after the last, rewards, terminated flags, infos, final state."""
    observation, state = reset(KEY, params, user)
    observations, rewards, ends, infos = [observation], [], [], []
    for node, elam in actions:
        action = Action(jnp.array(node), jnp.array(elam))
        observation, state, reward, terminated, truncated, info = step(KEY, state, action, params)
        assert not truncated
        observations.append(observation)
        rewards.append(float(reward))
        ends.append(bool(terminated))
        infos.append(info)
    return observations, rewards, ends, infos, state


def test_a_whole_episode_by_hand():
    _, rewards, ends, infos, state = play([(A, LARGE), (B2, SMALL)])
    # a: I = (1, 1, 0, 1), read by "small": 1 + 0.25 * 3. Fees of both translations come with this step.
    assert rewards[0] == pytest.approx(1.75 - 0.01 - 0.05)
    # b2 over the worst link: I = (2/3, 0, 0.625, 0.75), read by "large".
    second = 1 + 0.1 * 2 / 3 + 0.3 * 0.625 + 0.4 * 0.75
    # C = 0.8 * 0.6 / 2, B = 0.05, L = 0.25 + 0.125, 1 - P = 0.95 P(R <= 8), R ~ Poisson(4)
    served = sum(math.exp(-4) * 4**k / math.factorial(k) for k in range(9))
    qoe = (0.95 * served) ** 0.4 * (0.95**1.2 * 1.6 * math.log(24) - 0.8 * math.log(0.375))
    assert qoe == pytest.approx(twin.power_qoe(four_agents(), ("a", "b2"), TRUE))
    assert rewards[1] == pytest.approx(second + qoe, rel=1e-5)
    assert float(infos[1].qoe) == pytest.approx(qoe, rel=1e-5)
    assert [float(info.fee) for info in infos] == pytest.approx([0.06, 0.0])
    assert ends == [False, True]
    assert state.chain.tolist() == [A, B2] and bool(state.succeeded)


def test_the_step_reward_can_be_scaled_and_delta_set():
    config = EnvConfig(functional_reward=3.0, step_reward_scale=0.5)
    _, rewards, _, infos, _ = play([(A, SMALL)], four(config))
    assert float(infos[0].step_reward) == pytest.approx(3.75)
    assert rewards[0] == pytest.approx(0.5 * 3.75 - 0.02)


@pytest.mark.parametrize("form", ["power", "printed"])
@pytest.mark.parametrize("reward_preference", ["user", "translated"])
def test_who_values_the_bonus(form, reward_preference):
    config = EnvConfig(reward_preference=reward_preference, qoe_form=form, step_reward_scale=1.0)
    params = four(config)
    _, rewards, _, infos, _ = play([(A, LARGE), (B1, SMALL)], params)
    bonus = rewards[1] - float(infos[1].step_reward)
    felt = float(infos[1].qoe)  # always the user's own
    assert (bonus == pytest.approx(felt, rel=1e-5)) == (reward_preference == "user")
    if form == "power":
        judge = TRUE if reward_preference == "user" else BY_LARGE
        assert bonus == pytest.approx(twin.power_qoe(four_agents(), ("a", "b1"), judge), rel=1e-5)


def test_the_first_translation_is_that_of_the_initial_elam():
    params = four(EnvConfig(initial_elam=LARGE))
    observations, _, _, infos, _ = play([(A, LARGE)], params)
    assert observations[0].preference.tolist() == pytest.approx(BY_LARGE)
    assert float(infos[0].fee) == pytest.approx(0.10)


def test_what_is_seen():
    observations, *_ = play([(A, LARGE), (B2, SMALL)])
    first, second = observations[:2]
    assert first.preference.tolist() == pytest.approx(BY_SMALL)
    assert second.preference.tolist() == pytest.approx(BY_LARGE)
    assert (int(first.predecessor), int(second.predecessor)) == (-1, A)
    assert (int(first.hops_left), int(second.hops_left)) == (2, 1)
    assert first.fits.tolist() == [True, False, False, False]
    assert second.fits.tolist() == [False, True, True, False]
    assert first.linked.tolist() == [True] * 4 == first.node_mask.tolist()
    assert second.linked.tolist() == [False, True, True, False] == second.node_mask.tolist()
    assert second.link_benefit.tolist() == pytest.approx([0, 1, 0, 0])
    # At the last step kappa would guide nothing: only the one in force is left.
    assert first.elam_mask.tolist() == [True, True]
    assert second.elam_mask.tolist() == [False, True]


def test_the_true_preference_is_never_seen():
    other = USER.replace(preference=jnp.array([0.0, 0.0, 0.0, 1.0]))
    seen, *_ = play([(A, LARGE), (B2, SMALL)])
    seen_of_other, *_ = play([(A, LARGE), (B2, SMALL)], user=other)
    assert jax.tree.all(jax.tree.map(np.array_equal, seen, seen_of_other))


def test_a_wrong_type_costs_delta_and_the_service():
    # c instead of a: delta turns around; I(c) = (0, 1, 0.9375, 0). The episode goes on, and has failed.
    observations, rewards, ends, infos, state = play([(C, SMALL), (B2, SMALL)])
    assert rewards[0] == pytest.approx(-1 + 0.25 * 1.9375 - 0.02)
    assert ends == [False, True]
    assert float(infos[1].qoe) == -1.0 and not bool(state.succeeded)


@pytest.mark.parametrize(("actions", "why"), [([(A, 0), (C, 0)], "no link"), ([(A, 0), (A, 0)], "again")])
def test_an_illegal_node_ends_the_episode(actions, why):
    _, _, ends, infos, state = play(actions)
    assert ends[-1] and float(infos[-1].qoe) == -1.0 and not bool(state.succeeded), why


# JAX alone would read both nodes as c, which may be picked.
@pytest.mark.parametrize("action", [(-1, SMALL), (4, SMALL), (A, -1), (A, 2)])
def test_who_does_not_exist_ends_the_episode(action):
    _, rewards, ends, infos, state = play([action])
    assert ends == [True] and not bool(state.succeeded)
    assert state.chain.tolist() == [-1, -1] and int(state.elam) == SMALL
    assert rewards == pytest.approx([-1.0 - 1.0 - 0.01])  # -delta alone, the failure, the first call


def test_a_chain_that_is_not_there_serves_nobody():
    # `optimum` writes -1 where it finds none; JAX would read it as the last agent, which has the right type.
    params = four(request=["C"])
    evaluation = evaluate(KEY, replay_actor(jnp.array([[-1]])), params, make_users(np.array([TRUE])))
    assert evaluation.qoe.tolist() == [-1.0] and not evaluation.succeeded.any()


def test_a_broken_constraint_is_a_failure():
    params = four(EnvConfig(failure_qoe=-2.5), max_latency=0.37)
    _, _, _, infos, state = play([(A, SMALL), (B2, SMALL)], params)
    assert bool(state.succeeded)  # (18d) holds; (18b), L = 0.375, does not
    assert float(infos[-1].qoe) == -2.5


def test_a_dead_end_opens_the_mask_and_fails():
    params = make_env_params(parse_scenario(dead_end(), "dead-end"))
    observations, _, ends, infos, state = play([(A, 0), (2, 0), (3, 0)], params)
    assert observations[2].node_mask.tolist() == [True] * 4  # b2 knows only a, which is taken
    assert ends == [False, False, True]
    assert float(infos[-1].qoe) == -1.0 and not bool(state.succeeded)


def test_masked_types():
    params = four(EnvConfig(mask_types=True))
    observations, _, ends, infos, _ = play([(A, 0), (B1, 0)], params)
    assert observations[0].node_mask.tolist() == [True, False, False, False]
    assert observations[1].node_mask.tolist() == [False, True, True, False]
    assert ends == [False, True] and float(infos[-1].qoe) > 0
    _, _, ends, infos, _ = play([(C, 0)], params)
    assert ends == [True] and float(infos[-1].qoe) == -1.0


def test_nothing_happens_after_the_end():
    _, rewards, ends, infos, state = play([(A, 0), (C, 0), (B1, 1)])
    _, _, _, _, ended = play([(A, 0), (C, 0)])
    assert ends == [False, True, True]
    assert rewards[2] == 0 and all(float(paid) == 0 for paid in infos[2])
    assert jax.tree.all(jax.tree.map(np.array_equal, state, ended))


@pytest.mark.parametrize("links", [four_agents()["links"], []])
def test_a_request_of_one_agent(links):
    params = four(request=["B"], links=links)
    _, _, ends, infos, state = play([(B1, LARGE)], params)
    assert ends == [True] and state.chain.tolist() == [B1]
    assert float(infos[0].qoe) == pytest.approx(twin.power_qoe(four_agents(), ("b1",), TRUE), rel=1e-5)
    assert float(infos[0].fee) == pytest.approx(FEES[SMALL])


@pytest.mark.parametrize("hops", [1, 3, 5, 8])
def test_a_request_of_any_length_that_names_types_again(hops):
    mapping = interleaved("ABAABCBA"[:hops])
    scenario, walks = parse_scenario(mapping, "interleaved"), walks_without_return(mapping)
    latency = {agent["id"]: 1 / (agent["service_rate"] - 4) for agent in mapping["agents"]}
    late = [sum(latency[name] for name in walk) > mapping["max_latency"] for walk in walks]
    assert any(late) == (hops > 3) and not all(late)
    expected = np.where(late, -1.0, [twin.power_qoe(mapping, walk, TRUE) for walk in walks])
    chains = jnp.array([[scenario.agent_ids.index(name) for name in walk] for walk in walks])
    params, users = make_env_params(scenario), make_users(np.tile(TRUE, (len(walks), 1)))
    evaluation = evaluate(KEY, replay_actor(chains), params, users)
    assert np.array_equal(evaluation.chain, chains) and evaluation.succeeded.all()
    assert evaluation.qoe == pytest.approx(expected, rel=1e-4)
    best = optimum(scenario.network, scenario.request, jnp.array([TRUE]))
    assert (best.evaluated, best.feasible) == (len(walks), len(walks) - sum(late))
    assert float(best.qoe[0, 0]) == pytest.approx(max(expected), rel=1e-4)
    assert np.array_equal(best.agents[0, 0], chains[np.argmax(expected)])


def test_whoever_keeps_to_the_mask_meets_nobody_twice():
    mapping = interleaved("ABAABCBA")
    scenario, walks = parse_scenario(mapping, "interleaved"), walks_without_return(mapping)
    users = make_users(np.tile(TRUE, (100, 1)))
    drawn = evaluate(KEY, random_actor(respect_types=True), make_env_params(scenario), users)
    named = [[scenario.agent_ids[agent] for agent in chain] for chain in drawn.chain.tolist()]
    assert [names in walks for names in named] == drawn.succeeded.tolist()
    assert drawn.succeeded.any() and not drawn.succeeded.all()  # some run into dead ends


def test_double_precision():
    with jax.enable_x64(True):
        user = jax.tree.map(lambda leaf: leaf[0], make_users(np.array([TRUE])))
        params = four()
        observation, state = reset(KEY, params, user)
        for node in (A, B2):
            action = Action(jnp.array(node), jnp.array(SMALL))
            observation, state, reward, _, _, info = step(KEY, state, action, params)
        assert reward.dtype == observation.preference.dtype == jnp.float64
        assert float(info.qoe) == pytest.approx(twin.power_qoe(four_agents(), ("a", "b2"), TRUE), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reward_preference": "mine"}, "reward_preference = 'mine' must be one of user, translated"),
        ({"qoe_form": "loud"}, "qoe_form = 'loud' must be one of power, printed"),
    ],
)
def test_unknown_choices_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EnvConfig(**options)


def test_an_unknown_initial_elam_is_refused():
    with pytest.raises(ValueError, match=r"initial_elam = 2 must be in \[0, 2\)"):
        four(EnvConfig(initial_elam=2))
