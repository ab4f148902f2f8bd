"""Service times by named law, of mean 1 and given coefficient of variation V = sigma mu."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from lameta_jax.types import Scalar

SERVICE_LAWS = ("exponential", "deterministic", "erlang", "gamma", "lognormal", "hyperexponential")
_SMALLEST_CV = 1e-3  # a gamma law of less is drawn as a constant: its shape, 1 / V^2, would overflow


def law_cv(law: str, service_cv: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """The coefficient of variation that a law has when asked for `service_cv`.

    `gamma` and `lognormal` have any. `exponential` always has 1 and `deterministic` 0. `erlang` has the nearest
    1 / sqrt(k) of a whole number of stages k, at most 1; `hyperexponential` has at least 1.

    Raises:
      ValueError: unknown law.
    """
    if law == "exponential":
        return jnp.ones_like(service_cv)
    if law == "deterministic":
        return jnp.zeros_like(service_cv)
    if law == "erlang":
        return 1 / jnp.sqrt(_erlang_stages(service_cv))
    if law == "hyperexponential":
        return jnp.maximum(service_cv, 1.0)
    if law in ("gamma", "lognormal"):
        return service_cv
    raise ValueError(f"service law {law!r} must be one of {', '.join(SERVICE_LAWS)}")


def draw_service(
    key: Key[Array, ""], law: str, service_cv: Scalar | Float[Array, "*batch"], shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """Independent service times of mean 1; divide by mu for minutes.

    `hyperexponential` has two phases of balanced means: each contributes half of the mean.

    Args:
      service_cv: of all times, or of each: then it has the shape of the times.

    Raises:
      ValueError: unknown law.
    """
    cv = law_cv(law, jnp.asarray(service_cv, dtype=float))
    if law == "exponential":
        return jax.random.exponential(key, shape, dtype=cv.dtype)
    if law == "deterministic":
        return jnp.ones(shape, cv.dtype)
    if law == "lognormal":
        variance = jnp.log1p(cv**2)  # of the logarithm
        return jnp.exp(jnp.sqrt(variance) * jax.random.normal(key, shape, cv.dtype) - variance / 2)
    if law == "hyperexponential":
        phases = balanced_phases(cv)
        key_phase, key_time = jax.random.split(key)
        fast = jax.random.uniform(key_phase, shape, cv.dtype) < phases.probability
        rate = jnp.where(fast, phases.fast_rate, phases.slow_rate)
        return jax.random.exponential(key_time, shape, cv.dtype) / rate
    stages = _erlang_stages(cv) if law == "erlang" else 1 / jnp.maximum(cv, _SMALLEST_CV) ** 2
    return jnp.where(cv < _SMALLEST_CV, 1.0, draw_gamma(key, stages, shape) / stages)


def draw_gamma(
    key: Key[Array, ""], concentration: Float[Array, "*batch"], shape: tuple[int, ...]
) -> Float[Array, "..."]:
    """Gamma variates of scale 1, by rejection from a transformed normal.

    `jax.random.gamma` loops over the entries one by one on a CPU; here whole arrays are redrawn until every entry
    has been accepted, which is many times faster as 95% are at once. Below concentration 1 a variate of one more is
    drawn and multiplied by U^(1 / concentration).

    Reference: Marsaglia and Tsang, A simple method for generating gamma variables, 2000.
    """
    concentration = jnp.broadcast_to(concentration, shape)
    dtype = concentration.dtype
    d = jnp.where(concentration < 1, concentration + 1, concentration) - 1 / 3
    c = 1 / jnp.sqrt(9 * d)

    def redraw(state):
        key, found, accepted = state
        key, key_normal, key_uniform = jax.random.split(key, 3)
        x = jax.random.normal(key_normal, shape, dtype)
        v = (1 + c * x) ** 3
        log_v = jnp.log(jnp.where(v > 0, v, 1.0))
        accept = jnp.log1p(-jax.random.uniform(key_uniform, shape, dtype)) < x**2 / 2 + d * (1 - v + log_v)
        return key, jnp.where(accepted, found, d * v), accepted | (accept & (v > 0))

    key, key_boost = jax.random.split(key)
    start = (key, jnp.ones(shape, dtype), jnp.zeros(shape, bool))
    _, found, _ = jax.lax.while_loop(lambda state: ~jnp.all(state[2]), redraw, start)
    boost = jnp.exp(-jax.random.exponential(key_boost, shape, dtype) / concentration)
    return jnp.where(concentration < 1, found * boost, found)


class Phases(NamedTuple):
    """Two exponential phases, one of which is drawn for every service."""

    probability: Float[Array, "*batch"]  # of the fast one
    fast_rate: Float[Array, "*batch"]
    slow_rate: Float[Array, "*batch"]


def balanced_phases(service_cv: Float[Array, "*batch"]) -> Phases:
    r"""The hyper-exponential law of mean 1 and CV >= 1 whose phases contribute equally to the mean.

        p = (1 + sqrt((V^2 - 1) / (V^2 + 1))) / 2,    rates 2 p and 2 (1 - p)

    >>> [round(float(x), 3) for x in balanced_phases(jnp.array(3.0**0.5))]    # p = (1 + sqrt(2 / 4)) / 2
    [0.854, 1.707, 0.293]
    """
    square = service_cv**2
    probability = (1 + jnp.sqrt((square - 1) / (square + 1))) / 2
    return Phases(probability, 2 * probability, 2 * (1 - probability))


def _erlang_stages(service_cv: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    return jnp.maximum(jnp.round(1 / jnp.maximum(service_cv, _SMALLEST_CV) ** 2), 1.0)
