"""Simulated annealing over whole chains: a search that learns nothing and looks at a stated number of chains.

Reference: Kirkpatrick, Gelatt, Vecchi: Optimization by Simulated Annealing, Science 220 (1983) 671-680; the rule of
acceptance is that of Metropolis et al., J. Chem. Phys. 21 (1953) 1087-1092.
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from lameta_jax.network.network import AgenticNetwork, NeighbourTable, Request, neighbour_table
from lameta_jax.network.qoe import chain_factors, meets_constraints, subjective_qoe
from lameta_jax.types import Scalar

FORWARD, BACKWARD = 0, 1  # along the request, and from its last agent to its first


@dataclass(frozen=True, kw_only=True)
class AnnealingConfig:
    """How long and how hot. Other temperatures compile nothing anew."""

    num_evaluations: int = 256  # chains valued per user, the first one and those that break off included
    initial_temperature: float = 0.5  # in units of QoE
    final_temperature: float = 0.03  # reached by the last move, geometrically

    def __post_init__(self) -> None:
        if self.num_evaluations < 1:
            raise ValueError(f"num_evaluations = {self.num_evaluations} must be at least 1")
        if not 0 < self.final_temperature <= self.initial_temperature:
            given = f"{self.initial_temperature} to {self.final_temperature}"
            raise ValueError(f"temperatures from {given}: must be above 0 and must not rise")


class AnnealedChains(NamedTuple):
    """The best chain that annealing met for each user."""

    agents: Int[Array, "users hops"]  # -1 where no feasible chain was met
    qoe: Float[Array, " users"]  # failure_qoe there


class _Chain(NamedTuple):
    """A chain, its links and its value: -inf where it breaks (18b), (18c) or (18d)."""

    agents: Int[Array, " hops"]
    links: Int[Array, " hops-1"]
    value: Float[Array, ""]


class _Walks(NamedTuple):
    """Where walks through the requested types can go; first axis: FORWARD, BACKWARD."""

    can_finish: Bool[Array, "2 hops agents"]  # has the type of this place, and a walk from here to the end
    starters: Int[Array, "2 agents"]  # agents in an order in which those that can begin a walk come first
    num_starters: Int[Array, " 2"]


def anneal(
    key: Key[Array, ""],
    network: AgenticNetwork,
    request: Request,
    preferences: Float[Array, "users 4"],
    config: AnnealingConfig = AnnealingConfig(),
    *,
    form: str = "power",
    failure_qoe: float = -1.0,
) -> AnnealedChains:
    """The best chain that simulated annealing meets for each preference, after `config.num_evaluations` chains.

    A move keeps the chain up to a random place and draws the rest anew, forwards or backwards, each agent among the
    linked ones of the type that comes there and from which the types lead on. So moves keep to chains that exist,
    however few of all combinations do, and any chain can be reached from any other. Chains that are too slow or too
    weak are never moved to; until a good one is met, every chain is drawn from the beginning.

    Args:
      key: decides everything that is drawn.
      preferences: s of each user, on the simplex; as translated, where that is all that a composer knows.
      form: how QoE is felt, one of QOE_FORMS.
      failure_qoe: reported where no feasible chain was met.
    """
    table = neighbour_table(network.agent_type.shape[0], np.asarray(network.link_ends))
    agents, qoe = _anneal_all(
        key,
        network,
        request,
        preferences,
        table,
        config.initial_temperature,
        config.final_temperature,
        num_evaluations=config.num_evaluations,
        form=form,
    )
    return AnnealedChains(agents, jnp.where(jnp.isneginf(qoe), failure_qoe, qoe))


@partial(jax.jit, static_argnames=("num_evaluations", "form"))
def _anneal_all(
    key: Key[Array, ""],
    network: AgenticNetwork,
    request: Request,
    preferences: Float[Array, "users 4"],
    table: NeighbourTable,
    initial_temperature: Scalar,
    final_temperature: Scalar,
    *,
    num_evaluations: int,
    form: str,
) -> tuple[Int[Array, "users hops"], Float[Array, " users"]]:
    walks, hops = _walks(network, request, table), request.types.shape[0]
    cooling = jnp.linspace(0.0, 1.0, num_evaluations)
    temperatures = initial_temperature * (final_temperature / initial_temperature) ** cooling

    def search(user_key, preference):
        def valued(agents, links, exists):
            factors = chain_factors(network, agents, links)
            felt = subjective_qoe(factors, preference, request.capability_threshold, form)
            return _Chain(
                agents, links, jnp.where(exists & meets_constraints(factors, request), felt, -jnp.inf)
            )

        def move(carry, now):
            current, best = carry
            chance, temperature = now
            proposed = valued(*_propose(chance[1:], current, walks, table))
            # Both may be -inf: then the first comparison holds, and the second, with NaN, does not.
            accepted = (proposed.value >= current.value) | (
                chance[0] < jnp.exp((proposed.value - current.value) / temperature)
            )
            current = _either(accepted, proposed, current)
            return (current, _either(current.value > best.value, current, best)), None

        nothing = _Chain(jnp.full(hops, -1, jnp.int32), jnp.zeros(hops - 1, jnp.int32), jnp.array(-jnp.inf))
        chances = jax.random.uniform(user_key, (num_evaluations, hops + 3))
        (_, best), _ = jax.lax.scan(move, (nothing, nothing), (chances, temperatures))
        return best.agents, best.value

    return jax.vmap(search)(jax.random.split(key, preferences.shape[0]), preferences)


def _walks(network: AgenticNetwork, request: Request, table: NeighbourTable) -> _Walks:
    """Which agents lead on, by the types alone, in both directions."""
    can_finish = []
    for types in (request.types, request.types[::-1]):
        fits = network.agent_type[None, :] == types[:, None]
        layers = [fits[-1]]
        for hop in range(types.shape[0] - 2, -1, -1):
            leads_on = jnp.any(table.valid & layers[0][table.neighbours], axis=1)
            layers.insert(0, fits[hop] & leads_on)
        can_finish.append(jnp.stack(layers))
    both = jnp.stack(can_finish)
    starters = jnp.argsort(~both[:, 0], axis=1).astype(jnp.int32)
    return _Walks(both, starters, jnp.sum(both[:, 0], axis=1))


def _propose(
    chance: Float[Array, " numbers"], current: _Chain, walks: _Walks, table: NeighbourTable
) -> tuple[Int[Array, " hops"], Int[Array, " hops-1"], Bool[Array, ""]]:
    """Agents and links of a neighbour of a chain, and whether it exists; `chance`: hops + 2 uniform numbers."""
    hops = current.agents.shape[0]
    direction = jnp.where(chance[0] < 0.5, FORWARD, BACKWARD)
    # A chain that is not feasible may not even exist: nothing of it is kept.
    place = jnp.where(jnp.isneginf(current.value), 0, (chance[1] * hops).astype(int))

    def turned(values):
        return jnp.where(direction == FORWARD, values, values[::-1])

    agents, links, exists = _redraw(
        chance[2:], turned(current.agents), turned(current.links), direction, place, walks, table
    )
    return turned(agents), turned(links), exists


def _redraw(
    chance: Float[Array, " hops"],
    agents: Int[Array, " hops"],
    links: Int[Array, " hops-1"],
    direction: Int[Array, ""],
    place: Int[Array, ""],
    walks: _Walks,
    table: NeighbourTable,
) -> tuple[Int[Array, " hops"], Int[Array, " hops-1"], Bool[Array, ""]]:
    """A chain in the given direction whose agents before `place` are kept and the others drawn."""
    hops = agents.shape[0]
    num_starters = walks.num_starters[direction]
    starter = walks.starters[direction, (chance[0] * num_starters).astype(int)]
    drawn, used, exists = [jnp.where(place > 0, agents[0], starter)], [], num_starters > 0
    for hop in range(1, hops):
        neighbours = table.neighbours[drawn[-1]]
        may_follow = table.valid[drawn[-1]] & walks.can_finish[direction, hop, neighbours]
        # The agent at `place` has to change, or the move might lead nowhere.
        may_follow = may_follow & ~((hop == place) & (neighbours == agents[hop]))
        count = jnp.cumsum(may_follow)
        column = jnp.argmax(count > chance[hop] * count[-1])
        is_kept = hop < place
        exists = exists & (is_kept | (count[-1] > 0))
        used.append(jnp.where(is_kept, links[hop - 1], table.link[drawn[-1], column]))
        drawn.append(jnp.where(is_kept, agents[hop], neighbours[column]))
    redrawn = jnp.stack(drawn)
    repeats = jnp.sum(redrawn[:, None] == redrawn[None, :]) > hops
    return redrawn, jnp.stack(used) if used else links, exists & ~repeats


def _either(condition: Bool[Array, ""], one: _Chain, other: _Chain) -> _Chain:
    return jax.tree.map(lambda first, second: jnp.where(condition, first, second), one, other)
