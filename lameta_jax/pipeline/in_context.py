"""In-context learning of E-LAMs (LAMeTA Sec. V-D) where chains are composed: a memory that the rollout carries."""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lameta_jax.composition.task import InContext
from lameta_jax.composition.types import User
from lameta_jax.intents.memory import MemoryConfig, empty_memory, in_context, remember


def in_context_learning(config: MemoryConfig, fallback: Float[Array, "4"], num_elams: int = 2) -> InContext:
    """Equations (44) to (46) for `composition_task`: every E-LAM has a memory of what it said.

    A translation that failed is not remembered: there is none.

    Args:
      fallback: mean preference of the application, where a translation fails and nothing is remembered yet.
    """

    def start():
        return jax.tree.map(
            lambda leaf: jnp.broadcast_to(leaf, (num_elams, *leaf.shape)), empty_memory(config)
        )

    def adjust(memories, user: User):
        held = jax.vmap(lambda memory, said, failed: in_context(memory, said, failed, fallback, config))
        return replace(user, translated=held(memories, user.translated, user.failed).preference)

    def kept(memories, user: User, reward):
        def keep(memory, said, failed):
            more = remember(memory, user.index, said, reward)
            return jax.tree.map(lambda old, new: jnp.where(failed, old, new), memory, more)

        return jax.vmap(keep)(memories, user.translated, user.failed)

    return InContext(start, adjust, kept)
