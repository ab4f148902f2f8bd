"""Means of independent samples with confidence intervals."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import betainc, ndtri
from jaxtyping import Array, Float, Int, Key


class Interval(NamedTuple):
    """A mean and the bounds of its confidence interval."""

    mean: Float[Array, "*rest"]
    low: Float[Array, "*rest"]
    high: Float[Array, "*rest"]


def mean_interval(values: Float[Array, "samples *rest"], confidence: float = 0.95) -> Interval:
    """Mean over the first axis with its confidence interval by Student's t; infinitely wide for a single sample.

    >>> [round(float(x), 3) for x in mean_interval(jnp.array([1.0, 2.0, 3.0]))]    # 2 -+ 4.303 * 1 / sqrt(3)
    [2.0, -0.484, 4.484]
    """
    count = values.shape[0]
    mean = jnp.mean(values, axis=0)
    if count < 2:
        return Interval(mean, jnp.full_like(mean, -jnp.inf), jnp.full_like(mean, jnp.inf))
    half_width = student_quantile(confidence, count - 1) * jnp.std(values, axis=0, ddof=1) / count**0.5
    return Interval(mean, mean - half_width, mean + half_width)


@jax.jit
def student_quantile(confidence: float | Array, degrees: int | Array) -> Float[Array, ""]:
    """t with P(|T| <= t) = confidence, by bisection.

    P(|T| > t) = I_x(degrees / 2, 1 / 2) with x = degrees / (degrees + t^2), the regularised incomplete beta.
    """
    outside = jnp.asarray(1.0 - confidence, dtype=float)
    a, b = jnp.asarray(degrees / 2, dtype=float), jnp.asarray(0.5, dtype=float)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        too_much = betainc(a, b, middle) > outside
        return jnp.where(too_much, low, middle), jnp.where(too_much, middle, high)

    low, high = jax.lax.fori_loop(0, 60, halve, (jnp.zeros_like(a), jnp.ones_like(a)))
    x = (low + high) / 2
    return jnp.sqrt(degrees * (1 - x) / x)


def share_interval(count: Int[Array, "*batch"], total: int, confidence: float = 0.95) -> Interval:
    """Share of `count` in `total` independent trials with Wilson's score interval, which holds for rare events too.

    Reference: Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    >>> [round(float(x), 3) for x in share_interval(jnp.array(0), 100)]    # 1.96^2 / (100 + 1.96^2)
    [0.0, 0.0, 0.037]
    """
    z = ndtri(jnp.asarray(0.5 + confidence / 2, dtype=float))
    share = count / total
    scale = 1 + z**2 / total
    centre = (share + z**2 / (2 * total)) / scale
    half_width = z / scale * jnp.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    high = jnp.minimum(centre + half_width, 1.0)
    # The product of the bounds is share^2 / scale: unlike a difference, it is exact where the share is 0.
    return Interval(share, share**2 / (scale * high), high)


def interquartile_mean(values: Float[Array, "samples *rest"]) -> Float[Array, "*rest"]:
    """Mean over the first axis without the lowest and the highest quarter, each rounded down to whole samples.

    Reference: Agarwal et al., Deep reinforcement learning at the edge of the statistical precipice, 2021.

    >>> float(interquartile_mean(jnp.array([100.0, 1.0, 2.0, 3.0, -7.0])))
    2.0
    """
    cut = values.shape[0] // 4
    return jnp.mean(jnp.sort(values, axis=0)[cut : values.shape[0] - cut], axis=0)


def bootstrap_interval(
    key: Key[Array, ""],
    values: Float[Array, "samples *rest"],
    statistic: Callable[[Float[Array, "samples *rest"]], Float[Array, "*rest"]],
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """A statistic of independent samples, and percentiles of it over samples drawn from them with replacement.

    Reference: Efron, Bootstrap methods: another look at the jackknife, 1979. Narrow for fewer than about ten samples,
    as is every bootstrap.
    """
    count = values.shape[0]
    rows = jax.random.randint(key, (resamples, count), 0, count)
    drawn = jax.vmap(lambda chosen: statistic(values[chosen]))(rows)
    low, high = jnp.quantile(drawn, jnp.array([0.5 - confidence / 2, 0.5 + confidence / 2]), axis=0)
    return Interval(statistic(values), low, high)
