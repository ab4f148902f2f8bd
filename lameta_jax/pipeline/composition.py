"""Stage 2 end to end: train composers on a scenario and hold them against the exact optimum (LAMeTA Sec. V, VI-C)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lameta_jax.composition.baselines import (
    even_users,
    greedy_actor,
    hide_intents,
    random_actor,
    replay_actor,
)
from lameta_jax.composition.env import EnvConfig, EnvParams, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.policy import Policy, PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import Actor, User, make_users
from lameta_jax.functional import Params
from lameta_jax.network.network import Scenario
from lameta_jax.network.optimum import optimum
from lameta_jax.network.qoe import ChainFactors

RANDOM_DRAWS = 32  # episodes per user that the random composer is averaged over


@dataclass(frozen=True, kw_only=True)
class CompositionConfig:
    """How composers are trained."""

    learner: LearnerConfig = LearnerConfig()
    episodes: EpisodeConfig = EpisodeConfig()
    env: EnvConfig = EnvConfig()
    updates_per_report: int = 20  # policy updates between two calls of `progress`


class TrainedComposer(NamedTuple):
    """A policy with what it learned and how the training went."""

    policy: Policy
    policy_config: PolicyConfig
    params: Params
    update: np.ndarray  # number of each update
    qoe: np.ndarray  # mean realised QoE of its episodes
    fraction: np.ndarray  # the same as a share of what exact search gives the pool's users on average

    @property
    def actor(self) -> Actor:
        return policy_actor(self.policy, self.params)


class Outcome(NamedTuple):
    """What one composer gives every user; averages over draws where it draws."""

    qoe: Float[np.ndarray, " users"]  # realised subjective QoE, fees apart
    net_qoe: Float[np.ndarray, " users"]  # less the fees of E-LAM calls, the objective (18a)
    feasible: Float[np.ndarray, " users"]
    chain: Int[np.ndarray, "users hops"]  # of the last draw
    factors: ChainFactors  # of that chain
    elam_calls: Float[np.ndarray, "users elams"]  # calls of every E-LAM per episode


def train_composer(
    key: Array,
    scenario: Scenario,
    users: User,
    config: CompositionConfig,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainedComposer:
    """Train a pointer policy by PPO; `progress(updates done, of, mean QoE)` is called between jitted chunks."""
    policy_config = PolicyConfig(num_elams=len(scenario.elam_names))
    policy = make_policy(policy_config)
    task = composition_task(policy, make_env_params(scenario, config.env), config.episodes)
    trainer = make_train(config.learner, task)
    hyperparameters = PPOHyperparameters()
    state = trainer.init(hyperparameters, users, key)
    curve: list[np.ndarray] = []
    for start in range(0, config.learner.num_updates, config.updates_per_report):
        count = min(config.updates_per_report, config.learner.num_updates - start)
        state, metrics = trainer.advance(hyperparameters, state, count)
        curve.append(np.asarray(metrics["episode/qoe"]))
        if progress is not None:
            progress(start + count, config.learner.num_updates, float(curve[-1].mean()))
    update, qoe = np.arange(1, config.learner.num_updates + 1), np.concatenate(curve)
    best = optimum(scenario.network, scenario.request, users.preference)
    fraction = qoe / float(best.qoe[:, 0].mean())
    return TrainedComposer(policy, policy_config, state.params, update, qoe, fraction)


def train_even_composer(
    key: Array,
    scenario: Scenario,
    users: User,
    config: CompositionConfig,
    progress: Callable[[int, int, float], None] | None = None,
) -> TrainedComposer:
    """DRL (Even): the same training on users who care about all four factors alike.

    Where all users want the same, training can settle on a chain with an agent of a wrong type and never leave it
    (seen in one seed of five). So that the baseline is no straw man, it may not pick such agents; SRL may.
    """
    return train_composer(key, scenario, even_users(users), even_config(config), progress)


def even_config(config: CompositionConfig) -> CompositionConfig:
    """The configuration of DRL-even: agents of the wrong type are masked."""
    return replace(config, env=replace(config.env, mask_types=True))


def measure(key: Array, actor: Actor, params: EnvParams, users: User, draws: int = 1) -> Outcome:
    """Serve every user by an actor, `draws` times, in the nominal slot."""
    runs = [evaluate(draw, actor, params, users) for draw in jax.random.split(key, draws)]
    calls = [(run.elams[:, :, None] == jnp.arange(params.num_elams)[None, None]).sum(axis=1) for run in runs]
    return Outcome(
        *(np.mean([getattr(run, name) for run in runs], axis=0) for name in ("qoe", "net_qoe", "feasible")),
        chain=np.asarray(runs[-1].chain),
        factors=runs[-1].factors,
        elam_calls=np.mean(calls, axis=0),
    )


def compare_composers(
    key: Array,
    scenario: Scenario,
    preferences: Float[np.ndarray, "users 4"],
    translated: Float[np.ndarray, "users elams 4"],
    composers: dict[str, Actor],
    even: Actor,
    config: CompositionConfig,
) -> dict[str, Outcome]:
    """Every composer on the same users.

    Args:
      preferences: the users' own.
      translated: what each E-LAM makes of the users' prompts, in the order of `scenario.elam_names`.
      composers: trained policies by name; each is measured given the translations, under its name, and given
        the users' own preferences, under its name followed by " (own preference)".
      even: the policy of `train_even_composer`; it is told nothing of the intents.

    Returns:
      Outcomes by name: random, greedy, DRL-even, the composers, `plug-in optimum (<E-LAM>)`, optimum.
    """
    params = make_env_params(scenario, config.env)
    asked = make_users(preferences, translated)
    known = make_users(preferences, num_elams=len(scenario.elam_names))
    outcomes = {
        "random": measure(key, random_actor(respect_types=True), params, asked, RANDOM_DRAWS),
        "greedy": measure(key, greedy_actor(), params, asked),
        "DRL-even": measure(
            key, even, make_env_params(scenario, even_config(config).env), hide_intents(asked)
        ),
    }
    for name, actor in composers.items():
        outcomes[name] = measure(key, actor, params, asked)
        outcomes[f"{name} (own preference)"] = measure(key, actor, params, known)
    for index, elam in enumerate(scenario.elam_names):
        chains = optimum(scenario.network, scenario.request, jnp.asarray(translated[:, index], dtype=float))
        actor = replay_actor(chains.agents[:, 0])
        outcomes[f"plug-in optimum ({elam})"] = measure(key, actor, params, known)
    best = optimum(scenario.network, scenario.request, jnp.asarray(preferences, dtype=float))
    outcomes["optimum"] = measure(key, replay_actor(best.agents[:, 0]), params, known)
    return outcomes


def fractions(outcomes: dict[str, Outcome]) -> dict[str, Float[np.ndarray, " users"]]:
    """Share of the exact optimum that each composer gives each user; 1 minus it is the optimality gap."""
    return {name: outcome.qoe / outcomes["optimum"].qoe for name, outcome in outcomes.items()}


def training_pools(
    preferences: Mapping[str, Float[np.ndarray, "_ 4"]], crossed: Mapping[str, Float[np.ndarray, "_ elams 4"]]
) -> tuple[User, User]:
    """Users to train SRL and DRL-even on, from the training prompts of all applications.

    SRL meets every user twice: understood perfectly, and as E-LAMs that had not seen the prompt read it (`crossed`,
    see `cross_translate`). DRL-even hears nothing of intents, so it meets every user once.
    """
    own = [make_users(values) for values in preferences.values()]
    asked = [make_users(values, crossed[name]) for name, values in preferences.items()]
    return pool([*own, *asked]), pool(own)


def pool(parts: Sequence[User]) -> User:
    """One pool of users from several."""
    return make_users(
        np.concatenate([part.preference for part in parts]),
        np.concatenate([part.translated for part in parts]),
    )
