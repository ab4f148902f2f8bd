"""Categorical distribution over the actions that a mask allows (the only file that imports distrax)."""

import distrax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

MASKED_LOGIT = -1e9
"""Logit of a masked action. Minus infinity would make the entropy and its gradient 0 times infinity, NaN."""


class MaskedCategorical:
    """A categorical distribution that never draws a masked action.

    Args:
      logits: unnormalised log-probabilities.
      mask: True where an action is allowed; at least one must be.
    """

    def __init__(self, logits: Float[Array, "*batch actions"], mask: Bool[Array, "*batch actions"]):
        self._categorical = distrax.Categorical(logits=jnp.where(mask, logits, MASKED_LOGIT))

    def sample(self, key: Key[Array, ""]) -> Int[Array, "*batch"]:
        return jnp.asarray(self._categorical.sample(seed=key))

    def mode(self) -> Int[Array, "*batch"]:
        return jnp.asarray(self._categorical.mode())

    def log_prob(self, action: Int[Array, "*batch"]) -> Float[Array, "*batch"]:
        return jnp.asarray(self._categorical.log_prob(action))

    def probabilities(self) -> Float[Array, "*batch actions"]:
        return jnp.asarray(self._categorical.probs)

    def entropy(self) -> Float[Array, "*batch"]:
        """Entropy in nats; masked actions contribute nothing."""
        return jnp.asarray(self._categorical.entropy())
