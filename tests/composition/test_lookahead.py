"""What the rest of a chain can be worth, against every chain written out."""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import dead_end, four_agents, interleaved, preferences, six_agents

from lameta_jax.composition.env import EnvConfig, make_env_params, reset, step
from lameta_jax.composition.lookahead import (
    HOPELESS,
    anchor_preferences,
    best_remaining,
    worth_of_agents,
)
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario

KEY = jax.random.key(0)
ANCHORS = anchor_preferences(2)


def walks_from(mapping, place):
    """All walks over the types of the request from a place on, which may return to where they were."""
    bers = {frozenset(link["between"]) for link in mapping["links"]}
    layers = [
        [agent for agent in mapping["agents"] if agent["type"] == kind] for kind in mapping["request"][place:]
    ]
    for walk in itertools.product(*layers):
        if all(frozenset({one["id"], other["id"]}) in bers for one, other in itertools.pairwise(walk)):
            yield walk


def latency_of(mapping, agent):
    return 1 / (agent["service_rate"] - mapping["arrival_rate"])  # V = 1: an M/M/1 queue


def enumerated(mapping):
    """Value, capability and latency of the best walk from every agent at every place, found one by one."""
    agents, hops = mapping["agents"], len(mapping["request"])
    bers = {frozenset(link["between"]): link["ber"] for link in mapping["links"]}
    typical = hops * math.exp(np.mean([math.log(latency_of(mapping, agent)) for agent in agents]))

    def worth(walk, anchor):
        total = 0.0
        for agent in walk:
            crash = agent["outages"] / agent["observations"]
            total += anchor[0] * math.log(agent["capability"]) + anchor[3] * 5.0 * math.log(1 - crash)
            total -= anchor[2] * latency_of(mapping, agent) / typical
        for one, other in itertools.pairwise(walk):
            total += anchor[1] * 2.5 * math.log(1 - bers[frozenset({one["id"], other["id"]})])
        return total

    values = np.full((hops, len(agents), len(ANCHORS)), -np.inf)
    capability = np.full((hops, len(agents)), -np.inf)
    latency = np.full((hops, len(agents)), np.inf)
    for place in range(hops):
        for walk in walks_from(mapping, place):
            first = agents.index(walk[0])
            values[place, first] = np.maximum(values[place, first], [worth(walk, one) for one in ANCHORS])
            product = math.log(math.prod(agent["capability"] for agent in walk))
            capability[place, first] = max(capability[place, first], product)
            total = sum(latency_of(mapping, agent) for agent in walk)
            latency[place, first] = min(latency[place, first], total)
    best = values.max(axis=1, keepdims=True)
    below = np.where(np.isfinite(values), values - np.where(np.isfinite(best), best, 0), HOPELESS)
    needed = math.log(mapping["capability_threshold"] * hops)
    return below, capability - needed, mapping["max_latency"] - latency


CASES = {
    "four": four_agents(),
    "six": six_agents(),
    "dead end": dead_end(),
    "interleaved": interleaved(["A", "B", "A"]),
}


@pytest.mark.parametrize("mapping", CASES.values(), ids=CASES)
def test_the_best_rest_is_that_of_the_best_walk(mapping):
    params = make_env_params(parse_scenario(mapping, "test"))
    found = best_remaining(params, ANCHORS)
    for mine, theirs in zip(found, enumerated(mapping), strict=True):
        assert np.asarray(mine) == pytest.approx(theirs, abs=1e-5)


def test_an_agent_that_has_failed_leads_nowhere():
    params = make_env_params(parse_scenario(six_agents(), "test"))
    rates = params.network.service_rate.at[0].set(0.0)
    found = best_remaining(replace(params, network=replace(params.network, service_rate=rates)), ANCHORS)
    assert (found.value[:, 0] == HOPELESS).all()
    assert jnp.isfinite(found.value).all()


@pytest.mark.parametrize(
    "limits",
    [
        {"max_latency": 0.14},
        {"capability_threshold": 0.1},
        {"max_latency": 0.2, "capability_threshold": 0.05},
    ],
)
def test_with_hopeless_agents_no_chain_succeeds_and_with_others_each_constraint_can_be_met(limits):
    mapping = six_agents() | limits
    params = make_env_params(parse_scenario(mapping, "test"), EnvConfig(mask_types=True))
    remaining = best_remaining(params, ANCHORS)
    walks = list(walks_from(mapping, 0))
    ids = [agent["id"] for agent in mapping["agents"]]

    def may_be_met(first):
        """Each constraint by some walk that begins so, not both by the same one."""
        those = [walk for walk in walks if [agent["id"] for agent in walk[: len(first)]] == first]
        products = [math.prod(agent["capability"] for agent in walk) / len(walk) for walk in those]
        capable = max(products, default=0) >= mapping["capability_threshold"]
        total = min((sum(latency_of(mapping, agent) for agent in walk) for walk in those), default=np.inf)
        return capable and total <= mapping["max_latency"]

    seen, state = reset(KEY, params, jax.tree.map(lambda leaf: leaf[0], make_users(preferences(1))))
    assert hopeful(remaining, seen) == [may_be_met([name]) for name in ids]
    for first in range(2):
        seen, *_ = step(KEY, state, Action(jnp.array(first), jnp.array(0)), params)
        assert hopeful(remaining, seen) == [may_be_met([ids[first], name]) for name in ids]


def hopeful(remaining, seen):
    """Of every agent: whether any anchor has a value for it."""
    here = jax.tree.map(lambda leaf: leaf[seen.step], remaining)
    worth = jax.vmap(lambda weights: worth_of_agents(here, seen, weights))(jnp.eye(len(ANCHORS)))
    return (~(worth == HOPELESS).all(axis=0)).tolist()


def test_the_worth_of_an_agent_is_the_weighted_sum_over_anchors():
    params = make_env_params(parse_scenario(six_agents(), "test"), EnvConfig(mask_types=True))
    here = jax.tree.map(lambda leaf: leaf[0], best_remaining(params, ANCHORS))
    seen, _ = reset(KEY, params, jax.tree.map(lambda leaf: leaf[0], make_users(preferences(1))))
    weights = np.arange(len(ANCHORS)) / 3.0
    expected = np.asarray(here.value, dtype=float) @ weights
    assert worth_of_agents(here, seen, jnp.asarray(weights)) == pytest.approx(expected, rel=1e-4)
    exhausted = seen.replace(latency=jnp.array(np.inf))
    assert worth_of_agents(here, exhausted, jnp.asarray(weights)) == pytest.approx(
        np.full(6, HOPELESS * weights.sum()), rel=1e-6
    )


def test_a_policy_without_lookahead_has_no_weights_for_it():
    without, having = (make_policy(PolicyConfig(lookahead=size)).init(KEY) for size in (0, 2))
    assert set(having) - set(without) == {"anchor_weights"}
