"""Categorical distribution over the actions that a mask allows (the only file that imports distrax)."""

from functools import cached_property
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

if TYPE_CHECKING:
    import distrax

MASKED_LOGIT = -1e9
"""Logit of a masked action. Minus infinity would make the entropy and its gradient 0 times infinity, NaN."""


class MaskedCategorical:
    """A categorical distribution that never draws a masked action.

    Args:
      logits: unnormalised log-probabilities.
      mask: True where an action is allowed; at least one must be.
    """

    def __init__(self, logits: Float[Array, "*batch actions"], mask: Bool[Array, "*batch actions"]):
        self.logits = jnp.where(mask, logits, MASKED_LOGIT)

    @cached_property
    def _categorical(self) -> "distrax.Categorical":
        # Seconds to import, and not needed by who only composes.
        import distrax

        return distrax.Categorical(logits=self.logits)

    def sample(self, key: Key[Array, ""]) -> Int[Array, "*batch"]:
        return jnp.asarray(self._categorical.sample(seed=key))

    def mode(self) -> Int[Array, "*batch"]:
        return self.logits.argmax(axis=-1)

    def log_prob(self, action: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
        return jnp.asarray(self._categorical.log_prob(action))

    def log_probabilities(self) -> Float[Array, "*batch actions"]:
        return jax.nn.log_softmax(self.logits, axis=-1)

    def probabilities(self) -> Float[Array, "*batch actions"]:
        return jnp.exp(self.log_probabilities())

    def entropy(self) -> Float[Array, "*batch"]:
        """Entropy in nats; masked actions contribute nothing."""
        return jnp.asarray(self._categorical.entropy())
