"""Training by PPO: environment steps per second, and wall time to 0.95 of the optimum, beside Stable-Baselines3.

    lameta bench ppo                              # or: python experiments/benchmarks/bench_ppo.py

lameta-81 without variation of its conditions, agents of the wrong type masked, users of any preferences read without
error; 256 episodes per update, 4 epochs of 4 minibatches, hidden layers 128 and 128 with ReLU for actor and critic, the
same learning rate, its decline, and all other numbers of PPO. Ours is the actor as the paper prints it (`mlp`), which
also encodes the network by graph convolutions; theirs has nothing to encode. Our default actor (`pointer`) is a row of
its own. Stable-Baselines3 (MaskablePPO) runs on `numpy_env.py`, in the best of several settings for this machine.

The share of the optimum is the mean QoE of 200 users whom nobody trained on over that of the exact optimum. Measuring
it is not counted. Compiling is counted apart. Stable-Baselines3 stops at a limit of time; what has not reached the
target by then has a lower bound.
"""

import statistics
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from benchmark import OURS, Contender, comparison, fastest, finish, measured, options
from common import report
from numpy_env import Rules, numpy_network
from sb3_ppo import FlatChainEnv, Setting, Sizes, UntilTarget, make_model, mean_qoe, vector_env

from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig, TrainState
from lameta_jax.composition.mlp_policy import MLPPolicyConfig, make_mlp_policy
from lameta_jax.composition.policy import Policy, PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.users import draw_users
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import load_named
from lameta_jax.scale.cores import usable_cores
from lameta_jax.scale.timing import compiled

SPEED_AIM, TIME_AIM, TARGET = 50, 50, 0.95
SCENARIO = load_named("lameta-81")
NETWORK = numpy_network(SCENARIO)
RULES = EnvConfig(mask_types=True)
PARAMS = make_env_params(SCENARIO, RULES)
POOL = draw_users(jax.random.key(0), jnp.ones(4), 4096)
HELD_OUT = draw_users(jax.random.key(2028), jnp.ones(4), 200)
EPISODES, UPDATES = EpisodeConfig(num_slots=1, users_per_slot=256), 200
LEARNER, NUMBERS = LearnerConfig(num_updates=UPDATES), PPOHyperparameters()
HIDDEN = (PolicyConfig().context_width,) * 2
SIZES = Sizes(EPISODES.users_per_slot * PARAMS.num_hops, LEARNER.num_epochs, LEARNER.num_minibatches, HIDDEN)
POLICIES = {
    f"{OURS}, mlp": make_mlp_policy(MLPPolicyConfig(num_agents=PARAMS.num_agents)),
    f"{OURS}, pointer": make_policy(),
}
MLP = next(iter(POLICIES))
NUM_SEEDS = 64
SEEDS = f"{OURS}, mlp, {NUM_SEEDS} seeds at once"


def main() -> None:
    given = options(__doc__)
    seeds, limit = ([0], 20.0) if given.quick else ([0, 1, 2], 600.0)
    best = float(optimum(SCENARIO.network, SCENARIO.request, HELD_OUT.preference).qoe.mean())
    candidates = settings(given.quick)
    learners = {name: Learner(policy) for name, policy in POLICIES.items()}
    contenders = {name: learner.contender() for name, learner in learners.items()}
    if jax.default_backend() != "cpu":
        contenders[SEEDS] = learners[MLP].many_seeds()
    contenders |= {setting.label(): theirs(setting) for setting in candidates}
    rows = measured(contenders, 2 if given.quick else 7)
    peer = fastest(rows, *(setting.label() for setting in candidates))
    setting = next(one for one in candidates if one.label() == peer)
    times = {
        name: [learner.time_to_target(best, seed) for seed in seeds] for name, learner in learners.items()
    }
    times[peer] = [their_time(setting, best, seed, limit) for seed in seeds]
    aims = {MLP: (SPEED_AIM, TIME_AIM)}
    comparisons = [
        comparison("PPO training", rows, name, peer, unit="environment steps", aim=aims.get(name, (None,))[0])
        for name in contenders
        if name.startswith(OURS)
    ]
    comparisons += [time_comparison(times, name, peer, aims.get(name, (None, None))[1]) for name in POLICIES]
    results = {
        "sizes": SIZES._asdict(),
        "target": TARGET,
        "limit_seconds": limit,
        "contenders": rows,
        "time_to_target": times,
    }
    finish("ppo", comparisons, results, given, seeds)


class Learner:
    """One of our policies, and the program that trains it by one update."""

    def __init__(self, policy: Policy):
        self.policy = policy
        self.trainer = make_train(LEARNER, composition_task(policy, PARAMS, EPISODES))
        self.update = partial(self.trainer.advance, num_updates=1)
        self.program = compiled(jax.jit(self.update), NUMBERS, self.start(0))

    def start(self, seed: int) -> TrainState:
        return self.trainer.init(NUMBERS, POOL, jax.random.key(seed))

    def contender(self) -> Contender:
        """An update, from the same state in every call."""
        state = self.start(0)
        return Contender(lambda: self.program.call(NUMBERS, state), SIZES.steps_per_update, self.program)

    def many_seeds(self) -> Contender:
        """An update of many policies in one program, as sweeps train them."""
        states = jax.vmap(partial(self.trainer.init, NUMBERS, POOL))(
            jax.random.split(jax.random.key(0), NUM_SEEDS)
        )
        program = compiled(jax.jit(jax.vmap(self.update, in_axes=(None, 0))), NUMBERS, states)
        return Contender(lambda: program.call(NUMBERS, states), NUM_SEEDS * SIZES.steps_per_update, program)

    def time_to_target(self, best: float, seed: int) -> dict[str, Any]:
        """Updates and steady seconds until held-out users get the target."""
        state, seconds, share, done = self.start(seed), 0.0, 0.0, 0
        while share < TARGET and done < UPDATES:
            begun = time.perf_counter()
            state, _ = self.program.call(NUMBERS, state)
            seconds, done = seconds + time.perf_counter() - begun, done + 1
            found = evaluate(jax.random.key(1), policy_actor(self.policy, state.params), PARAMS, HELD_OUT)
            share = float(found.qoe.mean()) / best
        report(f"seed {seed}: {share:.3f} of the optimum after {done} updates, {seconds:.2f} s")
        return {
            "reached": share >= TARGET,
            "share": share,
            "updates": done,
            "seconds": seconds,
            "compile_seconds": self.program.lower_seconds + self.program.compile_seconds,
        }


def settings(quick: bool) -> list[Setting]:
    """What Stable-Baselines3 is tried with."""
    cores = usable_cores()
    if quick:
        return [Setting(16, False, 1)]
    found = [Setting(envs, False, 1) for envs in (4, 16, 64, 256)]
    if cores > 1:
        found += [Setting(16, False, cores), Setting(64, False, cores), Setting(cores, True, cores)]
    return found


def theirs(setting: Setting) -> Contender:
    model = their_model(setting, seed=0)
    return Contender(partial(their_update, model, setting), SIZES.steps_per_update)


def their_model(setting: Setting, seed: int) -> Any:
    make = partial(
        FlatChainEnv,
        NETWORK,
        np.asarray(POOL.preference),
        np.asarray(POOL.translated),
        Rules(mask_types=RULES.mask_types),
    )
    return make_model(vector_env(make, setting), SIZES, NUMBERS, UPDATES, seed)


def their_update(model: Any, setting: Setting) -> None:
    torch.set_num_threads(setting.threads)  # of the process, in which settings take turns
    model.learn(SIZES.steps_per_update, reset_num_timesteps=False)


def their_time(setting: Setting, best: float, seed: int, limit: float) -> dict[str, Any]:
    """The same for Stable-Baselines3, which is stopped at the limit."""
    torch.set_num_threads(setting.threads)
    model = their_model(setting, seed)
    held_out = (np.asarray(HELD_OUT.preference), np.asarray(HELD_OUT.translated))

    def share(model):
        return mean_qoe(model, NETWORK, Rules(mask_types=RULES.mask_types), *held_out) / best

    until = UntilTarget(share, TARGET, limit)
    model.learn(UPDATES * SIZES.steps_per_update, callback=until)
    report(
        f"{setting.label()}, seed {seed}: {until.best:.3f} after {until.updates} updates, {until.seconds:.1f} s"
    )
    return {
        "reached": until.best >= TARGET,
        "share": until.best,
        "updates": until.updates,
        "seconds": until.seconds,
    }


def time_comparison(times: dict[str, list[dict]], name: str, peer: str, aim: float | None) -> dict[str, Any]:
    """Median seconds to the target; where a seed of the peer did not reach it, the ratio is a lower bound."""
    mine, other = (statistics.median([one["seconds"] for one in times[who]]) for who in (name, peer))
    with_compiling = statistics.median([one["seconds"] + one["compile_seconds"] for one in times[name]])
    return {
        "what": f"PPO, wall time to {TARGET} of the optimum",
        "ours": name,
        "peer": peer,
        "unit": "trainings",
        "ours_per_second": 1 / mine,
        "peer_per_second": 1 / other,
        "ratio": other / mine,
        "ratio_with_compiling": other / with_compiling,
        "lower_bound": not all(one["reached"] for one in times[peer]),
        "reached_by_ours": all(one["reached"] for one in times[name]),
        "aim": aim,
    }


if __name__ == "__main__":
    main()
