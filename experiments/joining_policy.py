"""The part of `joining.py` that meta-learns the composition policy over applications."""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from joining_elam import kept
from srl_study import SLOTS, Study

from lameta_jax.composition.baselines import hide_intents, random_actor
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.policy import policy_actor
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import User, make_users
from lameta_jax.intents.corpus import load_history, preferences_of
from lameta_jax.pipeline.meta_learned import PolicyMetaConfig, meta_train_policy, started

TARGETS, VALIDATION = ("multimedia", "qa"), "industrial"
SEEN = ("report", "coding", "rendering", "translation", "medical")
TOLD = ("told the intent", "told nothing")
EPISODES = EpisodeConfig(num_slots=1, users_per_slot=64, slots=SLOTS)
UPDATES = 20  # of an adaptation
POINTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 20)
RATES = (5e-4, 2e-3, 8e-3)  # of an adaptation; the validation application chooses, over the first seeds
VALIDATION_SEEDS = 2
META = PolicyMetaConfig(num_rounds=25)
MAN = {"since": META.inner_updates, "step": 1.0}
REPTILE = {"since": 0, "step": 0.5}
UPDATES_MET = META.num_rounds * META.applications_per_round * (META.inner_updates + 1)
CONTENDERS = ("from scratch", "joint, then fine-tuned", "MAN, first order", "Reptile")


class Policies:
    """Policies, and how they adapt to an application never seen; `told` says what they hear of its users."""

    def __init__(self, study: Study):
        self.study, self.told = study, TOLD[0]
        task = composition_task(study.policy, study.params, EPISODES)
        self._adapt = make_train(LearnerConfig(num_updates=UPDATES), task)
        self._joint = make_train(LearnerConfig(num_updates=UPDATES_MET), task)
        records = load_history()
        self._users = {
            name: make_users(preferences_of([one for one in records if one.application == name]))
            for name in (*SEEN, VALIDATION, *TARGETS)
        }

    def heard(self, users: User) -> User:
        return users if self.told == TOLD[0] else hide_intents(users)

    def test_users(self, name: str) -> User:
        return self._users[name] if name == VALIDATION else self.study.users(name, "own")

    def random_share(self, name: str) -> float:
        users = self.test_users(name)
        return float(
            self.study.share(self.study.serve(random_actor(respect_types=True), users), users).mean()
        )

    def starts(self, seed: int) -> dict:
        """The initialisation of every contender; all have met as many episodes, but for the first, which met none."""
        usual = PPOHyperparameters()
        seen = [self.heard(self._users[name]) for name in SEEN]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *seen)
        pool = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), stacked)
        key_start, key = jax.random.split(jax.random.key(seed))
        begin = self._joint.init(usual, pool, key_start)
        meta = partial(meta_train_policy, self._adapt, usual, begin.params, stacked, key, META)
        joint, _ = self._joint.advance(usual, begin, UPDATES_MET)
        return dict(zip(CONTENDERS, (begin.params, joint.params, meta(**MAN), meta(**REPTILE)), strict=True))

    def curve(self, params, name: str, rate: float, seed: int) -> np.ndarray:
        """Share of the optimum after POINTS updates on the application's users, over its test users."""
        hyperparameters = PPOHyperparameters(learning_rate=rate)
        pool, users = self.heard(self._users[name]), self.test_users(name)
        state = started(self._adapt, hyperparameters, params, pool, jax.random.key(1000 + seed))
        shares = []
        for update in range(UPDATES + 1):
            if update in POINTS:
                served = self.study.serve(policy_actor(self.study.policy, state.params), self.heard(users))
                shares.append(self.study.share(served, users).mean())
            if update < UPDATES:
                state, _ = self._adapt.advance(hyperparameters, state, 1)
        return np.array(shares)

    def plateau(self, params, name: str, seed: int) -> float:
        """Share of the optimum after as many updates on the application's users as joint training has in all."""
        usual, users = PPOHyperparameters(), self.test_users(name)
        # As many users as joint training has, each as often, so that its program can be used.
        pool = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(SEEN)), self.heard(self._users[name]))
        state = started(self._joint, usual, params, pool, jax.random.key(2000 + seed))
        state, _ = self._joint.advance(usual, state, UPDATES_MET)
        served = self.study.serve(policy_actor(self.study.policy, state.params), self.heard(users))
        return float(self.study.share(served, users).mean())


def run(policies: Policies, told: str, seeds: list[int], folder: Path) -> dict:
    """Curves of all contenders, axes [seeds, points], with the rates that the validation application chose."""
    policies.told, starts = told, {}

    def start(seed: int):
        if seed not in starts:
            starts[seed] = policies.starts(seed)
        return starts[seed]

    def validate(seed: int):
        return {
            label: np.stack([policies.curve(params, VALIDATION, rate, seed) for rate in RATES])
            for label, params in start(seed).items()
        }

    place = told.replace(" ", "_")
    purpose = {
        "episodes": EPISODES,
        "points": POINTS,
        "rates": RATES,
        "meta": (META, MAN, REPTILE),
        "seen": SEEN,
    }

    def file(label: str):
        return folder / f"policy_{place}_{label}.msgpack"

    validated = [
        kept(file(f"validation_{seed}"), purpose, partial(validate, seed))
        for seed in seeds[:VALIDATION_SEEDS]
    ]
    chosen = {
        label: RATES[int(np.mean([one[label].mean(axis=1) for one in validated], axis=0).argmax())]
        for label in CONTENDERS
    }

    def measure(seed: int):
        begin = start(seed)
        curves = {
            f"{name}/{label}": policies.curve(params, name, chosen[label], seed)
            for name in TARGETS
            for label, params in begin.items()
        }
        plateaus = {
            f"{name}/plateau": np.array(policies.plateau(begin["from scratch"], name, seed))
            for name in TARGETS
        }
        return curves | plateaus

    adapted = purpose | {"chosen": chosen}
    measured = [kept(file(str(seed)), adapted, partial(measure, seed)) for seed in seeds]
    return {
        "rates": chosen,
        "random": {name: policies.random_share(name) for name in TARGETS},
        "plateau": {name: np.array([float(one[f"{name}/plateau"]) for one in measured]) for name in TARGETS},
        "curves": {
            name: {label: np.stack([one[f"{name}/{label}"] for one in measured]) for label in CONTENDERS}
            for name in TARGETS
        },
    }
