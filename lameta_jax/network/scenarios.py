"""Named and random scenarios.

`lameta-81` with seed 0 is the shipped file; every other draw follows the same rules from its seed.
"""

from dataclasses import dataclass, replace
from importlib.resources import as_file, files

import numpy as np

from lameta_jax.network.assembly import assemble_scenario
from lameta_jax.network.capability import optimal_parameters, pretraining_loss
from lameta_jax.network.files import load_scenario
from lameta_jax.network.network import NetworkError, Scenario
from lameta_jax.network.topologies import TOPOLOGIES, Topology, draw_topology

MAX_DRAWS = 20  # attempts at a network that can serve its request


@dataclass(frozen=True, kw_only=True)
class ScenarioConfig:
    """What a random scenario is drawn from."""

    num_agents: int = 81
    num_types: int = 4  # type-1, type-2, ..., as even as possible
    request: tuple[str, ...] = ("type-1", "type-2", "type-3")
    topology: str = "erdos-renyi"  # one of TOPOLOGIES
    mean_degree: float = 24.0  # links per agent: 0.3 of the 80 others; the grid does without
    arrival_rate: float = 4.0  # lambda, requests per minute
    capability_threshold: float = 0.01  # C_th
    max_latency: float = 1.0  # L_max, minutes

    def __post_init__(self) -> None:
        if self.topology not in TOPOLOGIES:
            raise NetworkError(f"topology = {self.topology!r} must be one of {', '.join(TOPOLOGIES)}")
        if not 1 <= self.num_types <= self.num_agents or self.num_agents < 2:
            raise NetworkError(
                f"num_types = {self.num_types} must be >= 1 and <= num_agents = {self.num_agents}, that >= 2"
            )
        if self.mean_degree <= 0:
            raise NetworkError(f"mean_degree = {self.mean_degree} must be > 0")


NAMED = {
    "lameta-81": ScenarioConfig(),
    "lameta-1k": ScenarioConfig(num_agents=1_000, mean_degree=20.0),
    "lameta-10k": ScenarioConfig(num_agents=10_000, mean_degree=20.0),
}


def load_named(name: str, seed: int = 0) -> Scenario:
    """A scenario by name: lameta-81, lameta-1k or lameta-10k.

    Raises:
      NetworkError: no such name.
    """
    if name not in NAMED:
        raise NetworkError(f"network name = {name!r} must be one of {', '.join(NAMED)}")
    if name == "lameta-81" and seed == 0:
        with as_file(files("lameta_jax") / "data" / "networks" / "lameta-81.yaml") as path:
            return load_scenario(path)
    return replace(draw_scenario(NAMED[name], seed), name=name)


def draw_scenario(config: ScenarioConfig, seed: int = 0, topology: Topology | None = None) -> Scenario:
    """Draw a scenario whose request can be served.

    Per agent: training budget 10^U(19, 24) FLOP; mean service time 10^(0.9 z) exp(N(0, 0.35)) seconds,
    clipped to [0.8, 11], with z the log of the compute-optimal parameter count rescaled to [0, 1] over the
    network; V ~ U(0.3, 1.5); |O| uniform on the integers [200, 2000); |F| ~ Binomial(|O|, 10^U(-3, -1)).
    Per link: bit error rate 10^U(-3.5, -1), unless the topology gives it.

    A draw that no chain can serve, or that has an unstable agent, is replaced by the next of the same seed.

    Args:
      topology: links to use instead of drawing them; its number of agents replaces the configured one.

    Raises:
      NetworkError: none of MAX_DRAWS draws is usable.
    """
    source = f"{config.topology if topology is None else 'given topology'}, seed {seed}"
    for attempt in range(MAX_DRAWS):
        try:
            return _draw(config, np.random.default_rng([seed, attempt]), topology, source)
        except NetworkError as error:
            failure = error
    raise NetworkError(f"{failure}, in each of {MAX_DRAWS} draws")


def _draw(
    config: ScenarioConfig, generator: np.random.Generator, topology: Topology | None, source: str
) -> Scenario:
    if topology is None:
        topology = draw_topology(config.topology, config.num_agents, config.mean_degree, generator)
    num_agents, link_ends, link_ber = topology
    if link_ber is None:
        link_ber = 10 ** generator.uniform(-3.5, -1, len(link_ends))
    agent_types = generator.permutation(np.arange(num_agents) % config.num_types) + 1

    compute_budget = 10 ** generator.uniform(19, 24, num_agents)
    size = np.log10(optimal_parameters(compute_budget))
    rescaled_size = (size - size.min()) / max(np.ptp(size), np.finfo(float).tiny)
    seconds = 10 ** (0.9 * rescaled_size) * np.exp(generator.normal(0, 0.35, num_agents))
    observations = generator.integers(200, 2000, num_agents)
    digits = len(str(num_agents - 1))
    return assemble_scenario(
        source,
        name=source,
        agent_ids=[f"a{index:0{digits}d}" for index in range(num_agents)],
        agent_types=[f"type-{index}" for index in agent_types],
        capability=np.exp(-pretraining_loss(compute_budget)),
        service_rate=60 / np.clip(seconds, 0.8, 11),
        service_cv=generator.uniform(0.3, 1.5, num_agents),
        observations=observations,
        outages=generator.binomial(observations, 10 ** generator.uniform(-3, -1, num_agents)),
        link_ends=link_ends,
        link_ber=link_ber,
        arrival_rate=config.arrival_rate,
        request=config.request,
        capability_threshold=config.capability_threshold,
        max_latency=config.max_latency,
    )
