"""Service laws: moments, whole distributions where SciPy knows them, and what each makes of a CV."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from lameta_jax.network.service_laws import SERVICE_LAWS, balanced_phases, draw_gamma, draw_service, law_cv

KEY = jax.random.key(3)
COUNT = 100_000


def gamma_law(cv):
    return stats.gamma(cv**-2, scale=cv**2)


def lognormal_law(cv):
    variance = np.log(1 + cv**2)
    return stats.lognorm(np.sqrt(variance), scale=np.exp(-variance / 2))


class Hyperexponential:
    """Two exponential phases of balanced means, from p (1 - p) = 1 / (2 (1 + V^2))."""

    def __init__(self, cv):
        self.p = (1 + np.sqrt(1 - 2 / (1 + cv**2))) / 2

    def cdf(self, x):
        p = self.p
        return 1 - p * np.exp(-2 * p * x) - (1 - p) * np.exp(-2 * (1 - p) * x)


@pytest.mark.parametrize(
    ("law", "cv", "expected"),
    [
        ("exponential", 0.3, stats.expon()),
        ("erlang", 0.5, stats.gamma(4, scale=1 / 4)),
        ("erlang", 0.6, stats.gamma(3, scale=1 / 3)),  # 1 / 0.36 = 2.8 stages
        ("erlang", 2.0, stats.expon()),
        ("gamma", 0.3, gamma_law(0.3)),
        ("gamma", 1.0, stats.expon()),
        ("gamma", 2.0, gamma_law(2.0)),
        ("lognormal", 0.5, lognormal_law(0.5)),
        ("lognormal", 2.0, lognormal_law(2.0)),
        ("hyperexponential", 1.5, Hyperexponential(1.5)),
        ("hyperexponential", 0.5, stats.expon()),
    ],
)
def test_the_whole_distribution(law, cv, expected):
    times = np.asarray(draw_service(KEY, law, jnp.array(cv), (COUNT,)))
    assert stats.kstest(times, expected.cdf).pvalue > 1e-3
    assert (times >= 0).all()


@pytest.mark.parametrize("law", ["erlang", "gamma", "lognormal", "hyperexponential"])
def test_each_time_may_have_a_cv_of_its_own(law):
    cvs, count = [0.0, 0.5, 2.0], 30_000
    draw = jax.jit(lambda cv: draw_service(KEY, law, cv, cv.shape))
    times = np.asarray(draw(jnp.repeat(jnp.array(cvs), count))).reshape(3, count)
    # The standard error of a mean is at most 2 / sqrt(30,000) = 0.012.
    assert times.mean(axis=1) == pytest.approx(1.0, abs=0.04)
    expected = np.asarray(law_cv(law, jnp.array(cvs)))
    assert times.std(axis=1) == pytest.approx(expected, rel=0.1, abs=2e-3)


@pytest.mark.parametrize("law", ["deterministic", "gamma", "lognormal"])
def test_no_variation_is_a_constant(law):
    times = draw_service(KEY, law, jnp.array(0.0), (10,))
    assert times.tolist() == pytest.approx([1.0] * 10)


@pytest.mark.parametrize(
    ("law", "cvs"),
    [
        ("exponential", [1, 1, 1, 1]),
        ("deterministic", [0, 0, 0, 0]),
        ("erlang", [1e-3, 0.5, 1, 1]),
        ("gamma", [0, 0.5, 1, 2]),
        ("lognormal", [0, 0.5, 1, 2]),
        ("hyperexponential", [1, 1, 1, 2]),
    ],
)
def test_what_a_law_makes_of_a_cv(law, cvs):
    assert law_cv(law, jnp.array([0.0, 0.5, 1.0, 2.0])).tolist() == pytest.approx(cvs)


@pytest.mark.parametrize("cv", [1.0, 1.3, 2.0, 5.0])
def test_the_phases_have_that_mean_and_cv(cv):
    phase = balanced_phases(jnp.array(cv))
    p, rates = float(phase.probability), (float(phase.fast_rate), float(phase.slow_rate))
    mean = p / rates[0] + (1 - p) / rates[1]
    second = 2 * p / rates[0] ** 2 + 2 * (1 - p) / rates[1] ** 2
    assert (mean, second - mean**2) == (pytest.approx(1), pytest.approx(cv**2, rel=1e-4))


@pytest.mark.parametrize("concentration", [0.2, 0.9, 1.0, 4.0, 50.0])
def test_gamma_variates(concentration):
    variates = np.asarray(draw_gamma(KEY, jnp.array(concentration), (COUNT,)))
    assert stats.kstest(variates, stats.gamma(concentration).cdf).pvalue > 1e-3


def test_every_law_has_a_name_and_no_other():
    with pytest.raises(ValueError, match="service law 'normal' must be one of exponential, deterministic"):
        draw_service(KEY, "normal", jnp.array(1.0), (2,))
    for law in SERVICE_LAWS:
        assert draw_service(KEY, law, jnp.array(1.0), (2, 3)).shape == (2, 3)
