"""Means of independent samples: intervals from the tables of Student's t, and what SciPy makes of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lameta_jax.statistics import bootstrap_interval, interquartile_mean, mean_interval


@pytest.mark.parametrize(
    ("count", "confidence", "quantile"),  # of Student's t with count - 1 degrees, from the tables
    [(2, 0.95, 12.706), (3, 0.95, 4.303), (6, 0.95, 2.571), (6, 0.99, 4.032), (41, 0.95, 2.021)],
)
def test_intervals_are_students(count, confidence, quantile):
    values = np.arange(count, dtype=float)
    interval = mean_interval(jnp.array(values), confidence)
    half = quantile * values.std(ddof=1) / count**0.5
    assert float(interval.mean) == pytest.approx(values.mean())
    assert float(interval.high - interval.mean) == pytest.approx(half, rel=1e-3)
    assert float(interval.mean - interval.low) == pytest.approx(half, rel=1e-3)


def test_trailing_axes_are_kept_apart():
    values = jnp.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]])
    interval = mean_interval(values)
    assert interval.mean.tolist() == [2.0, 20.0]
    assert (interval.high - interval.mean).tolist() == pytest.approx(
        [4.303 / 3**0.5, 43.03 / 3**0.5], rel=1e-3
    )


def test_one_sample_says_nothing_about_spread():
    interval = mean_interval(jnp.array([3.0]))
    assert float(interval.mean) == 3 and np.isinf(interval.low) and np.isinf(interval.high)


@pytest.mark.parametrize("count", [1, 3, 4, 7, 8, 21])
def test_the_interquartile_mean_is_scipys_trimmed_mean(count):
    values = np.random.default_rng(count).normal(size=(count, 2))
    np.testing.assert_allclose(
        interquartile_mean(jnp.asarray(values)), stats.trim_mean(values, 0.25), rtol=1e-5, atol=1e-6
    )


def test_bootstrap_intervals_agree_with_scipys():
    values = np.random.default_rng(0).exponential(size=40)
    found = bootstrap_interval(jax.random.key(0), jnp.asarray(values), interquartile_mean, resamples=4000)
    expected = stats.bootstrap(
        (values,), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), method="percentile", rng=0
    ).confidence_interval
    assert float(found.low) == pytest.approx(expected.low, abs=0.02)
    assert float(found.high) == pytest.approx(expected.high, abs=0.02)
    assert float(found.mean) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-5)
