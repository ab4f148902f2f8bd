"""Slopes in log-log coordinates, with intervals over independent repetitions."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from lameta_jax.statistics import Interval, mean_interval


def log_log_slope(x: Float[Array, " points"], y: Float[Array, "*batch points"]) -> Float[Array, "*batch"]:
    """Least-squares slope of log y against log x; not a number where any y is not positive.

    >>> round(float(log_log_slope(jnp.array([1.0, 2.0, 4.0]), jnp.array([5.0, 2.5, 1.25]))), 6)    # 5 / x
    -1.0
    """
    centred = jnp.log(x) - jnp.mean(jnp.log(x))
    logs = jnp.log(jnp.where(y > 0, y, jnp.nan))
    return jnp.einsum("...i,i->...", logs, centred) / jnp.sum(centred**2)


def slope_interval(
    x: Float[Array, " points"], y: Float[Array, "seeds points"], confidence: float = 0.95
) -> Interval:
    """Mean of the seeds' slopes with its interval by Student's t; not a number if a seed's y is not positive."""
    return mean_interval(log_log_slope(x, y), confidence)


def slope_verdict(slope: Interval, predicted: float, negligible: float = 0.05, near: float = 0.25) -> str:
    """What a measured slope says of the predicted one.

    "supported": the interval holds it, or the mean is within `near` times it. "direction only": the same sign and
    another size. "no dependence seen": the interval holds 0 or the mean is negligible. Where hardly any dependence is
    predicted, not seeing one is support.
    """
    mean, low, high = (float(value) for value in slope)
    if mean != mean:
        return "undecided: an error is not positive"
    none_seen = low <= 0 <= high or abs(mean) < negligible
    if abs(predicted) < negligible:
        return "supported: none predicted, none seen" if none_seen else "not supported: none predicted"
    if none_seen:
        return "no dependence seen"
    if low <= predicted <= high or abs(mean - predicted) <= near * abs(predicted):
        return "supported"
    return "direction only" if mean * predicted > 0 else "not supported: opposite"
