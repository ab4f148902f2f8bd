"""Pools of users drawn from distributions, for studies that need more of them than a corpus has, or none of its words.

Everything is drawn on the host, before training; `make_users` makes a pool of given preferences.
"""

from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from lameta_jax.composition.types import User, make_users


def draw_users(
    key: Key[Array, ""],
    concentration: Float[Array, "4"],
    count: int,
    *,
    mean_squared_errors: Sequence[float] = (0.0, 0.0),
) -> User:
    """Users whose preferences are Dirichlet distributed, and E-LAMs that read them with given errors.

        E[s_i] = m_i = alpha_i / alpha_0,   Var[s_i] = m_i (1 - m_i) / (alpha_0 + 1),   alpha_0 = sum_i alpha_i

    Args:
      key: the same key gives the same preferences, whatever the errors.
      concentration: alpha, > 0; all 1 is uniform on the simplex, larger ones draw users closer together.
      count: number of users.
      mean_squared_errors: one per E-LAM, see `imprecise_translations`.
    """
    key_preference, key_translation = jax.random.split(key)
    preference = jax.random.dirichlet(key_preference, concentration, (count,))
    return make_users(preference, imprecise_translations(key_translation, preference, mean_squared_errors))


def imprecise_translations(
    key: Key[Array, ""], preference: Float[Array, "users 4"], mean_squared_errors: Sequence[float]
) -> Float[Array, "users elams 4"]:
    """What E-LAMs of given errors may make of preferences: a stand-in for language models, right on average.

        s' ~ Dirichlet(c s),   E[s'] = s,   MSE = mean over users and factors of s_i (1 - s_i) / (c + 1)

    with one c per E-LAM, chosen so that the expected MSE over these users is the one given.

    Assumption: errors are independent between users and E-LAMs, and larger where a user cares about many factors.
    Those of language models need be neither; where translations of real prompts are at hand, take those.

    Args:
      preference: s, on the simplex.
      mean_squared_errors: of each E-LAM, over the four weights, as `distillation.metrics` has it; 0 is a perfect one.

    Raises:
      ValueError: an error that the simplex is too small for: it is reached where each s' is one factor alone.
    """
    largest = float(jnp.mean(preference * (1 - preference)))
    translations = []
    for key_elam, error in zip(
        jax.random.split(key, len(mean_squared_errors)), mean_squared_errors, strict=True
    ):
        if error == 0:
            translations.append(preference)
            continue
        if not 0 < error < largest:
            raise ValueError(f"mean_squared_error = {error} must be >= 0 and < {largest:.4g} for these users")
        # A factor of weight 0 keeps weight 0; a gamma distribution of shape 0 would be no number.
        shape = jnp.maximum((largest / error - 1) * preference, jnp.finfo(preference.dtype).tiny)
        translations.append(jax.random.dirichlet(key_elam, shape))
    return jnp.stack(translations, axis=1)


def misread_users(key: Key[Array, ""], users: User, others: User, share: float) -> User:
    """The same users, a share of whom every E-LAM takes for somebody else: it says of them what it says of `others`.

    Args:
      others: of whom one is drawn for each user who is misread.
      share: probability that a user is misread, each by itself, in [0, 1].
    """
    key_who, key_for = jax.random.split(key)
    misread, other = _mixed(key_who, key_for, users, others, share)
    return replace(users, translated=jnp.where(misread[:, None, None], other.translated, users.translated))


def foreign_users(key: Key[Array, ""], users: User, others: User, share: float) -> User:
    """The same pool, a share of which is other people: they want what `others` want, and are read as those are."""
    key_who, key_for = jax.random.split(key)
    foreign, other = _mixed(key_who, key_for, users, others, share)

    def either(own, theirs):
        return jnp.where(foreign.reshape(-1, *[1] * (own.ndim - 1)), theirs, own)

    return replace(jax.tree.map(either, users, other), index=users.index)


def unread_users(key: Key[Array, ""], users: User, share: float, fallback: Float[Array, "4"]) -> User:
    """The same users, of whom each E-LAM fails to read a share; `fallback` then stands in for its translation."""
    failed = users.failed | jax.random.bernoulli(key, share, users.failed.shape)
    return replace(users, failed=failed, translated=jnp.where(failed[..., None], fallback, users.translated))


def _mixed(
    key_who: Key[Array, ""], key_for: Key[Array, ""], users: User, others: User, share: float
) -> tuple[Bool[Array, " users"], User]:
    """Who is not himself, and one of the others for everybody."""
    count = users.index.shape[0]
    chosen = jax.random.randint(key_for, (count,), 0, others.index.shape[0])
    return jax.random.bernoulli(key_who, share, (count,)), jax.tree.map(lambda leaf: leaf[chosen], others)
