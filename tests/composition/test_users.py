"""Drawn pools of users against the closed forms of the Dirichlet distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.composition.users import draw_users, imprecise_translations

KEY = jax.random.key(0)
ALPHA = np.array([0.5, 1.0, 2.0, 4.5])
COUNT = 40_000


def test_preferences_have_the_moments_of_their_distribution():
    drawn = np.asarray(draw_users(KEY, jnp.asarray(ALPHA), COUNT).preference, dtype=float)
    assert np.all(drawn >= 0) and drawn.sum(axis=1) == pytest.approx(np.ones(COUNT), abs=1e-5)
    mean = ALPHA / 8
    covariance = (np.diag(mean) - np.outer(mean, mean)) / 9
    # Standard errors: of a mean sd / 200, at most 0.0009; of a covariance about sd^2 / 141, at most 0.0002
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=0.003)
    assert np.cov(drawn.T) == pytest.approx(covariance, abs=8e-4)


def test_every_elam_errs_as_much_as_stated_and_by_itself():
    users = draw_users(KEY, jnp.asarray(ALPHA), COUNT, mean_squared_errors=(0.02, 0.0, 0.002))
    assert users.translated.shape == (COUNT, 3, 4) and users.index.tolist() == list(range(COUNT))
    errors = np.asarray(users.translated - users.preference[:, None, :], dtype=float)
    measured = np.mean(errors**2, axis=(0, 2))
    assert measured[[0, 2]] == pytest.approx([0.02, 0.002], rel=0.03) and measured[1] == 0
    assert np.mean(errors, axis=0) == pytest.approx(np.zeros((3, 4)), abs=0.005)
    assert abs(np.corrcoef(errors[:, 0, 3], errors[:, 2, 3])[0, 1]) < 0.02
    assert users.translated.sum(axis=-1) == pytest.approx(np.ones((COUNT, 3)), abs=1e-5)


def test_one_user_is_misread_around_what_she_wants():
    preference = np.array([0.5, 0.3, 0.2, 0.0])
    read = imprecise_translations(KEY, jnp.asarray(np.tile(preference, (COUNT, 1))), [0.01])[:, 0]
    # (0.25 + 0.21 + 0.16) / 4 / (c + 1) = 0.01, so 1 / (c + 1) = 0.04 / 0.62
    assert np.mean(read, axis=0) == pytest.approx(preference, abs=0.003)
    assert np.var(read, axis=0) == pytest.approx(preference * (1 - preference) * 0.04 / 0.62, rel=0.05)
    assert np.all(np.isfinite(read)) and np.max(read[:, 3]) < 1e-6


def test_errors_change_nothing_of_who_the_users_are():
    exact = draw_users(KEY, jnp.ones(4), 10)
    vague = draw_users(KEY, jnp.ones(4), 10, mean_squared_errors=(0.03,))
    assert np.array_equal(exact.preference, vague.preference)
    assert np.array_equal(exact.translated, np.repeat(exact.preference[:, None], 2, axis=1))
    other = draw_users(jax.random.key(1), jnp.ones(4), 10)
    assert not np.any(np.isclose(exact.preference, other.preference))


# Uniform on the simplex, E[s_i (1 - s_i)] = 1/4 - 1/10 = 0.15, and no error can be larger.
@pytest.mark.parametrize("error", [0.2, -0.01, float("nan")])
def test_an_error_that_cannot_be_is_refused(error):
    with pytest.raises(ValueError, match=f"mean_squared_error = {error} must be >= 0 and < 0.1"):
        draw_users(KEY, jnp.ones(4), 5000, mean_squared_errors=(0.01, error))
