"""What agents hold, how they draw batches of it, and work done by many of them in the way that is fastest."""

from collections.abc import Callable
from functools import partial
from math import gcd
from typing import Any, Literal, NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import Array, Int, Key, PyTree

from lameta_jax.functional import Params
from lameta_jax.meta.adaptation import LossFn
from lameta_jax.meta.tasks import Environments, sample_rows
from lameta_jax.scale.distributed import DEVICES, device_mesh

AgentLoop = Literal["auto", "mapped", "vectorised", "unrolled", "spread"]


@no_type_check
@flax.struct.dataclass
class Agents:
    """The data of agents, as rows of samples that all of them share; leaves have a leading axis of agents."""

    inner: Environments  # D_in, for adaptation
    outer: Environments  # D_out, for the meta-update and the errors


class Batch(NamedTuple):
    """What a loss is given: samples, and a random key for losses that need one, such as dropout's."""

    samples: PyTree
    key: Key[Array, "..."]


class Drawn(NamedTuple):
    """A batch, or batches of several steps, before the samples themselves are looked up."""

    rows: Int[Array, "*steps samples"]
    key: Key[Array, "*steps"]


def draw(key: Key[Array, ""], held: Environments, shape: tuple[int, ...]) -> Drawn:
    """Batches of one agent, uniform with replacement; `shape` ends in the batch size."""
    key_rows, key = jax.random.split(key)
    rows = sample_rows(key_rows, held.index, held.size, shape)
    return Drawn(rows, jax.random.split(key, shape[:-1]) if shape[:-1] else key)


def at_rows(loss_fn: LossFn, samples: PyTree) -> LossFn:
    """A loss of a `Batch` as a loss of what `draw` gives, which looks the samples up when a step needs them."""

    def loss(params: Params, drawn: Drawn):
        return loss_fn(params, Batch(jax.tree.map(lambda leaf: leaf[drawn.rows], samples), drawn.key))

    return loss


def over_agents(loop: AgentLoop, work: Callable[..., Any], *arguments: PyTree) -> Any:
    """`work` for every agent, results stacked: `jax.vmap(work)(*arguments)` by the fastest means.

    Args:
      loop: "vectorised" does agents at once, "mapped" one after the other in one compiled loop, "unrolled" compiles
        the work of each agent apart; "spread" has the devices of this process share the agents evenly, as many
        devices as divide them. "auto": spread where there are several devices; on each of them mapped on a CPU, where
        that was fastest for second-order steps (experiments/benchmarks/bench_man.py), vectorised elsewhere, which has
        not been measured.
    """
    count = jax.tree.leaves(arguments)[0].shape[0]
    by_itself = "mapped" if jax.default_backend() == "cpu" else "vectorised"
    sharing = gcd(count, jax.device_count()) if jax.process_count() == 1 else 1
    if loop == "auto":
        loop = "spread" if sharing > 1 else by_itself
    if loop == "spread":
        mesh, own = device_mesh(sharing), PartitionSpec(DEVICES)
        part = partial(over_agents, by_itself, work)
        return jax.shard_map(part, mesh=mesh, in_specs=own, out_specs=own, check_vma=False)(*arguments)
    if loop == "vectorised":
        return jax.vmap(work)(*arguments)
    if loop == "mapped":
        return jax.lax.map(lambda each: work(*each), arguments)
    found = [work(*jax.tree.map(lambda leaf, place=place: leaf[place], arguments)) for place in range(count)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)
