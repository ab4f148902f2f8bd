"""Monte Carlo of outage against the closed forms, which have their own tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lameta_jax.network.outage_simulation import simulate_outage
from lameta_jax.statistics import share_interval


@pytest.mark.parametrize(
    ("arrival_rate", "rates", "crash"),
    [
        (4.0, [8.5, 10.0, 9.0], [0.01, 0.002, 0.03]),
        (4.0, [6.0, 40.0], [0.0, 0.0]),
        (1.0, [1.5], [0.5]),
    ],
)
def test_shares_of_minutes(arrival_rate, rates, crash):
    found = simulate_outage(
        jax.random.key(0), jnp.array(arrival_rate), jnp.array(rates), jnp.array(crash), 10**6, 0.999
    )
    crashed = 1 - np.prod(1 - np.array(crash))
    overload = stats.poisson(arrival_rate).sf(np.floor(min(rates)))
    expected = {"crash": crashed, "overload": overload, "outage": 1 - (1 - crashed) * (1 - overload)}
    for name, value in expected.items():
        interval = getattr(found, name)
        assert float(interval.low) <= value <= float(interval.high), name
        assert float(interval.high - interval.low) < 0.01


@pytest.mark.parametrize(("count", "total"), [(0, 50), (3, 50), (25, 50), (50, 50), (7, 10**6)])
def test_wilsons_interval(count, total):
    expected = stats.binomtest(count, total).proportion_ci(0.95, method="wilson")
    found = share_interval(jnp.array(count), total)
    assert (float(found.low), float(found.high)) == pytest.approx(
        (expected.low, expected.high), rel=1e-3, abs=1e-7
    )
