"""What the studies of composition share: users, held-out slots, optima, and policies that are kept to be resumed."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common import RESULTS, members, report
from srl_methods import BUDGETS, METHODS, NUM_POINTS, Method, Trained

from lameta_jax.composition.baselines import even_users, hide_intents, replay_actor
from lameta_jax.composition.env import EnvConfig, EnvParams, make_env_params, slot_params
from lameta_jax.composition.evaluate import Evaluation, evaluate, evaluate_slots
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.policy import PolicyConfig, make_policy, policy_actor
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.slots import Conditions, SlotConfig, draw_slots, nominal_conditions
from lameta_jax.composition.task import InContext
from lameta_jax.composition.types import Actor, User, make_users
from lameta_jax.functional import Params
from lameta_jax.intents.preference import parse_answer
from lameta_jax.network.network import AgenticNetwork, Request, Scenario
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.own_policy import ALGORITHMS
from lameta_jax.scale.checkpoint import packed, read_checkpoint, unpacked, write_checkpoint

SLOTS = SlotConfig(arrival_rate_spread=0.1, service_rate_spread=0.1, fading_spread=0.3, redraw_outages=True)
NUM_HELD_OUT = 10  # slots that no policy has met
EPISODES = EpisodeConfig(num_slots=8, users_per_slot=32, slots=SLOTS)
ELAMS = ("small", "large")
POLICY = PolicyConfig(num_elams=len(ELAMS))
HELD_OUT, NOMINAL = "held-out slots", "nominal network"
TITLES = {"multimedia": "multimedia (application 1)", "qa": "question answering (application 2)"}

Search = Callable[[AgenticNetwork, Request, jax.Array], jax.Array]


def exact_search(network: AgenticNetwork, request: Request, wanted: jax.Array) -> jax.Array:
    """The best chain for every preference."""
    return optimum(network, request, wanted).agents[:, 0]


class Study:
    """Users of both applications on lameta-81, and policies trained for them."""

    def __init__(self, folder: Path, lookahead: int = POLICY.lookahead):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.env, self.started = folder, EnvConfig(mask_types=True), time.time()
        self.sizes = replace(POLICY, lookahead=lookahead)
        self.policy = make_policy(self.sizes)
        self.scenario: Scenario = load_named("lameta-81")
        self.params: EnvParams = make_env_params(self.scenario, self.env)
        self._optima: dict[Any, np.ndarray] = {}
        self._programs: dict[tuple, tuple] = {}

    @cached_property
    def slots(self) -> dict[str, Conditions]:
        """Where composers are tested: in slots that no policy has met, and in the network as its file says."""
        network = self.scenario.network
        alone = jax.tree.map(lambda leaf: leaf[None], nominal_conditions(network))
        return {HELD_OUT: draw_slots(jax.random.key(2026), network, SLOTS, NUM_HELD_OUT), NOMINAL: alone}

    @cached_property
    def corpus(self) -> dict:
        return json.loads((RESULTS / "srl_translations.json").read_text())["applications"]

    def users(self, application: str, reading: str, group: str = "test") -> User:
        """Users of an application as a policy hears of them; both E-LAMs say the same unless they are two."""
        found = self.corpus[application][group]
        preference = np.array([text.split() for text in found["preferences"]], dtype=float)
        preference /= preference.sum(axis=1, keepdims=True)
        if reading == "own":
            return make_users(preference, num_elams=len(ELAMS))
        if reading == "nothing":
            return hide_intents(make_users(preference, num_elams=len(ELAMS)))
        method, _, size = reading.partition(", ")
        answers = found["answers"][method]
        read = [[parse_answer(text) for text in answers[size or elam]] for elam in ELAMS]
        return make_users(preference, np.stack([np.array(rows) for rows in read], axis=1))

    def serve(self, actor: Actor, users: User, where: str = HELD_OUT) -> Evaluation:
        """What an actor gives users; axes [slots, users, ...]."""
        return evaluate_slots(jax.random.key(1), actor, self.params, users, self.slots[where])

    def in_slots(self, where: str = HELD_OUT) -> list[EnvParams]:
        """The decision process in every slot."""
        return [slot_params(self.params, one) for one in members(self.slots[where])]

    def searched(
        self, search: Search, users: User, wanted: np.ndarray | jax.Array, where: str = HELD_OUT
    ) -> Evaluation:
        """What users get from a search over whole chains for wanted preferences, `(network, request, wanted)`."""
        runs = []
        for slot in self.in_slots(where):
            chains = search(slot.network, slot.request, jnp.asarray(wanted, dtype=float))
            runs.append(evaluate(jax.random.key(1), replay_actor(chains), slot, users))
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)

    def best_qoe(self, users: User, where: str = HELD_OUT) -> np.ndarray:
        """QoE of the exact optimum, axes [slots, users]."""
        preferences = np.asarray(users.preference)
        place = (preferences.tobytes(), where)
        if place not in self._optima:
            self._optima[place] = np.asarray(self.searched(exact_search, users, preferences, where).qoe)
        return self._optima[place]

    def share(self, found: Evaluation, users: User, where: str = HELD_OUT) -> np.ndarray:
        """Of the optimum, per user: mean over slots."""
        return (np.asarray(found.qoe) / self.best_qoe(users, where)).mean(axis=0)

    def row(self, found: Evaluation, users: User, where: str = HELD_OUT) -> dict[str, float]:
        """Means over slots and users."""
        return {
            "share": float(self.share(found, users, where).mean()),
            **{name: float(jnp.mean(getattr(found, name))) for name in ("qoe", "net_qoe", "feasible")},
        }

    def actor(self, trained: Trained) -> Actor:
        return policy_actor(self.policy, trained.params)

    def train(self, name: str, application: str, seed: int) -> Trained:
        """The policy of one of the METHODS; kept, so that no training is done twice."""
        method = METHODS[name]
        pool, told = (self.users(application, method.reading, group) for group in ("training", "test"))
        if method.reading == "nothing":
            pool = even_users(pool)
        env = replace(self.params, qoe_form=method.qoe_form)
        label = f"{name} {application} {seed}"
        return self.trained(label, method, env, EPISODES, pool, partial(self._point, told), seed)

    def trained(
        self,
        label: str,
        method: Method,
        env: EnvParams,
        episodes: EpisodeConfig,
        pool: User,
        point: Callable[[Params], tuple[float, dict[str, float]]],
        seed: int,
        in_context: tuple[str, InContext | None] = ("", None),
    ) -> Trained:
        """A policy for users of a pool, with a point of its curve after every few updates.

        `in_context` comes with a text that tells one from another.
        """
        path = self.folder / (label.replace(", ", "-").replace(" ", "_") + ".msgpack")
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(pool):
            digest.update(np.asarray(leaf).tobytes())
        purpose = {
            "method": str(method),
            "rules": str(self.env),
            "episodes": str(episodes),
            "memory": in_context[0],
            "policy": str(self.sizes),
            "updates": str(BUDGETS[method.algorithm].num_updates),
            "users": digest.hexdigest(),
        }
        kept = read_checkpoint(path, purpose)
        if kept is None:
            start, advance = self._compiled(method, env, episodes, pool, in_context)
            kept = self._run(start, advance, pool, point, seed)
            write_checkpoint(path, purpose, kept)
            ended, took = kept["share"][-1], kept["seconds"]
            report(f"{time.time() - self.started:6.0f} s  {label}: {ended:.4f} in {took:.0f} s")
        params = unpacked(self.policy.init(jax.random.key(0)), kept["params"])
        return Trained(**(kept | {"params": params}))

    def _compiled(
        self, method: Method, env: EnvParams, episodes: EpisodeConfig, pool: User, in_context: tuple
    ):
        """Programs that start and that continue a training; kept, as compiling takes as long as training."""
        place = (method.algorithm, env.qoe_form, episodes, pool.preference.shape, in_context[0])
        if place not in self._programs:
            algorithm, budget = ALGORITHMS[method.algorithm], BUDGETS[method.algorithm]
            config = LearnerConfig(num_updates=budget.num_updates, **algorithm.sizes)
            task = composition_task(self.policy, env, episodes, in_context[1])
            trainer = algorithm.make_train(config, task)
            start = partial(trainer.init, budget.hyperparameters)
            per_point = budget.num_updates // NUM_POINTS
            program = trainer.advance.lower(
                budget.hyperparameters, start(pool, jax.random.key(0)), per_point
            ).compile()
            self._programs[place] = start, partial(program, budget.hyperparameters)
        return self._programs[place]

    def _run(self, start, advance, pool: User, point, seed: int) -> dict:
        state = start(pool, jax.random.key(seed))
        points, seconds, told = [point(state.params)], [], []
        for _ in range(NUM_POINTS):
            begun = time.perf_counter()
            state, metrics = jax.block_until_ready(advance(state))
            seconds.append(time.perf_counter() - begun)
            told.append(jax.tree.map(np.asarray, metrics))
            points.append(point(state.params))
        share, factors = zip(*points, strict=True)
        return {
            "params": packed(state.params),
            "updates": np.linspace(0, int(state.num_updates), len(points), dtype=int),
            "share": np.array(share),
            "factors": {name: np.array([one[name] for one in factors]) for name in factors[0]},
            "metrics": {name: np.concatenate([one[name] for one in told]) for name in told[0]},
            "seconds": float(sum(seconds)),
        }

    def _point(self, told: User, params: Params) -> tuple[float, dict[str, float]]:
        """What a policy that is still learning gives the test users: share of the optimum, mean factors."""
        found = self.serve(policy_actor(self.policy, params), told)
        return float(self.share(found, told).mean()), mean_factors(found)


def mean_factors(found: Evaluation) -> dict[str, float]:
    """Means over the chains that work; latency in minutes."""
    works = np.asarray(found.feasible)
    return {
        name: float(np.asarray(values)[works].mean()) if works.any() else float("nan")
        for name, values in found.factors._asdict().items()
    }
