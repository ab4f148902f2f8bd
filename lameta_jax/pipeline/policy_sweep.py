"""Sweeps of composition policies: settings of the learner, preferences and networks, many trainings in one program."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from lameta_jax.composition.env import EnvConfig, EnvParams, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig, Trainer, TrainState
from lameta_jax.composition.network_pool import stack_networks
from lameta_jax.composition.policy import Policy, PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.policy_files import TrainedPolicy
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import User, make_users
from lameta_jax.functional import Params
from lameta_jax.network.network import Scenario
from lameta_jax.pipeline.own_policy import ALGORITHMS, any_users, best_qoe
from lameta_jax.scale.checkpoint import unpacked
from lameta_jax.scale.chunks import Scores
from lameta_jax.scale.halving import HalvingConfig, Staged
from lameta_jax.scale.space import Choice, Fixed, Group, Space, SpaceError

POOL_SIZE, JUDGES = 4096, 200  # users that episodes are drawn from, and users that a policy is judged by
ANY = "any"  # label of users who differ in what they want
REWARDS = ("functional_reward", "step_reward_scale", "failure_qoe")  # of `EnvConfig`
SIZES = tuple(field.name for field in fields(PolicyConfig) if field.name != "num_elams")
LOOPS = ("num_epochs", "num_minibatches")  # of `LearnerConfig`


@dataclass(frozen=True, kw_only=True)
class PolicySweepConfig:
    """What all trainings of a sweep have in common."""

    algorithm: str = "ppo"  # one of ALGORITHMS
    updates: int = 50  # of a policy that is trained to the end
    users: int = 256  # episodes in every update
    env: EnvConfig = EnvConfig(mask_types=True)
    user_seed: int = 0  # of the users that policies are trained for and judged by


class World(NamedTuple):
    """Networks of one shape and users of several kinds, which runs refer to by number."""

    networks: EnvParams  # leading axis of networks
    pools: User  # leading axes of kinds of users and of users
    judges: User  # the same: validation users, to choose by, then test users, by whom nothing is chosen
    best: Float[Array, "networks kinds 2"]  # mean QoE of the best chains for either
    num_elams: int


def settings_of(algorithm: str) -> dict[str, bool]:
    """Names of what can be varied, and whether each is compiled in."""
    traced = [field.name for field in fields(ALGORITHMS[algorithm].hyperparameters)]
    return {name: False for name in (*traced, *REWARDS)} | {name: True for name in (*SIZES, *LOOPS)}


def checked_space(algorithm: str, varied: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name as a space: what is compiled in becomes `Fixed`, with whole numbers.

    Raises:
      SpaceError: a name that is no setting, or a range or fraction where a whole number is needed.
    """
    known, space = settings_of(algorithm), {}
    for name, axis in varied.items():
        if name not in known:
            raise SpaceError(f"{name}: not a setting; there are {', '.join(known)}")
        if known[name]:
            if not isinstance(axis, Sequence) or any(value != int(value) for value in axis):
                raise SpaceError(f"{name}: a list of whole numbers is needed")
            axis = Fixed(tuple(int(value) for value in axis))
        space[name] = axis
    return space


class PolicySweep:
    """The training of policies as a sweep runs it, and the runs' spaces, one per shape of networks."""

    def __init__(
        self, scenarios: Sequence[Scenario], preferences: Sequence[str], config: PolicySweepConfig
    ) -> None:
        """Draw users and find their best chains, which every run is held against.

        Args:
          scenarios: networks to train on; those of equal shapes share programs.
          preferences: kinds of users, each `ANY` or four weights C,B,L,P that all users of the kind have.
          config: what all trainings have in common.
        """
        self.config, self._preferences = config, tuple(preferences)
        by_shape: dict[Any, list[Scenario]] = {}
        for scenario in scenarios:
            shape = jax.tree.map(jnp.shape, make_env_params(scenario, config.env))
            by_shape.setdefault(str(shape), []).append(scenario)
        self._members = list(by_shape.values())
        self.worlds = [_world(members, preferences, config) for members in self._members]

    def spaces(self, varied: Space) -> list[dict[str, Any]]:
        """What is varied together with networks and kinds of users, for every shape."""
        kinds = {"preference": Choice(self._preferences)}
        return [
            {"network": Choice(tuple(one.name for one in members)), **kinds, **varied}
            for members in self._members
        ]

    def in_world(self, groups: Sequence[Group], world: int) -> list[Group]:
        """Runs that are told which shape of networks is theirs."""
        return [group._replace(fixed={**group.fixed, "world": world}) for group in groups]

    def train(self, settings: Mapping[str, Any], key: Array) -> tuple[Scores, Params]:
        """One policy, as `sweep` wants it: the share of the optimum that it gives to validation and to test users."""
        run = self._run(settings)
        state, metrics = run.trainer.train(run.hyperparameters, run.pool, key)
        return self._scores(settings, run, state.params, metrics), state.params

    def staged(self, config: HalvingConfig) -> Staged:
        """The same in stages: who takes part in the last one has been trained for all updates."""
        ends = [self.config.updates // config.eta**stage for stage in reversed(range(config.stages))]
        if ends[0] < 1:
            raise SpaceError(f"{self.config.updates} updates cannot be cut into {config.stages} stages")

        def init(settings: Mapping[str, Any], key: Array) -> TrainState:
            run = self._run(settings)
            return run.trainer.init(run.hyperparameters, run.pool, key)

        def advance(settings: Mapping[str, Any], state: TrainState, stage: int) -> tuple[TrainState, Scores]:
            run, count = self._run(settings), ends[stage] - (ends[stage - 1] if stage else 0)
            state, metrics = run.trainer.advance(run.hyperparameters, state, count)
            return state, self._scores(settings, run, state.params, metrics)

        return Staged(init, advance, lambda state: state.params)

    def policy(self, columns: Mapping[str, Any], result: PyTree) -> TrainedPolicy:
        """A policy ready to act, from what a run with those settings kept."""
        scenario = next(one for one in sum(self._members, []) if one.name == columns["network"])
        sizes = _sizes(columns, len(scenario.elam_names))
        like = jax.eval_shape(make_policy(sizes).init, jax.random.key(0))
        return TrainedPolicy(
            config=sizes, params=unpacked(like, result), initial_elam=self.config.env.initial_elam
        )

    def _run(self, settings: Mapping[str, Any]) -> "_Run":
        world, algorithm = self.worlds[settings["world"]], ALGORITHMS[self.config.algorithm]
        network = _at(world.networks, settings["network"])
        rewards = {name: jnp.asarray(settings[name]) for name in REWARDS if name in settings}
        policy = make_policy(_sizes(settings, world.num_elams))
        loops = algorithm.sizes | {name: settings[name] for name in LOOPS if name in settings}
        task = composition_task(
            policy, replace(network, **rewards), EpisodeConfig(users_per_slot=self.config.users)
        )
        trainer = algorithm.make_train(LearnerConfig(num_updates=self.config.updates, **loops), task)
        own = algorithm.hyperparameters
        traced = {one.name: settings[one.name] for one in fields(own) if one.name in settings}
        pool = _at(world.pools, settings["preference"])
        return _Run(policy, network, trainer, replace(own, **traced), pool)

    def _scores(self, settings: Mapping[str, Any], run: "_Run", params: Params, metrics: dict) -> Scores:
        world = self.worlds[settings["world"]]
        users = _at(world.judges, settings["preference"])
        found = evaluate(jax.random.key(0), policy_actor(run.policy, params), run.network, users)
        best = world.best[settings["network"], settings["preference"]]
        share, test_share = jnp.mean(found.qoe.reshape(2, -1), axis=1) / best
        return {"score": share, "test_share": test_share, "last_reward": metrics["episode/reward"][-1]}


class _Run(NamedTuple):
    policy: Policy
    network: EnvParams  # with the rewards of the sweep, not of the run
    trainer: Trainer
    hyperparameters: Any
    pool: User


def _world(scenarios: Sequence[Scenario], preferences: Sequence[str], config: PolicySweepConfig) -> World:
    networks = [make_env_params(scenario, config.env) for scenario in scenarios]
    num_elams, pairs = networks[0].num_elams, list(enumerate(preferences))
    key_pool, key_judges = jax.random.split(jax.random.key(config.user_seed))
    pools, judges = (
        _stacked([_users(jax.random.fold_in(key, kind), text, size, num_elams) for kind, text in pairs])
        for key, size in ((key_pool, POOL_SIZE), (key_judges, 2 * JUDGES))
    )
    best = [
        [best_qoe(one.network, one.request, judges.preference[kind])[1] for kind, _ in pairs]
        for one in scenarios
    ]
    means = jnp.mean(jnp.asarray(best).reshape(len(scenarios), len(pairs), 2, -1), axis=-1)
    return World(stack_networks(networks), pools, judges, means, num_elams)


def _users(key: Array, text: str, count: int, num_elams: int) -> User:
    if text == ANY:
        return any_users(key, count, num_elams)
    weights = np.asarray([float(part) for part in text.split(",")])
    return make_users(np.tile(weights, (count, 1)), num_elams=num_elams)


def _sizes(settings: Mapping[str, Any], num_elams: int) -> PolicyConfig:
    return PolicyConfig(num_elams=num_elams, **{name: settings[name] for name in SIZES if name in settings})


def _stacked(parts: Sequence[PyTree]) -> PyTree:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)


def _at(tree: PyTree, place: Any) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[place], tree)
