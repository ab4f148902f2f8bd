"""The best chain for each user: exact search here, beam search in `beam.py`.

The objective is LAMeTA (18a) without the fee, under (18b)-(18d), by enumeration of all chains that (18d)
allows.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.network.beam import BeamResult, beam_search
from lameta_jax.network.chains import ChainTable, enumerate_chains, iterate_chains
from lameta_jax.network.network import AgenticNetwork, Request
from lameta_jax.network.qoe import (
    agent_factors,
    chain_factors,
    chain_price,
    meets_constraints,
    subjective_qoe,
)
from lameta_jax.types import Scalar

__all__ = [
    "BeamResult",
    "BestChains",
    "ChainTable",
    "beam_search",
    "enumerate_chains",
    "iterate_chains",
    "optimum",
]

USERS_AT_ONCE = 64  # users whose QoE of a whole chunk is held at the same time
SMALLEST_CHUNK = 256  # short chunks are padded to powers of two from here, to share compiled code


class BestChains(NamedTuple):
    """The best feasible chains of each user, best first; equal ones in the order of enumeration."""

    agents: Int[Array, "*users top hops"]  # -1 where there are fewer than `top` feasible chains
    qoe: Float[Array, "*users top"]  # failure_qoe there
    evaluated: int  # chains that were looked at
    feasible: int  # those that meet (18b) and (18c)


def optimum(
    network: AgenticNetwork,
    request: Request,
    preferences: Float[Array, "users 4"],
    *,
    top: int = 1,
    form: str = "power",
    failure_qoe: float = -1.0,
    chunk_size: int = 65536,
    price_weight: Scalar = 0.0,
) -> BestChains:
    """The `top` best chains for each preference, by exact search.

    A feasible chain is always preferred to a failed one, even where its QoE is below `failure_qoe`: (18)
    maximises over the chains that meet the constraints. Memory is bounded by `chunk_size`, however many
    chains there are.

    Args:
      preferences: s of each user, on the simplex.
      top: how many chains to return per user.
      form: how QoE is felt, one of QOE_FORMS.
      failure_qoe: reported where no feasible chain is left.
      chunk_size: chains evaluated at once.
      price_weight: QoE that a US$ is worth, >= 0; a chain is valued by its QoE minus that times `chain_price`.
    """
    num_users, hops = preferences.shape[0], request.types.shape[0]
    qoe = jax.device_put(np.full((num_users, top), -np.inf, preferences.dtype))
    agents = jax.device_put(np.full((num_users, top, hops), -1, np.int32))
    evaluated = feasible = 0
    for chunk, valid in _padded_chunks(network, request, chunk_size):
        qoe, agents, found = _merge_chunk(
            qoe, agents, network, request, preferences, chunk, valid, form, price_weight
        )
        evaluated += int(np.asarray(valid).sum())
        feasible += int(found)
    return BestChains(agents, jnp.where(jnp.isneginf(qoe), failure_qoe, qoe), evaluated, feasible)


def _padded_chunks(
    network: AgenticNetwork, request: Request, chunk_size: int
) -> Iterator[tuple[ChainTable, Bool[Array, " chains"]]]:
    """Chunks of one size, so that code is compiled once; a lone short one is padded to a power of two."""
    is_first = True
    for chunk in iterate_chains(network, request, chunk_size):
        count = chunk.agents.shape[0]
        size = min(chunk_size, max(SMALLEST_CHUNK, 1 << (count - 1).bit_length())) if is_first else chunk_size
        rows = ((0, size - count), (0, 0))
        # Padded here: on the device, every operation and shape would be a program of its own.
        padded = ChainTable(*(jax.device_put(np.pad(part, rows)) for part in chunk))
        yield padded, jax.device_put(np.arange(size) < count)
        is_first = False


@partial(jax.jit, static_argnames="form")
def _merge_chunk(
    qoe: Float[Array, "users top"],
    agents: Int[Array, "users top hops"],
    network: AgenticNetwork,
    request: Request,
    preferences: Float[Array, "users 4"],
    chunk: ChainTable,
    valid: Bool[Array, " chains"],
    form: str,
    price_weight: Scalar,
) -> tuple[Float[Array, "users top"], Int[Array, "users top hops"], Int[Array, ""]]:
    """The best of the chains so far and of one more chunk, and how many in the chunk are feasible."""
    value = partial(chain_factors, network, agents=agent_factors(network))
    factors = jax.vmap(value)(chunk.agents, chunk.links)
    feasible = valid & meets_constraints(factors, request)
    charge = price_weight * chain_price(network, chunk.agents)

    def merge(user):
        user_qoe, user_agents, preference = user
        felt = subjective_qoe(factors, preference, request.capability_threshold, form)
        found = jnp.where(feasible, felt - charge, -jnp.inf)
        if user_qoe.shape[0] == 1:  # two reductions are faster than sorting
            best = jnp.maximum(jnp.max(found), user_qoe)
            first = jnp.min(jnp.where(found == best, jnp.arange(found.shape[0]), found.shape[0] - 1))
            return best, jnp.where(best > user_qoe, chunk.agents[first], user_agents)
        # Of equal values top_k takes the first: earlier chunks, then earlier chains.
        best, index = jax.lax.top_k(jnp.concatenate([user_qoe, found]), user_qoe.shape[0])
        return best, jnp.concatenate([user_agents, chunk.agents])[index]

    qoe, agents = jax.lax.map(merge, (qoe, agents, preferences), batch_size=USERS_AT_ONCE)
    return qoe, agents, jnp.sum(feasible)
