"""Networks of one shape in one pytree, and a policy that learns on several."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import dead_end, four_agents, preferences, six_agents

from lameta_jax.composition.baselines import random_actor
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.network_pool import stack_networks
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import make_users
from lameta_jax.network.files import parse_scenario

KEY = jax.random.key(0)
POLICY = make_policy(PolicyConfig(width=8, context_width=16))
USERS = make_users(preferences(8))


def params_of(mapping, **rules):
    return make_env_params(parse_scenario(mapping, "test"), EnvConfig(**rules))


def rewired():
    """Six agents and as many links as `six_agents`, but a0 is linked to all of B and C: its degree is 4."""
    mapping = six_agents()
    kept = [link for link in mapping["links"] if set(link["between"]) not in ({"a1", "b0"}, {"b1", "c1"})]
    added = [{"between": ["a0", "c0"], "ber": 0.01}, {"between": ["a0", "c1"], "ber": 0.02}]
    return {**mapping, "links": kept + added}


def test_every_network_of_the_stack_is_the_one_that_went_in():
    singles = [params_of(six_agents()), params_of(rewired())]
    stack = stack_networks(singles)
    assert stack.elam_fees.shape == (2, 2)
    for index, single in enumerate(singles):
        member = jax.tree.map(lambda leaf, index=index: leaf[index], stack)
        alone = evaluate(KEY, random_actor(), single, USERS)
        again = evaluate(KEY, random_actor(), member, USERS)
        assert jax.tree.all(jax.tree.map(np.array_equal, alone, again))


def test_slots_are_of_all_networks_and_the_policy_is_told_which():
    stack = stack_networks([params_of(six_agents()), params_of(rewired())])
    task = composition_task(POLICY, stack, EpisodeConfig(num_slots=16, users_per_slot=4))
    scenes, batch, metrics = jax.jit(task.collect)(POLICY.init(KEY), USERS, KEY)
    links = {str(ends) for ends in scenes.network.link_ends.tolist()}
    assert links == {str(ends) for ends in stack.network.link_ends.tolist()} and len(links) == 2
    assert batch.reward.shape == (16, 3, 4)
    assert jnp.isfinite(metrics["episode/reward"])


@pytest.mark.parametrize(
    "others", [[four_agents()], [dead_end()], [{**six_agents(), "request": ["A", "B"]}]], ids=str
)
def test_networks_of_other_sizes_are_refused(others):
    with pytest.raises(ValueError, match="network 1 differs from the first"):
        stack_networks([params_of(six_agents()), *map(params_of, others)])


def test_other_rules_and_no_networks_are_refused():
    with pytest.raises(ValueError, match="network 1 differs from the first"):
        stack_networks([params_of(six_agents()), params_of(six_agents(), mask_types=True)])
    with pytest.raises(ValueError, match="no networks"):
        stack_networks([])
