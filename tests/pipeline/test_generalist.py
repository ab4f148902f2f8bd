"""Policies that meet many networks: what they meet, how they are trained, and what the shipped one does elsewhere."""

from importlib.resources import as_file, files

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.cli.compose import SHIPPED_POLICY
from lameta_jax.composition.compose import compose_chains
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import value_chains
from lameta_jax.composition.policy import PolicyConfig
from lameta_jax.composition.policy_files import load_policy
from lameta_jax.composition.rollout import EpisodeConfig
from lameta_jax.composition.users import draw_users
from lameta_jax.network.chains import count_walks
from lameta_jax.network.network import NetworkError
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import ScenarioConfig, draw_scenario
from lameta_jax.pipeline.generalist import GeneralistConfig, GeneralistTrainer, draw_networks

RULES = EnvConfig(mask_types=True)
SMALL = (
    ScenarioConfig(num_agents=12, mean_degree=6.0),
    ScenarioConfig(num_agents=9, mean_degree=6.0, num_types=2, request=("type-1", "type-2")),
)


@pytest.mark.parametrize("topology", ["erdos-renyi", "random-geometric"])
def test_networks_of_a_kind_differ_and_can_all_serve_their_request(topology):
    kind = ScenarioConfig(num_agents=30, mean_degree=10.0, topology=topology)
    networks = draw_networks(kind, 4, seed=5, env=RULES)
    ends = np.asarray(networks.network.link_ends)
    assert ends.shape[0] == 4 and len({one.tobytes() for one in ends}) == 4
    for index in range(4):
        one = jax.tree.map(lambda leaf, index=index: leaf[index], networks)
        assert len({tuple(pair) for pair in np.asarray(one.network.link_ends).tolist()}) == ends.shape[1]
        assert count_walks(one.network, one.request) > 0


def test_kinds_that_cannot_serve_their_request_are_refused():
    with pytest.raises(NetworkError, match="can serve their request"):
        draw_networks(ScenarioConfig(num_agents=4, mean_degree=1.0, max_latency=1e-6), 2, seed=0, env=RULES)


def test_updates_must_fill_whole_turns():
    with pytest.raises(ValueError, match="num_updates = 10 must be a multiple of 80"):
        GeneralistConfig(num_updates=10)


@pytest.mark.slow
def test_training_meets_every_kind_in_turn_and_depends_on_the_key_alone():
    config = GeneralistConfig(
        kinds=SMALL,
        networks_per_kind=3,
        num_updates=8,
        updates_per_turn=2,
        episodes=EpisodeConfig(num_slots=2, users_per_slot=8),
        policy=PolicyConfig(width=8, context_width=16, intent_width=4, elam_width=2),
    )
    users, turns = draw_users(jax.random.key(0), jnp.ones(4), 50), []
    trainer = GeneralistTrainer(config)
    first = trainer.train(jax.random.key(1), users, turns.append)
    again, other = (trainer.train(jax.random.key(seed), users) for seed in (1, 2))
    assert [turn.done for turn in turns] == [2, 4, 6, 8]
    assert [turn.kind for turn in turns] == [*SMALL, *SMALL]
    assert jax.tree.all(jax.tree.map(np.array_equal, first.params, again.params))
    assert not jax.tree.all(jax.tree.map(np.array_equal, first.params, other.params))


def test_the_shipped_policy_is_near_the_optimum_of_a_network_that_it_has_not_met():
    """By far: the study `generalist` says how near."""
    with as_file(files("lameta_jax").joinpath(*SHIPPED_POLICY)) as path:
        policy = load_policy(path)
    kind = ScenarioConfig(num_agents=50, mean_degree=16.0, topology="watts-strogatz")
    scenario = draw_scenario(kind, seed=321)
    users = draw_users(jax.random.key(9), jnp.ones(4), 60)
    chains = compose_chains(policy, make_env_params(scenario, RULES), users)
    qoe = value_chains(scenario.network, scenario.request, chains, users.preference)
    best = optimum(scenario.network, scenario.request, users.preference).qoe[:, 0]
    assert float(jnp.mean(qoe / best)) > 0.9
