"""Many networks of one shape in one pytree, so that a policy meets a different one in every slot."""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp

from lameta_jax.composition.env import EnvParams
from lameta_jax.network.network import NeighbourTable


def stack_networks(networks: Sequence[EnvParams]) -> EnvParams:
    """The decision processes with a leading axis of networks, for `composition_task`.

    Neighbour tables are padded to the largest degree of all.

    Args:
      networks: from `make_env_params`, with equally many agents, links, hops and E-LAMs, and the same rules.

    Raises:
      ValueError: their shapes or rules differ, or there are none.
    """
    if not networks:
        raise ValueError("no networks to stack")
    degree = max(params.table.valid.shape[1] for params in networks)
    padded = [replace(params, table=_widened(params.table, degree)) for params in networks]
    shapes = [jax.tree.map(jnp.shape, params) for params in padded]
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            raise ValueError(f"network {index} differs from the first in its sizes or rules")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


def _widened(table: NeighbourTable, degree: int) -> NeighbourTable:
    agents, own = table.valid.shape
    rows = ((0, 0), (0, degree - own))
    neighbours = jnp.pad(table.neighbours, rows)
    index = jnp.arange(agents, dtype=neighbours.dtype)[:, None]
    return NeighbourTable(
        neighbours=jnp.where(jnp.arange(degree)[None] < own, neighbours, index),
        link=jnp.pad(table.link, rows),
        valid=jnp.pad(table.valid, rows),
    )
