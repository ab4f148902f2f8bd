"""The semantic filter (20)."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import intents_twin as twin

from lameta_jax.intents.similarity import cosine_similarity, relevant


def test_cosine_by_hand():
    # (3, 4) and (4, 3): 24 / 25; (3, 4) and (-4, 3): 0; lengths do not matter; nothing resembles a zero
    first = np.array([[3.0, 4.0], [30.0, 40.0], [0.0, 0.0]])
    second = np.array([[4.0, 3.0], [-4.0, 3.0], [3.0, 4.0]])
    assert cosine_similarity(first, second) == pytest.approx(
        np.array([[0.96, 0.0, 1.0], [0.96, 0.0, 1.0], [0.0, 0.0, 0.0]])
    )


def test_best_match_among_the_users_counts():
    users = np.array([[1.0, 0.0], [0.0, 1.0]])
    # cosines with the users: (0.6, 0.8), (-1, 0), (1, 0)
    history = np.array([[0.6, 0.8], [-1.0, 0.0], [1.0, 0.0]])
    assert relevant(users, history, 0.8).tolist() == [0, 2]
    assert relevant(users, history, 0.81).tolist() == [2]
    assert relevant(users, history, 0.0).tolist() == [0, 1, 2]
    assert relevant(users, history, 1.01).tolist() == []


@given(st.integers(0, 10_000), st.floats(-0.5, 0.9))
def test_filter_is_that_of_the_paper(seed, min_similarity):
    generator = np.random.default_rng(seed)
    users, history = generator.normal(size=(3, 5)), generator.normal(size=(20, 5))
    assert relevant(users, history, min_similarity).tolist() == twin.relevant(users, history, min_similarity)
