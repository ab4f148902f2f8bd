"""Generalised advantage estimation (LAMeTA eq. (42)), with time-limit and true end kept apart; means of what counts."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def generalised_advantages(
    rewards: Float[Array, "steps *batch"],
    values: Float[Array, "steps *batch"],
    next_values: Float[Array, "steps *batch"],
    terminated: Bool[Array, "steps *batch"],
    truncated: Bool[Array, "steps *batch"],
    gamma: float | Float[Array, ""],
    gae_lambda: float | Float[Array, ""],
) -> Float[Array, "steps *batch"]:
    r"""Advantages of every step of a time-major batch of trajectories.

        delta_t = r_t + gamma (1 - terminated_t) V(s_{t+1}) - V(s_t)
        A_t     = delta_t + gamma lambda (1 - terminated_t)(1 - truncated_t) A_{t+1}

    A terminated step has no future: nothing is bootstrapped. A truncated step (cut off by a time limit, or
    the last one of the batch) does have one: its value is bootstrapped, but the sum over later steps stops
    there, because they belong to another episode.

    Args:
      rewards: r_t.
      values: V(s_t).
      next_values: V(s_{t+1}), of the state that step t led to, before any reset.
      terminated: the episode truly ended with step t.
      truncated: the episode was cut off after step t.
      gamma: discount, in [0, 1].
      gae_lambda: lambda, in [0, 1].

    Returns:
      A_t; A_t + V(s_t) is the target of the critic.

    Reference: LAMeTA eq. (42); Schulman et al., High-Dimensional Continuous Control Using Generalized
    Advantage Estimation, 2016, arXiv:1506.02438, eq. (16).
    """
    alive = 1.0 - terminated
    deltas = rewards + gamma * alive * next_values - values
    carried = gamma * gae_lambda * alive * (1.0 - truncated)

    def backward(later, now):
        delta, weight = now
        advantage = delta + weight * later
        return advantage, advantage

    _, advantages = jax.lax.scan(backward, jnp.zeros_like(deltas[0]), (deltas, carried), reverse=True)
    return advantages


def weighted_mean(values: Float[Array, "*batch"], weights: Float[Array, "*batch"]) -> Float[Array, ""]:
    """Mean over the entries of weight 1 (0 where there are none)."""
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def standardised(values: Float[Array, "*batch"], weights: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Values shifted and scaled so that those of weight 1 have mean 0 and deviation 1."""
    mean = weighted_mean(values, weights)
    deviation = jnp.sqrt(weighted_mean((values - mean) ** 2, weights))
    return (values - mean) / (deviation + 1e-8)
