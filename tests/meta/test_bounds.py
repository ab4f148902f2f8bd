"""Bounds of MAN's theorems against numbers worked by hand, their conditions, and slopes of known power laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.meta.bounds import (
    derived_personalisation_bound,
    generalisation_bound,
    max_inner_rate,
    max_meta_rate,
    meta_contraction,
    personalisation_bound,
    personalisation_rate,
    rates_allowed,
    steps_for_both_theorems,
    steps_for_stability,
)
from lameta_jax.meta.power_law import log_log_slope, slope_interval, slope_verdict
from lameta_jax.statistics import Interval


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


THEOREM_1 = {
    "num_collaborators": 5,
    "num_agents": 10,
    "num_samples": 100,
    "batch_size": 32,
    "num_steps": 3,
    "num_rounds": 2,
    "smoothness": 4.0,
    "strong_convexity": 1.0,
    "lipschitz": 3.0,
    "gradient_bound": 2.0,
    "inner_rate": 0.01,
    "meta_rate": 0.05,
}
THEOREM_2 = {
    "num_steps": 3,
    "distance": 2.0,
    "gradient_variance": 0.6,
    "smoothness": 4.0,
    "strong_convexity": 1.0,
}


def test_theorem_1_by_hand():
    # 2L + rho beta G = 8.06; c_g = 2 * 8.06 / (16 * 8.06 + 1) = 16.12 / 129.96
    contraction = 16.12 / 129.96
    assert float(meta_contraction(4.0, 1.0, 3.0, 2.0, 0.01)) == pytest.approx(contraction, rel=1e-12)
    # G^2 (1 + 0.01 * 4 * 32) S / (K D) = 4 * 2.28 * 5 / 1000 = 0.0456; six factors 1 - 0.05 c_g
    expected = 0.0456 * (1 - (1 - 0.05 * contraction) ** 6)
    assert float(generalisation_bound(**THEOREM_1)) == pytest.approx(expected, rel=1e-12)
    assert float(generalisation_bound(**THEOREM_1, constant=7.0)) == pytest.approx(7 * expected, rel=1e-12)


def test_contraction_is_that_of_the_meta_objective():
    smooth, convex = 4 * 4.0 + 2 * 0.01 * 3.0 * 2.0, 1.0 / 8
    expected = smooth * convex / (smooth + convex)
    assert float(meta_contraction(4.0, 1.0, 3.0, 2.0, 0.01)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "slope"), [("num_collaborators", 1.0), ("num_agents", -1.0), ("num_samples", -1.0)]
)
def test_theorem_1_is_a_power_law_in_its_sizes(name, slope):
    grid = jnp.array([2.0, 4.0, 8.0])
    bound = generalisation_bound(**(THEOREM_1 | {name: grid}))
    assert float(log_log_slope(grid, bound)) == pytest.approx(slope, abs=1e-12)


def test_theorem_1_while_few_rounds_are_played_and_after_many():
    few = generalisation_bound(**(THEOREM_1 | {"num_steps": 1, "num_rounds": 1, "meta_rate": 1e-12}))
    assert float(few) == pytest.approx(0.0456 * 1e-12 * 16.12 / 129.96, rel=1e-9)
    many = generalisation_bound(**(THEOREM_1 | {"num_rounds": 10**7}))
    assert float(many) == pytest.approx(0.0456, rel=1e-12)


def test_conditions_of_theorem_1():
    # 1 / 2L = 0.125; mu / (8 rho G) = 1 / 48, unless rho is small
    assert float(max_inner_rate(4.0, 1.0, 3.0, 2.0)) == pytest.approx(1 / 48, rel=1e-12)
    assert float(max_inner_rate(4.0, 1.0, 0.1, 2.0)) == 0.125
    assert float(max_inner_rate(4.0, 1.0, 0.0, 2.0)) == 0.125
    # 1 / (16 + 2 * 0.01 * 6)
    assert float(max_meta_rate(4.0, 3.0, 2.0, 0.01)) == pytest.approx(1 / 16.12, rel=1e-12)


@pytest.mark.parametrize(
    ("inner", "meta", "allowed"),
    [(1 / 48, 0.061, True), (0.021, 0.061, False), (0.01, 0.0625, False), (0.01, 1 / 16.12, True)],
)
def test_rates_within_and_beyond_the_conditions(inner, meta, allowed):
    assert bool(rates_allowed(4.0, 1.0, 3.0, 2.0, inner, meta)) is allowed


def test_theorem_2_by_hand():
    # 0.6 / 3 + (4 * 2)^2 (3/4)^3 = 0.2 + 27
    assert float(personalisation_bound(**THEOREM_2)) == pytest.approx(27.2, rel=1e-12)
    scaled = personalisation_bound(**THEOREM_2, noise_constant=10.0, distance_constant=0.25)
    assert float(scaled) == pytest.approx(2 + 6.75, rel=1e-12)
    assert float(personalisation_rate(0.5, 3)) == 1.0  # 2 / (0.5 * 4)


def test_what_theorem_2_takes_and_what_both_take():
    assert float(steps_for_stability(4.0, 0.5)) == 7.0
    assert float(personalisation_rate(0.5, 7)) == 2 / 4.0  # 2 / L exactly
    # max{4 * 4, 16 * 3 * 2} - 1, and max{16, 3.2} - 1
    assert float(steps_for_both_theorems(4.0, 1.0, 3.0, 2.0)) == pytest.approx(95.0)
    assert float(steps_for_both_theorems(4.0, 1.0, 0.1, 2.0)) == pytest.approx(15.0)
    assert float(personalisation_rate(1.0, 95)) == pytest.approx(float(max_inner_rate(4.0, 1.0, 3.0, 2.0)))


def test_the_derived_bound_by_hand():
    # E = 4: 4 * 0.6 / (2 * 4) + 2 * 4 * (3/5)^8; with E = 3 < L / mu nothing is promised
    found = derived_personalisation_bound(**(THEOREM_2 | {"num_steps": jnp.array([3, 4])}))
    assert np.isposinf(found[0])
    assert float(found[1]) == pytest.approx(0.3 + 8 * 0.6**8, rel=1e-12)


@pytest.mark.parametrize("curvature", [1.0, 2.5, 4.0])  # mu, between, L
@pytest.mark.parametrize("num_steps", [4, 5, 20, 300])
def test_the_derived_bound_holds_for_every_direction_of_a_quadratic(curvature, num_steps):
    rate, variance, distance = 2 / (num_steps + 1), 0.6, 2.0
    square = distance**2
    for _ in range(num_steps):  # second moment of the distance under SGD
        square = (1 - rate * curvature) ** 2 * square + rate**2 * variance
    bound = derived_personalisation_bound(**(THEOREM_2 | {"num_steps": num_steps}))
    assert curvature / 2 * square <= float(bound)


def test_the_initial_deviation_of_the_printed_rate_does_not_vanish():
    """(1 - 2 / (E + 1))^{2E} tends to e^{-4}, while (9) tends to 0: no hidden constant can make up for it."""
    steps = jnp.array([1e2, 1e4, 1e6])
    given = THEOREM_2 | {"num_steps": steps, "gradient_variance": 0.0}
    left = 0.5 * 2.0**2 * ((steps - 1) / (steps + 1)) ** (2 * steps)  # of a quadratic with curvature mu = 1
    assert float(left[-1]) == pytest.approx(2 * np.exp(-4), rel=1e-5)
    ratio = left / personalisation_bound(**given)
    assert float(ratio[0]) > 1e7 and np.isposinf(ratio[1])


@pytest.mark.parametrize("slope", [-2.0, -0.5, 0.0, 1.0, 3.0])
def test_slopes_of_power_laws(slope):
    x = jnp.array([1.0, 3.0, 10.0, 64.0])
    assert float(log_log_slope(x, 7 * x**slope)) == pytest.approx(slope, abs=1e-12)


def test_slope_is_numpys_least_squares():
    generator = np.random.default_rng(0)
    x, y = np.array([1.0, 2.0, 5.0, 9.0]), np.exp(generator.normal(size=(3, 4)))
    expected = [np.polyfit(np.log(x), np.log(row), 1)[0] for row in y]
    np.testing.assert_allclose(log_log_slope(jnp.asarray(x), jnp.asarray(y)), expected, rtol=1e-10)


def test_slope_intervals_cover_a_known_slope():
    """Slope -1 under noise: of 400 intervals of 95%, about 380 hold it (standard deviation 4.4)."""
    generator = np.random.default_rng(1)
    x = np.array([1.0, 2.0, 4.0, 8.0])
    noise = np.exp(0.3 * generator.normal(size=(400, 5, 4)))
    found = jax.vmap(lambda y: slope_interval(jnp.asarray(x), y))(jnp.asarray(noise / x))
    held = int(np.sum((found.low <= -1) & (found.high >= -1)))
    assert 358 <= held <= 398


def test_errors_that_are_not_positive_have_no_slope():
    assert np.isnan(log_log_slope(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0])))
    assert np.isnan(slope_interval(jnp.array([1.0, 2.0]), jnp.array([[1.0, 2.0], [1.0, -1.0]])).mean)


@pytest.mark.parametrize(
    ("slope", "predicted", "verdict"),
    [
        ((-0.8, -1.1, -0.5), -1.0, "supported"),
        ((0.9, 0.85, 0.95), 1.0, "supported"),
        ((0.4, 0.3, 0.5), 1.0, "direction only"),
        ((-0.4, -0.5, -0.3), 1.0, "not supported: opposite"),
        ((0.3, -0.1, 0.7), 1.0, "no dependence seen"),
        ((0.02, 0.01, 0.03), 1.0, "no dependence seen"),
        ((0.3, -0.1, 0.7), 0.01, "supported: none predicted, none seen"),
        ((0.3, 0.2, 0.4), 0.01, "not supported: none predicted"),
        ((np.nan, np.nan, np.nan), 1.0, "undecided: an error is not positive"),
    ],
)
def test_verdicts_on_slopes(slope, predicted, verdict):
    assert slope_verdict(Interval(*map(jnp.asarray, slope)), predicted) == verdict
