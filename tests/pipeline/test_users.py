"""Pools of users from a corpus."""

import numpy as np
import pytest

from lameta_jax.intents.corpus import Record
from lameta_jax.pipeline.users import corpus_users

RECORDS = [
    Record(id="one", application="qa", prompt="Be right.", preference=(0.7, 0.1, 0.1, 0.1)),
    Record(id="two", application="qa", prompt="Be quick.", preference=(0.1, 0.2, 0.6, 0.1005)),  # rounded
    Record(id="three", application="qa", prompt="Be there.", preference=(0.1, 0.1, 0.1, 0.7)),
]
WANTED = [
    [0.7, 0.1, 0.1, 0.1],
    [0.1 / 1.0005, 0.2 / 1.0005, 0.6 / 1.0005, 0.1005 / 1.0005],
    [0.1, 0.1, 0.1, 0.7],
]


def test_users_want_what_the_annotators_say_and_are_heard_by_each_elam():
    small, large = np.full((3, 4), 0.25), np.array([[0.4, 0.3, 0.2, 0.1]] * 3)
    users = corpus_users(RECORDS, [small, large])
    assert np.asarray(users.preference) == pytest.approx(np.array(WANTED), abs=1e-6)
    assert users.translated.shape == (3, 2, 4)
    assert np.array_equal(users.translated[:, 0], small)
    assert np.asarray(users.translated[:, 1]) == pytest.approx(large)
    assert users.index.tolist() == [0, 1, 2]


def test_without_translations_every_elam_reads_perfectly():
    users = corpus_users(RECORDS, num_elams=3)
    assert np.array_equal(users.translated, np.repeat(users.preference[:, None], 3, axis=1))
