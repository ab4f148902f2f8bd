"""Means of independent samples: intervals from the tables of Student's t."""

import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.statistics import mean_interval


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
