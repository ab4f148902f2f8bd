"""A chain for one user by a policy: that of the evaluation, with how likely the policy held every agent."""

from importlib.resources import as_file, files

import jax
import numpy as np
import pytest
from reference.composition_cases import dead_end, four_agents, six_agents

from lameta_jax.composition import compose
from lameta_jax.composition.compose import compose_chain
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate, value_chains
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.policy_files import PolicyError, TrainedPolicy, load_policy
from lameta_jax.composition.types import make_users
from lameta_jax.composition.users import draw_users
from lameta_jax.network.network import serves_request
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import ScenarioConfig, draw_scenario
from lameta_jax.network.schema import parse_scenario

SMALL = PolicyConfig(width=4, num_layers=1, context_width=6, intent_width=3, elam_width=2, num_elams=2)


@pytest.fixture(scope="module")
def policy():
    return TrainedPolicy(config=SMALL, params=make_policy(SMALL).init(jax.random.key(0)), initial_elam=1)


def test_the_chain_is_that_of_the_evaluation_and_serves_the_request(policy):
    scenario = parse_scenario(six_agents(), "case")  # has no dead ends, and wrong types are masked
    preferences = np.array([[1.0, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]])
    env_params = make_env_params(scenario, EnvConfig(mask_types=True, initial_elam=policy.initial_elam))
    actor = policy_actor(make_policy(policy.config), policy.params)
    expected = evaluate(jax.random.key(0), actor, env_params, make_users(preferences))
    for preference, chain, succeeded in zip(preferences, expected.chain, expected.succeeded, strict=True):
        assert compose_chain(policy, scenario, preference).chain == tuple(chain.tolist())
        assert succeeded


@pytest.mark.parametrize("pairs", [pytest.param(True, marks=pytest.mark.slow), False])
def test_chains_of_many_users_are_those_of_the_evaluation(policy, pairs, monkeypatch):
    """Also in blocks of users with a rest, and in a network that is too large for tables of pairs."""
    monkeypatch.setattr(compose, "CHAINS_AT_ONCE", 16)
    compose.composer.cache_clear()
    scenario = draw_scenario(ScenarioConfig(num_agents=30, mean_degree=10.0), seed=4)
    env_params = make_env_params(scenario, EnvConfig(mask_types=True))
    if not pairs:
        env_params = env_params.replace(link_of_pairs=None, benefit_of_pairs=None)
    users = draw_users(jax.random.key(0), jax.numpy.ones(4), 40)
    with as_file(files("lameta_jax").joinpath("data", "policies", "pointer.safetensors")) as path:
        shipped = load_policy(path)  # tells users apart, as no untrained policy does
    actor = policy_actor(make_policy(shipped.config), shipped.params)
    expected = evaluate(jax.random.key(0), actor, env_params, users)
    found = compose.compose_chains(shipped, env_params, users)
    assert np.array_equal(found, expected.chain) and len(np.unique(found, axis=0)) > 1
    again = compose.compose_chains(shipped, env_params, users, fitting=compose.of_types(env_params))
    assert np.array_equal(again, found)
    alone = compose.compose_chains(shipped, env_params, jax.tree.map(lambda leaf: leaf[:1], users))
    assert np.array_equal(alone, found[:1])
    compose.composer.cache_clear()


def test_a_request_of_one_agent(policy):
    mapping = six_agents()
    mapping["request"] = mapping["request"][:1]
    scenario = parse_scenario(mapping, "case")
    (agent,) = compose_chain(policy, scenario, [0.1, 0.2, 0.3, 0.4]).chain
    assert int(scenario.network.agent_type[agent]) == int(scenario.request.types[0])


@pytest.mark.slow
def test_of_proposed_chains_the_best_one_is_taken(policy):
    scenario = draw_scenario(ScenarioConfig(num_agents=30, mean_degree=10.0), seed=4)
    env_params = make_env_params(scenario, EnvConfig(mask_types=True))
    drawn = draw_users(jax.random.key(0), jax.numpy.ones(4), 40)
    translated = jax.numpy.repeat(drawn.preference[::-1, None], 2, axis=1)  # not what they want
    users = drawn.replace(translated=translated)
    value = lambda chains: np.asarray(
        value_chains(scenario.network, scenario.request, chains, translated[:, 0])
    )
    greedy, best = (value(compose.compose_chains(policy, env_params, users, width)) for width in (1, 100))
    assert (best >= greedy).all() and (best > greedy + 0.01).any()
    # So many are all that there are: nothing is lost.
    optimal = optimum(scenario.network, scenario.request, translated[:, 0]).qoe[:, 0]
    assert best == pytest.approx(np.asarray(optimal), rel=1e-5)


def test_of_types_by_hand():
    """Six agents of three types: a0, a1, b0, b1, c0, c1, of which a1 and b0, and b1 and c1, are not linked here."""
    mapping = six_agents()
    apart = [{"a1", "b0"}, {"b1", "c1"}]
    links = [link for link in mapping["links"] if set(link["between"]) not in apart]
    env_params = make_env_params(
        parse_scenario(mapping | {"links": links}, "case"), EnvConfig(mask_types=True)
    )
    found = compose.of_types(env_params)
    assert found.first.tolist() == [0, 1]
    assert [row.tolist() for row in found.followers[0, :2]] == [[2, 3], [3, -1]]
    assert [row.tolist() for row in found.followers[1, 2:4]] == [[4, 5], [4, -1]]
    ends = np.asarray(env_params.network.link_ends)
    for place, agent, own in np.argwhere(found.followers >= 0):
        link = ends[found.links[place, agent, own]].tolist()
        assert link == sorted([agent, found.followers[place, agent, own]])
    assert np.array_equal(found.links < 0, found.followers < 0)


def test_wrong_types_must_be_masked(policy):
    env_params = make_env_params(parse_scenario(six_agents(), "case"))
    with pytest.raises(ValueError, match="mask_types must be True"):
        compose.compose_chains(policy, env_params, make_users(np.full((2, 4), 0.25)))


def test_the_network_may_know_other_elams(policy):
    chains = set()
    for elams in ([{"name": "one", "fee": 0.3}], [{"name": name, "fee": 0.1} for name in "abc"]):
        scenario = parse_scenario(six_agents() | {"elams": elams}, "case")
        chains.add(compose_chain(policy, scenario, (0.25, 0.25, 0.25, 0.25)).chain)
    assert len(chains) == 1 and len(chains.pop()) == 3


def test_a_dead_end_gives_a_chain_that_does_not_serve_the_request(policy):
    # With the link a-b1 gone only a-b2 is left, and b2 knows nobody else. A file like that would be refused.
    scenario = parse_scenario(dead_end(), "case")
    network = scenario.network.replace(
        link_ends=scenario.network.link_ends[1:2], link_ber=scenario.network.link_ber[1:2]
    )
    cut_off = type(scenario)(**(scenario.__dict__ | {"network": network}))
    chain = compose_chain(policy, cut_off, (0.25, 0.25, 0.25, 0.25)).chain
    assert chain[:2] == (0, 2) and len(chain) <= 3
    if len(chain) == 3:
        assert not serves_request(network, scenario.request, jax.numpy.array(chain))


def test_a_request_longer_than_a_policy_can_serve_is_refused(policy):
    mapping = four_agents()
    extra = [mapping["agents"][0] | {"id": f"x{place}", "type": f"T{place}"} for place in range(9)]
    links = [{"between": [f"x{place}", f"x{place + 1}"], "ber": 0.01} for place in range(8)]
    mapping |= {"agents": extra, "links": links, "request": [agent["type"] for agent in extra]}
    with pytest.raises(PolicyError, match="a request of 9 agents is longer"):
        compose_chain(policy, parse_scenario(mapping, "case"), (0.25, 0.25, 0.25, 0.25))


def test_probabilities_are_those_of_the_agents_that_may_be_picked(policy):
    composed = compose_chain(policy, parse_scenario(six_agents(), "case"), (0.4, 0.3, 0.2, 0.1))
    for place, agent in enumerate(composed.chain):
        likely = composed.probability[place]
        assert likely.sum() == pytest.approx(1, abs=1e-5) and int(likely.argmax()) == agent
        assert set(np.flatnonzero(likely)) == {
            2 * place,
            2 * place + 1,
        }  # the two of the type that comes next
