"""PPO and REINFORCE on probes whose values are known by hand, and on a network small enough to be a bandit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import six_agents
from reference.probe_tasks import PROBES, Probe, decide, probe_task

from lameta_jax.composition import ppo, reinforce
from lameta_jax.composition.env import make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig, make_trainer
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.task import Replayed, Task
from lameta_jax.composition.types import make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.optimum import optimum

KEY = jax.random.key(0)
ALGORITHMS = {
    "ppo": (
        ppo.make_train,
        LearnerConfig(num_updates=150, num_epochs=2, num_minibatches=2),
        ppo.PPOHyperparameters(learning_rate=1e-2, gamma=0.5, entropy_coefficient=0.0),
    ),
    "reinforce": (
        reinforce.make_train,
        LearnerConfig(num_updates=400, num_epochs=1, num_minibatches=1),
        reinforce.ReinforceHyperparameters(learning_rate=1e-2, gamma=0.5, entropy_coefficient=0.0),
    ),
}
# name: (what is seen, step) to value; with gamma 1/2. Late: 1 at the end, so 1/2 before. The time limit ends nothing:
# V = 1 + V / 2 = 2, where an end would leave 1 to 1.75.
VALUES = {
    "constant value": {(0.0, 0): 1.0},
    "value of what is seen": {(1.0, 0): 1.0, (-1.0, 0): -1.0},
    "late reward": {(0.0, 0): 0.5, (0.0, 1): 1.0},
    "action": {(0.0, 0): 1.0},
    "action by what is seen": {(1.0, 0): 1.0, (-1.0, 0): 1.0},
    "time limit": {(0.0, 0): 2.0},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_has_the_value_known_by_hand(name, algorithm):
    make, config, hyperparameters = ALGORITHMS[algorithm]
    trainer = make(config, probe_task(PROBES[name]))
    state, metrics = trainer.train(hyperparameters, jnp.zeros(0), KEY)
    for (seen, step), expected in VALUES[name].items():
        at = jnp.full((1, 1, 1), seen), jnp.full((1, 1, 1), step)
        logits, value = decide(state.params, *at)
        assert float(value[0, 0, 0]) == pytest.approx(expected, abs=0.1)
        if name.startswith("action"):
            wanted = 1 if seen >= 0 else 0
            assert float(jax.nn.softmax(logits)[0, 0, 0, wanted]) > 0.95
    assert np.isfinite(metrics["episode/reward"]).all()


@pytest.mark.slow
def test_both_find_the_one_best_chain_of_a_user():
    scenario = parse_scenario(six_agents(), "six")
    params, policy = (
        make_env_params(scenario),
        make_policy(PolicyConfig(width=16, context_width=32, lookahead=0)),
    )
    task = composition_task(policy, params, EpisodeConfig(users_per_slot=64))
    users = make_users(np.array([[0.7, 0.1, 0.1, 0.1]]))
    best = optimum(scenario.network, scenario.request, users.preference).agents[:, 0]
    for make, _, hyperparameters in ALGORITHMS.values():
        trainer = make(LearnerConfig(num_updates=120, num_epochs=1, num_minibatches=1), task)
        state, _ = trainer.train(hyperparameters.replace(gamma=1.0, entropy_coefficient=0.02), users, KEY)
        chain = evaluate(KEY, policy_actor(policy, state.params), params, users).chain
        assert chain.tolist() == best.tolist()


def test_the_best_parameters_so_far_are_those_of_the_best_episodes():
    """A policy whose one parameter is its return, which every step moves away from the optimum at 0."""

    def collect(params, pool, key):
        batch = probe_task(Probe(1, 1, False, lambda *_: jnp.zeros((1, 1, 2)), False), 2).collect
        context, played, _ = batch(probe_task(PROBES["action"]).init(key), pool, key)
        return context, played, {"episode/reward": pool[0] - jnp.abs(params)}

    def replay(params, context, batch):
        shift = params * jnp.ones_like(batch.log_prob)
        return Replayed(shift, 0 * shift, -shift)  # the critic's loss pulls the parameter somewhere else

    trainer = make_trainer(
        LearnerConfig(num_updates=5, num_epochs=1, num_minibatches=1),
        Task(lambda key: jnp.asarray(0.0), collect, replay),
        lambda numbers, log_prob, old, advantage: -log_prob,
    )
    numbers = ppo.PPOHyperparameters(learning_rate=0.1)
    state, metrics = trainer.train(numbers, jnp.asarray([3.0]), KEY)
    assert float(state.params) != 0.0
    assert (float(state.best_params), float(state.best_reward)) == (0.0, 3.0)
    assert float(metrics["episode/reward"][-1]) < 3.0


def test_reinforce_takes_one_step_on_what_it_played():
    with pytest.raises(ValueError, match="num_epochs = 4 and num_minibatches = 4 must be 1"):
        reinforce.make_train(LearnerConfig(), probe_task(PROBES["action"]))
