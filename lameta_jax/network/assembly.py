"""From checked columns to a Scenario, refusing what only the whole network can show to be wrong."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lameta_jax.network.chains import has_chain
from lameta_jax.network.network import AgenticNetwork, MadeBy, NetworkError, Request, Scenario
from lameta_jax.types import floats

# One number per agent or link, in float64.
Column = Sequence[float] | np.ndarray


def assemble_scenario(
    source: str,
    *,
    name: str,
    agent_ids: Sequence[str],
    agent_types: Sequence[str],
    capability: Column,
    service_rate: Column,
    service_cv: Column,
    observations: Column,
    outages: Column,
    link_ends: np.ndarray,
    link_ber: Column,
    arrival_rate: float,
    request: Sequence[str],
    capability_threshold: float,
    max_latency: float,
    elam_names: Sequence[str] = ("small", "large"),
    elam_fees: Sequence[float] = (0.01, 0.05),
    price: Column | None = None,
    made_by: MadeBy | None = None,
) -> Scenario:
    """Build a scenario from float64 columns, in JAX's default float type.

    Args:
      source: the file or generator, for messages.
      agent_types: type of each agent, by name; `request` names types in order.
      link_ends: pairs of agent indices [links, 2], in any order within a pair.
      capability, service_rate, ...: one entry per agent; units as in `AgenticNetwork`.
      price: likewise; None: nothing is charged.

    Raises:
      NetworkError: an agent is unstable (rho >= 1), no agent has a requested type, or no chain serves
        the request.
    """
    type_names = tuple(sorted(set(agent_types)))
    type_index = {type_name: index for index, type_name in enumerate(type_names)}
    for type_name in request:
        if type_name not in type_index:
            raise NetworkError(f"{source}: request: type = {type_name!r} must be the type of an agent")

    exact_rate = np.asarray(service_rate, dtype=np.float64)
    rate = _same_floor(exact_rate)
    _refuse_unstable(source, agent_ids, arrival_rate, exact_rate, np.asarray(rate))
    network = AgenticNetwork(
        agent_type=_integers([type_index[agent_type] for agent_type in agent_types]),
        capability=floats(capability),
        service_rate=rate,
        service_cv=floats(service_cv),
        observations=floats(observations),
        outages=floats(outages),
        price=floats(np.zeros(len(agent_ids)) if price is None else price),
        link_ends=_integers(np.sort(np.reshape(link_ends, (-1, 2)), axis=1)),
        link_ber=floats(link_ber),
        arrival_rate=floats(arrival_rate),
    )
    wanted = Request(
        types=_integers([type_index[type_name] for type_name in request]),
        capability_threshold=floats(capability_threshold),
        max_latency=floats(max_latency),
    )
    if not has_chain(network, wanted):
        raise NetworkError(
            f"{source}: request = {' -> '.join(request)} must be served by a chain of linked, distinct "
            "agents, but no such chain exists"
        )
    return Scenario(
        name=name,
        network=network,
        request=wanted,
        agent_ids=tuple(agent_ids),
        type_names=type_names,
        elam_names=tuple(elam_names),
        elam_fees=floats(elam_fees),
        made_by=made_by,
    )


def _integers(values: Sequence[int] | np.ndarray) -> Int[Array, "..."]:
    return jax.device_put(np.asarray(values, dtype=np.int32))


def _same_floor(service_rate: np.ndarray) -> Float[Array, " agents"]:
    """Service rates in the default float type, never rounded up to a whole number.

    Eq. (13) takes the floor of a rate, so 20.99999999 must not become 21 in float32.
    """
    converted = np.asarray(jnp.asarray(service_rate, dtype=float))
    below = np.nextafter(converted, np.zeros_like(converted))
    return jnp.asarray(np.where(np.floor(converted) > np.floor(service_rate), below, converted), dtype=float)


def _refuse_unstable(
    source: str, agent_ids: Sequence[str], arrival_rate: float, exact: np.ndarray, converted: np.ndarray
) -> None:
    """Refuse rho >= 1, also where it is only the default float type that cannot tell lambda and mu apart."""
    in_default_type = np.asarray(arrival_rate, dtype=converted.dtype) >= converted
    unstable = np.flatnonzero((arrival_rate >= exact) | in_default_type)
    if len(unstable):
        agent = unstable[0]
        raise NetworkError(
            f"{source}: agent {agent_ids[agent]}: unstable, rho >= 1: service_rate mu = "
            f"{float(exact[agent])!r} must be > arrival_rate lambda = {float(arrival_rate)!r} "
            f"(per minute, in {converted.dtype})"
        )
