"""What recent intents say of the next one: whether they show a pattern, and what they make of a prediction.

LAMeTA eqs. (45) and (46); `memory.py` keeps them and says which of the two applies.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lameta_jax.intents.preference import EVEN, NUM_FACTORS, angular_distance
from lameta_jax.types import Scalar


def mean_recent_preference(
    preference: Float[Array, "records 4"], valid: Bool[Array, " records"], fallback: Float[Array, " 4"]
) -> Float[Array, " 4"]:
    """`s-bar`, the mean of the valid preferences; the fallback where there is none.

    Reference: LAMeTA eq. (46).
    """
    total = jnp.where(valid[:, None], preference, 0.0).sum(axis=0)
    return jnp.where(valid.any(), total / jnp.maximum(valid.sum(), 1), fallback)


def consistency(preference: Float[Array, "records 4"], valid: Bool[Array, " records"]) -> Float[Array, ""]:
    r"""Mean cosine similarity over all pairs of the valid preferences; 0 where there are fewer than two.

        (|sum_i u_i|^2 - n) / (n (n - 1)),    u_i = s_i / |s_i|

    Between 0 and 1 on the simplex.

    >>> both = jnp.array([True, True])
    >>> round(float(consistency(jnp.array([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]), both)), 4)    # cos 45 degrees
    0.7071
    """
    safe = jnp.where(valid[:, None], preference, jnp.array(EVEN, preference.dtype)[None])
    unit = safe / jnp.linalg.norm(safe, axis=1, keepdims=True)
    total = jnp.where(valid[:, None], unit, 0.0).sum(axis=0)
    count = valid.sum().astype(preference.dtype)
    pairs = jnp.maximum(count * (count - 1), 1)
    return jnp.where(count > 1, (jnp.square(total).sum() - count) / pairs, 0.0)


def reward_trend(reward: Float[Array, " records"], valid: Bool[Array, " records"]) -> Float[Array, ""]:
    """Least-squares slope of the valid rewards over time, per record; 0 where there are fewer than two.

    Args:
      reward: most recent first, as `recent` gives them.

    >>> float(reward_trend(jnp.array([5.0, 3.0, 1.0]), jnp.array([True, True, True])))
    2.0
    """
    count = jnp.maximum(valid.sum(), 1)
    time = -jnp.arange(reward.shape[0], dtype=reward.dtype)
    time = jnp.where(valid, time - jnp.where(valid, time, 0.0).sum() / count, 0.0)
    mean = jnp.where(valid, reward, 0.0).sum() / count
    spread = jnp.square(time).sum()
    return (time * jnp.where(valid, reward - mean, 0.0)).sum() / jnp.where(spread > 0, spread, 1.0)


def calibration_factor(distance: Float[Array, "*batch"], distance_scale: Scalar) -> Float[Array, "*batch"]:
    """`iota = exp(-d / d0)`: the share of a prediction that calibration leaves, 1 at distance 0.

    Assumption: of iota LAMeTA says only that it lies in [0, 1] and decreases as divergence increases.
    """
    return jnp.exp(-distance / distance_scale)


def calibrate(
    predicted: Float[Array, " 4"], mean: Float[Array, " 4"], distance_scale: Scalar
) -> Float[Array, " 4"]:
    """Draw a prediction towards the recent mean, the more the farther it lies: `iota s_t + (1 - iota) s-bar`.

    With d = Dis(s_t, s-bar) of (24). On the simplex if both vectors are.

    Reference: LAMeTA eq. (46).
    """
    share = calibration_factor(angular_distance(predicted, mean), distance_scale)
    return share * predicted + (1 - share) * mean


def condition(
    predicted: Float[Array, " 4"],
    preference: Float[Array, "records 4"],
    valid: Bool[Array, " records"],
    prediction_variance: Scalar,
) -> Float[Array, " 4"]:
    r"""What recent intents make of a prediction: (45) for a model that cannot read them.

        (1 - w) s_t + w s-bar,    w = v / (v + S^2 (1 + 1/n))

    Assumption: the intents of a consistent stretch scatter about a common mean with variance S^2, here that of the
    n valid preferences, and a prediction misses its user's by v. The next intent is then known beforehand as
    s-bar with variance S^2 (1 + 1/n), and both are averaged by their precision (normal-normal posterior mean).
    S^2 holds the errors of the recent predictions too, so the memory counts for less rather than more. v = 0 leaves
    the prediction as it is: right for a model distilled on the application, which knows its mean already.

    Args:
      prediction_variance: v, mean squared error of the predicted weights, as distillation reports it.
    """
    mean = mean_recent_preference(preference, valid, predicted)
    count = valid.sum().astype(predicted.dtype)
    squares = jnp.where(valid[:, None], jnp.square(preference - mean[None]), 0.0).sum() / NUM_FACTORS
    prior = squares / jnp.maximum(count - 1, 1) * (1 + 1 / jnp.maximum(count, 1))
    total = prediction_variance + prior
    share = jnp.where(count > 1, prediction_variance / jnp.where(total > 0, total, 1.0), 0.0)
    return (1 - share) * predicted + share * mean
