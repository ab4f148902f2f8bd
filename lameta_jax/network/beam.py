"""Beam search with a bound, for requests whose chains are too many to enumerate. Never called optimal."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.network.network import AgenticNetwork, NeighbourTable, Request, neighbour_table
from lameta_jax.network.outage import crash_probability, overload_probability
from lameta_jax.network.qoe import ChainFactors, meets_constraints, subjective_qoe
from lameta_jax.network.queueing import agent_latency
from lameta_jax.types import Scalar

USERS_AT_ONCE = 64  # users searched at the same time; each holds width times the largest degree candidates
# Room for rounding in a bound, in units of the float type's precision.
ROUNDING = 64


class BeamResult(NamedTuple):
    """The best chain that beam search found for each user, and what no chain can exceed."""

    agents: Int[Array, "*users hops"]  # -1 where no feasible chain was found
    qoe: Float[Array, " *users"]  # failure_qoe there
    bound: Float[Array, " *users"]  # >= the optimum; equal to `qoe` if nothing better can have been dropped


class _Part(NamedTuple):
    """What one agent, some hops so far, or the best remaining hops contribute to a chain's factors."""

    capability: Float[Array, "*batch"]  # product of e^{-loss}
    loss: Float[Array, "*batch"]  # probability of any bit error
    latency: Float[Array, "*batch"]  # minutes
    crash: Float[Array, "*batch"]  # probability of any crash
    overload: Float[Array, "*batch"]  # that of the slowest agent, (11)-(13): the largest of all
    price: Float[Array, "*batch"]  # US$


class _Beam(NamedTuple):
    """The partial chains kept at one hop."""

    agents: Int[Array, "width hops"]
    links: Int[Array, "width hops-1"]
    part: _Part
    alive: Bool[Array, " width"]


def beam_search(
    network: AgenticNetwork,
    request: Request,
    preferences: Float[Array, "users 4"],
    *,
    width: int = 64,
    form: str = "power",
    failure_qoe: float = -1.0,
    price_weight: Scalar = 0.0,
) -> BeamResult:
    """The best chain that a beam of `width` partial chains finds for each preference.

    Partial chains are ranked by an optimistic value: each factor continues along its own best path through
    the layers of requested types. That value bounds every completion from above, so the largest one ever
    dropped, together with the result, bounds the optimum.

    Args:
      preferences: s of each user, on the simplex.
      width: partial chains kept per user and hop.
      form: how QoE is felt, one of QOE_FORMS.
      failure_qoe: reported where no feasible chain was found, and as the bound where there can be none.
      price_weight: QoE that a US$ is worth, >= 0; a chain is valued by its QoE minus that times its price.
    """
    table = neighbour_table(network.agent_type.shape[0], np.asarray(network.link_ends))
    agents, qoe, bound = _search_all(network, request, preferences, table, width, form, price_weight)
    return BeamResult(agents, *(jnp.where(jnp.isneginf(value), failure_qoe, value) for value in (qoe, bound)))


@partial(jax.jit, static_argnames=("width", "form"))
def _search_all(
    network: AgenticNetwork,
    request: Request,
    preferences: Float[Array, "users 4"],
    table: NeighbourTable,
    width: int,
    form: str,
    price_weight: Scalar,
) -> BeamResult:
    alone = _Part(
        capability=network.capability,
        loss=jnp.zeros_like(network.capability),
        latency=agent_latency(network.arrival_rate, network.service_rate, network.service_cv),
        crash=crash_probability(network.outages, network.observations),
        overload=overload_probability(network.arrival_rate, network.service_rate),
        price=network.price,
    )
    to_go = _best_remaining(network, request, table, alone)

    def search(preference):
        return _search(network, request, preference, table, alone, to_go, width, form, price_weight)

    return jax.lax.map(search, preferences, batch_size=USERS_AT_ONCE)


def _search(
    network: AgenticNetwork,
    request: Request,
    preference: Float[Array, "4"],
    table: NeighbourTable,
    alone: _Part,
    to_go: list[_Part],
    width: int,
    form: str,
    price_weight: Scalar,
) -> BeamResult:
    """One user's search: keep the most promising partial chains hop by hop, value the complete ones."""
    num_agents, hops = network.agent_type.shape[0], request.types.shape[0]
    everyone = jnp.arange(num_agents, dtype=jnp.int32)
    beam = _Beam(
        everyone[:, None],
        jnp.zeros((num_agents, 0), jnp.int32),
        alone,
        network.agent_type == request.types[0],
    )
    dropped = jnp.array(-jnp.inf, preference.dtype)
    for hop in range(hops - 1):
        remaining = jax.tree.map(lambda values, last=beam.agents[:, -1]: values[last], to_go[hop])
        promise = _optimistic_worth(request, preference, _join(beam.part, remaining), form, price_weight)
        beam, lost = _keep_best(beam, jnp.where(beam.alive, promise, -jnp.inf), width)
        dropped = jnp.maximum(dropped, lost)
        beam = _extend(beam, network, request.types[hop + 1], table, alone)

    factors = _factors(beam.part, hops)
    felt = subjective_qoe(factors, preference, request.capability_threshold, form)
    worth = felt - price_weight * beam.part.price
    value = jnp.where(beam.alive & meets_constraints(factors, request), worth, -jnp.inf)
    best = jnp.argmax(value)
    agents = jnp.where(jnp.isneginf(value[best]), -1, beam.agents[best])
    slack = ROUNDING * jnp.finfo(value.dtype).eps * (1 + jnp.abs(dropped))
    loosened = jnp.where(jnp.isneginf(dropped), dropped, dropped + slack)
    return BeamResult(agents, value[best], jnp.maximum(value[best], loosened))


def _best_remaining(
    network: AgenticNetwork, request: Request, table: NeighbourTable, alone: _Part
) -> list[_Part]:
    """For each hop and agent, the best that each factor alone can do over the remaining hops."""
    capability = alone.capability
    nothing = _Part(
        capability=jnp.ones_like(capability),
        loss=jnp.zeros_like(capability),
        latency=jnp.zeros_like(capability),
        crash=jnp.zeros_like(capability),
        overload=jnp.zeros_like(capability),
        price=jnp.zeros_like(capability),
    )
    to_go = [nothing]
    for hop in range(request.types.shape[0] - 1, 0, -1):
        after = jax.tree.map(lambda values: values[table.neighbours], _join(alone, to_go[0]))
        possible = table.valid & (network.agent_type[table.neighbours] == request.types[hop])
        loss = _either(network.link_ber[table.link], after.loss) if network.link_ber.size else after.loss
        best = _Part(
            capability=jnp.max(jnp.where(possible, after.capability, 0), axis=1),
            loss=jnp.min(jnp.where(possible, loss, 1), axis=1),
            latency=jnp.min(jnp.where(possible, after.latency, jnp.inf), axis=1),
            crash=jnp.min(jnp.where(possible, after.crash, 1), axis=1),
            overload=jnp.min(jnp.where(possible, after.overload, 1), axis=1),
            # Not infinite where nothing is possible: 0 times it would be no number. The latency says it.
            price=jnp.where(
                jnp.any(possible, axis=1), jnp.min(jnp.where(possible, after.price, jnp.inf), axis=1), 0.0
            ),
        )
        to_go.insert(0, best)
    return to_go


def _optimistic_worth(
    request: Request, preference: Float[Array, "4"], best: _Part, form: str, price_weight: Scalar
) -> Float[Array, " chains"]:
    """An upper bound on the QoE, less the price, of any feasible chain that is no better than `best`.

    Both forms rise with C and fall with L. In B and P they are monotone, with a sign that depends on the rest
    (a larger outage makes a negative printed QoE less negative), so the maximum lies at a corner.
    """
    capability, loss, latency, outage = _factors(best, request.types.shape[0])
    room = ROUNDING * jnp.finfo(capability.dtype).eps
    fast = latency <= request.max_latency * (1 + room)
    capable = capability >= request.capability_threshold * (1 - room)
    one = jnp.ones_like(outage)
    corners = ChainFactors(
        capability=jnp.stack([capability] * 4),
        information_loss=jnp.stack([loss, loss, one, one]),
        latency=jnp.stack([latency] * 4),
        outage=jnp.stack([outage, one, outage, one]),
    )
    bound = jnp.max(subjective_qoe(corners, preference, request.capability_threshold, form), axis=0)
    return jnp.where(fast & capable, bound - price_weight * best.price * (1 - room), -jnp.inf)


def _keep_best(beam: _Beam, promise: Float[Array, " chains"], width: int) -> tuple[_Beam, Float[Array, ""]]:
    """The `width` most promising partial chains, and the promise of the best one that is dropped."""
    num_chains = promise.shape[0]
    best, index = jax.lax.top_k(promise, min(width + 1, num_chains))
    lost = best[width] if num_chains > width else jnp.array(-jnp.inf, promise.dtype)
    kept = jax.tree.map(lambda values: values[index[:width]], beam)
    return kept._replace(alive=~jnp.isneginf(best[:width])), lost


def _extend(
    beam: _Beam, network: AgenticNetwork, agent_type: Int[Array, ""], table: NeighbourTable, alone: _Part
) -> _Beam:
    """Every partial chain with every neighbour of its last agent; alive if its type fits and it is new."""
    last = beam.agents[:, -1]
    agent = table.neighbours[last]
    link = table.link[last]
    is_new = jnp.all(beam.agents[:, None, :] != agent[:, :, None], axis=2)
    alive = beam.alive[:, None] & table.valid[last] & is_new & (network.agent_type[agent] == agent_type)

    degree = agent.shape[1]
    repeated = jax.tree.map(lambda values: jnp.repeat(values, degree, axis=0), beam)
    agent, link = agent.reshape(-1), link.reshape(-1)
    part = _join(repeated.part, jax.tree.map(lambda values: values[agent], alone))
    loss = _either(part.loss, network.link_ber[link]) if network.link_ber.size else part.loss
    return _Beam(
        agents=jnp.concatenate([repeated.agents, agent[:, None]], axis=1),
        links=jnp.concatenate([repeated.links, link[:, None]], axis=1),
        part=part._replace(loss=loss),
        alive=alive.reshape(-1),
    )


def _join(first: _Part, second: _Part) -> _Part:
    """What two successive pieces of a chain contribute together, without the link between them."""
    return _Part(
        capability=first.capability * second.capability,
        loss=_either(first.loss, second.loss),
        latency=first.latency + second.latency,
        crash=_either(first.crash, second.crash),
        overload=jnp.maximum(first.overload, second.overload),
        price=first.price + second.price,
    )


def _factors(part: _Part, hops: int) -> ChainFactors:
    """The factors of a whole chain of so many hops."""
    return ChainFactors(part.capability / hops, part.loss, part.latency, _either(part.crash, part.overload))


def _either(first: Float[Array, "*batch"], second: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Probability that one of two independent events happens."""
    return first + second * (1 - first)
