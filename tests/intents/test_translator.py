"""From prompts to preferences: what cannot be read is marked and falls back to the mean."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lameta_jax.intents.preference import check_preference
from lameta_jax.intents.translator import AnsweringModel, translate

MEAN = (0.4, 0.3, 0.2, 0.1)


class Parrot:
    """A model that answers with the prompt."""

    mean_preference = np.array(MEAN)

    def answer(self, prompts):
        return list(prompts)


def test_answers_are_read_and_failures_marked():
    read, failed = translate(Parrot(), ["41 30 18 11", "41, 30, 18, 11"])
    assert read == ((0.41, 0.30, 0.18, 0.11), "41 30 18 11", False)
    assert failed == (MEAN, "41, 30, 18, 11", True)


@pytest.mark.parametrize(
    "answer",
    ["", "\x00", "\ud800", "🙂", "25 25 25 22", "quarante et un", "0" * 100_000],
    ids=lambda answer: ascii(answer)[:20],
)
def test_any_failure_falls_back_to_the_mean(answer):
    assert translate(Parrot(), [answer]) == [(MEAN, answer, True)]


def test_nothing_asked_nothing_answered():
    assert translate(Parrot(), []) == []


def test_an_answer_that_names_one_factor_alone_is_no_failure():
    # a tuple with zeros is true, as any tuple that is not empty
    assert translate(Parrot(), ["0 0 0 100"]) == [((0.0, 0.0, 0.0, 1.0), "0 0 0 100", False)]


@given(st.lists(st.text() | st.text("0123456789 ", max_size=12), max_size=5))
def test_every_prompt_gets_a_valid_preference_in_its_place(answers):
    translations = translate(Parrot(), answers)
    assert [translation.answer for translation in translations] == answers
    for translation in translations:
        assert check_preference(translation.preference, "translation") == translation.preference
        assert not translation.failed or translation.preference == MEAN


def test_the_protocol():
    assert isinstance(Parrot(), AnsweringModel)
    assert not isinstance("parrot", AnsweringModel)
