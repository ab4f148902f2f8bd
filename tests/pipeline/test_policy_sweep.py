"""Runs of a sweep of policies, beside the same training done by hand."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import six_agents

from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import optimum
from lameta_jax.pipeline.policy_sweep import PolicySweep, PolicySweepConfig, checked_space
from lameta_jax.scale.chunks import SweepConfig
from lameta_jax.scale.space import SpaceError, grid_runs
from lameta_jax.scale.sweep import sweep

pytestmark = pytest.mark.slow  # programs of sixteen trainings; tests/cli/test_sweep.py runs a smaller one

WANTED = "0.1,0.2,0.3,0.4"
WIDTH, UPDATES, USERS = 8, 2, 8


def scenarios():
    """Two networks of one shape."""
    other = copy.deepcopy(six_agents())
    other["name"] = "other"
    for agent in other["agents"]:
        agent["service_rate"] *= 1.5
    return [parse_scenario(six_agents(), "six"), parse_scenario(other, "other")]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    config = PolicySweepConfig(updates=UPDATES, users=USERS)
    trained = PolicySweep(scenarios(), ("any", WANTED), config)
    space = checked_space("ppo", {"learning_rate": (1e-3, 0.1), "width": (WIDTH,)})
    groups = trained.in_world(grid_runs(trained.spaces(space)[0], seeds=(0, 5)), 0)
    traced = []

    def train(settings, key):
        traced.append(settings["width"])
        return trained.train(settings, key)

    found = sweep(train, groups, SweepConfig(width=16, keep=2), folder=tmp_path_factory.mktemp("sweep"))
    return trained, found, traced


def test_networks_preferences_settings_and_seeds_share_one_program(done):
    _, found, traced = done
    assert traced == [WIDTH] and len(found.table["run"]) == 16
    assert set(found.table["network"]) == {"by-hand", "other"} and set(found.table["preference"]) == {
        "any",
        WANTED,
    }


def test_a_run_is_the_training_that_its_row_says(done):
    trained, found, _ = done
    row = next(
        place
        for place in range(16)
        if (found.table["network"][place], found.table["preference"][place]) == ("other", WANTED)
        and (found.table["learning_rate"][place], found.table["seed"][place]) == (0.1, 5)
    )
    scenario = scenarios()[1]
    params = make_env_params(scenario, EnvConfig(mask_types=True))
    policy = make_policy(PolicyConfig(num_elams=len(scenario.elam_names), width=WIDTH))
    task = composition_task(policy, params, EpisodeConfig(users_per_slot=USERS))
    users = make_users(jnp.tile(jnp.array([0.1, 0.2, 0.3, 0.4]), (4096, 1)), num_elams=params.num_elams)
    trainer = make_train(LearnerConfig(num_updates=UPDATES), task)
    state, metrics = trainer.train(PPOHyperparameters(learning_rate=0.1), users, jax.random.key(5))
    one = jax.tree.map(lambda leaf: leaf[:1], users)
    reached = evaluate(jax.random.key(0), policy_actor(policy, state.params), params, one).qoe[0]
    best = optimum(scenario.network, scenario.request, one.preference).qoe[0, 0]
    assert found.table["last_reward"][row] == pytest.approx(float(metrics["episode/reward"][-1]), rel=1e-4)
    assert found.table["score"][row] == pytest.approx(float(reached / best), rel=1e-4)
    assert found.table["test_share"][row] == pytest.approx(found.table["score"][row])  # all want the same


def test_kept_policies_act_as_their_scores_say(done):
    trained, found, _ = done
    for kept in found.best:
        columns = {name: values[kept.run] for name, values in found.table.items()}
        policy = trained.policy(columns, kept.result)
        assert policy.config.width == WIDTH
        world, place = trained.worlds[0], ["by-hand", "other"].index(columns["network"])
        kind = ["any", WANTED].index(columns["preference"])
        judges = jax.tree.map(lambda leaf, kind=kind: leaf[kind], world.judges)
        scenario = scenarios()[place]
        params = make_env_params(scenario, EnvConfig(mask_types=True))
        actor = policy_actor(make_policy(policy.config), policy.params)
        reached = np.asarray(evaluate(jax.random.key(0), actor, params, judges).qoe)
        best = np.asarray(optimum(scenario.network, scenario.request, judges.preference).qoe[:, 0])
        half = len(best) // 2
        assert kept.score == pytest.approx(reached[:half].mean() / best[:half].mean(), rel=1e-4)
        assert columns["test_share"] == pytest.approx(reached[half:].mean() / best[half:].mean(), rel=1e-4)
        assert kept.score <= 1 + 1e-5


@pytest.mark.parametrize(
    ("varied", "message"),
    [
        ({"learning": (1.0,)}, "learning: not a setting; there are learning_rate"),
        ({"width": (8.5,)}, "width: a list of whole numbers"),
    ],
)
def test_what_cannot_be_varied_is_refused(varied, message):
    with pytest.raises(SpaceError, match=message):
        checked_space("ppo", varied)
