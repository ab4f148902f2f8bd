"""Stage 2 end to end on a network of eight chains, and its table rows."""

import itertools

import jax
import numpy as np
import pytest
from reference.composition_cases import preferences, six_agents

from lameta_jax.composition.baselines import random_actor
from lameta_jax.composition.evaluate import value_chains
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.rollout import EpisodeConfig
from lameta_jax.composition.types import make_users
from lameta_jax.network.files import parse_scenario
from lameta_jax.pipeline.composition import (
    CompositionConfig,
    compare_composers,
    fractions,
    pool,
    train_composer,
    training_pools,
)
from lameta_jax.pipeline.rows import composition_rows

USERS = preferences(6)
TRANSLATED = np.stack([preferences(6, seed=1), preferences(6, seed=2)], axis=1)
CONFIG = CompositionConfig(
    learner=LearnerConfig(num_updates=4, num_minibatches=2, num_epochs=1),
    episodes=EpisodeConfig(users_per_slot=8),
    updates_per_report=2,
)


@pytest.fixture(scope="module")
def scenario():
    return parse_scenario(six_agents(), "six agents")


@pytest.fixture(scope="module")
def outcomes(scenario):
    actor = random_actor(respect_types=True)
    key = jax.random.key(0)
    return compare_composers(key, scenario, USERS, TRANSLATED, {"SRL": actor}, actor, CONFIG)


def value_of_every_chain(scenario, preference):
    chains = np.array(list(itertools.product([0, 1], [2, 3], [4, 5])))
    repeated = np.repeat(np.asarray(preference)[None], len(chains), axis=0)
    return np.asarray(
        value_chains(
            scenario.network,
            scenario.request,
            jax.numpy.asarray(chains),
            jax.numpy.asarray(repeated, dtype=float),
        )
    )


def test_the_optimum_is_the_best_of_all_eight_chains(scenario, outcomes):
    best = [value_of_every_chain(scenario, user).max() for user in USERS]
    np.testing.assert_allclose(outcomes["optimum"].qoe, best, rtol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_the_plug_in_optimum_searches_by_the_translation_and_pays_by_the_preference(
    scenario, outcomes, index
):
    expected = [
        value_of_every_chain(scenario, user)[value_of_every_chain(scenario, read).argmax()]
        for user, read in zip(USERS, TRANSLATED[:, index], strict=True)
    ]
    elam = scenario.elam_names[index]
    np.testing.assert_allclose(outcomes[f"plug-in optimum ({elam})"].qoe, expected, rtol=1e-5)


def test_nobody_beats_the_optimum_and_fees_are_taken_off(outcomes):
    for name, share in fractions(outcomes).items():
        assert (share <= 1 + 1e-5).all(), name
        fees = outcomes[name].qoe - outcomes[name].net_qoe
        # three calls, each by an E-LAM that takes 0.01 or 0.05; an episode that fails early makes fewer
        assert (fees > 0).all() and (fees <= 3 * 0.05 + 1e-6).all(), name


def test_rows_are_averages_over_users(outcomes):
    row = next(row for row in composition_rows(outcomes) if row["method"] == "greedy")
    share = outcomes["greedy"].qoe / outcomes["optimum"].qoe
    assert row["gap"] == pytest.approx(1 - share.mean(), abs=1e-6)
    half = 2.5706 * share.std(ddof=1) / 6**0.5  # Student's t, 5 degrees of freedom
    assert row["gap_ci"] == pytest.approx([1 - share.mean() - half, 1 - share.mean() + half], abs=1e-4)


@pytest.mark.slow
def test_training_in_chunks_reports_progress_and_gives_a_curve(scenario):
    seen = []
    users = pool([make_users(USERS), make_users(USERS, TRANSLATED)])
    trained = train_composer(
        jax.random.key(0), scenario, users, CONFIG, lambda *state: seen.append(state[:2])
    )
    assert seen == [(2, 4), (4, 4)]
    assert trained.qoe.shape == trained.fraction.shape == (4,)
    assert users.preference.shape == (12, 4) and users.index.tolist() == list(range(12))
    mean_best = np.mean(
        [value_of_every_chain(scenario, user).max() for user in np.concatenate([USERS, USERS])]
    )
    np.testing.assert_allclose(trained.fraction, trained.qoe / mean_best, rtol=1e-5)


def test_srl_trains_on_every_user_twice_and_drl_even_once():
    crossed = {"one": TRANSLATED[:4], "two": TRANSLATED[4:]}
    srl, even = training_pools({"one": USERS[:4], "two": USERS[4:]}, crossed)
    np.testing.assert_allclose(srl.preference, np.concatenate([USERS, USERS]), rtol=1e-6)
    np.testing.assert_allclose(srl.translated[:6], np.stack([USERS, USERS], axis=1), rtol=1e-6)
    np.testing.assert_allclose(srl.translated[6:], TRANSLATED, rtol=1e-6)
    np.testing.assert_allclose(even.preference, USERS, rtol=1e-6)
