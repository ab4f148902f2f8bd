"""A generalist policy: one that has met many networks and all preferences, for networks that it has not met."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Key

from lameta_jax.composition.env import EnvConfig, EnvParams, make_env_params
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.network_pool import stack_networks
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.policy_files import TrainedPolicy
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.slots import SlotConfig
from lameta_jax.composition.types import User
from lameta_jax.network.network import NetworkError
from lameta_jax.network.scenarios import ScenarioConfig, draw_scenario
from lameta_jax.network.topologies import Topology, draw_topology


def _request(hops: int) -> tuple[str, ...]:
    return tuple(f"type-{place}" for place in range(1, hops + 1))


KINDS = (
    ScenarioConfig(num_agents=40, mean_degree=16.0),
    ScenarioConfig(num_agents=81),
    ScenarioConfig(num_agents=120, mean_degree=36.0),
    ScenarioConfig(num_agents=200, mean_degree=24.0),
    ScenarioConfig(num_agents=60, mean_degree=10.0, topology="barabasi-albert"),
    ScenarioConfig(num_agents=90, mean_degree=14.0, topology="random-geometric"),
    ScenarioConfig(num_agents=16, mean_degree=8.0, num_types=2, request=_request(2)),
    ScenarioConfig(num_agents=60, mean_degree=16.0, num_types=5, request=_request(5)),
)
"""What networks the shipped generalist learns on: sizes, topologies and lengths of the request."""


@dataclass(frozen=True, kw_only=True)
class GeneralistConfig:
    """How much a generalist learns from."""

    kinds: Sequence[ScenarioConfig] = KINDS
    networks_per_kind: int = 64
    num_updates: int = 960  # over all kinds; a multiple of their number times `updates_per_turn`
    updates_per_turn: int = 10  # on networks of one kind, before those of the next
    episodes: EpisodeConfig = EpisodeConfig(
        num_slots=16,
        users_per_slot=32,
        slots=SlotConfig(
            arrival_rate_spread=0.15,
            service_rate_spread=0.15,
            fading_spread=0.4,
            redraw_outages=True,
            failure_probability=0.02,
        ),
    )
    policy: PolicyConfig = PolicyConfig()
    env: EnvConfig = EnvConfig(mask_types=True)
    seed_of_networks: int = 1_000_000  # far from those that anybody would draw test networks from

    def __post_init__(self) -> None:
        turn = len(self.kinds) * self.updates_per_turn
        if self.num_updates % turn:
            raise ValueError(f"num_updates = {self.num_updates} must be a multiple of {turn}")


class Turn(NamedTuple):
    """How the training of a generalist goes."""

    done: int  # updates so far
    kind: ScenarioConfig
    qoe: float  # mean over the episodes of this turn


def draw_networks(config: ScenarioConfig, count: int, seed: int, env: EnvConfig) -> EnvParams:
    """Networks of one kind with equally many links, stacked.

    Random links are left out of those that have more than the one that has fewest. A draw that cannot serve its
    request is left out, and the next seed taken.

    Args:
      seed: of the first network; the others follow.
    """
    topologies = [
        draw_topology(
            config.topology, config.num_agents, config.mean_degree, np.random.default_rng([seed, index])
        )
        for index in range(2 * count)
    ]
    fewest = min(len(topology.link_ends) for topology in topologies)
    networks: list[EnvParams] = []
    for index, topology in enumerate(topologies):
        if len(networks) == count:
            break
        kept = np.random.default_rng([seed, index, 1]).permutation(len(topology.link_ends))[:fewest]
        try:
            scenario = draw_scenario(config, seed + index, _with_links(topology, np.sort(kept)))
        except NetworkError:
            continue
        networks.append(make_env_params(scenario, env))
    if len(networks) < count:
        raise NetworkError(f"only {len(networks)} of {2 * count} draws of {config} can serve their request")
    return stack_networks(networks)


class GeneralistTrainer:
    """Trains generalists of one configuration; the programs are compiled once for all seeds."""

    def __init__(self, config: GeneralistConfig):
        self.config = config
        learner = LearnerConfig(num_updates=config.num_updates)
        self._trainers = [
            make_train(learner, composition_task(make_policy(config.policy), networks, config.episodes))
            for networks in (
                draw_networks(
                    kind, config.networks_per_kind, config.seed_of_networks + 10_000 * place, config.env
                )
                for place, kind in enumerate(config.kinds)
            )
        ]

    def train(
        self, key: Key[Array, ""], users: User, report: Callable[[Turn], None] | None = None
    ) -> TrainedPolicy:
        """A policy that has met every kind of network in turn, again and again; `report` is called after every turn."""
        config, hyperparameters = self.config, PPOHyperparameters()
        state = self._trainers[0].init(hyperparameters, users, key)
        for turn in range(config.num_updates // config.updates_per_turn):
            place = turn % len(config.kinds)
            state, metrics = self._trainers[place].advance(hyperparameters, state, config.updates_per_turn)
            if report is not None:
                done = (turn + 1) * config.updates_per_turn
                report(Turn(done, config.kinds[place], float(np.mean(metrics["episode/qoe"]))))
        return TrainedPolicy(config=config.policy, params=state.params, initial_elam=config.env.initial_elam)


def _with_links(topology: Topology, kept: np.ndarray) -> Topology:
    ber = topology.link_ber
    return topology._replace(link_ends=topology.link_ends[kept], link_ber=None if ber is None else ber[kept])
