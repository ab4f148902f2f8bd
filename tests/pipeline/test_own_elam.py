"""An E-LAM of one's own: what trains, what validates, and that the two never meet."""

from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from reference.elam_cases import constant_elam

from lameta_jax.distillation.train import Metrics
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import CorpusError, Record
from lameta_jax.intents.preference import whole_percents
from lameta_jax.intents.translator import read_answer
from lameta_jax.pipeline import own_elam
from lameta_jax.pipeline.own_elam import MIN_RECORDS, OwnElamConfig, distil_own, records_of, split_records


def records(count, start=0, application="games"):
    rng = np.random.default_rng(start)
    return tuple(
        Record(
            id=f"{application}-{number}",
            application=application,
            prompt=f"Prompt {number}",
            preference=tuple(rng.dirichlet(np.ones(4))),
        )
        for number in range(start, start + count)
    )


OWN, HISTORY = records(40), records(20, 100, "other")


def numbers(group):
    return {int(record.prompt.split()[-1]) for record in group}


@pytest.mark.parametrize(("share", "held_out"), [(0.0, 0), (0.001, 1), (0.1, 4), (0.5, 20)])
def test_a_share_of_the_prompts_is_held_out(share, held_out):
    split = split_records(OWN, HISTORY, OwnElamConfig(validation=share))
    assert len(split.validation) == held_out and len(split.training) == 40 - held_out
    assert numbers(split.training) | numbers(split.validation) == set(range(40))
    assert split.history == HISTORY


def test_the_seed_decides_who_is_held_out():
    counts = Counter()
    for seed in range(60):
        split = split_records(OWN, HISTORY, OwnElamConfig(validation=0.25, seed=seed))
        assert split == split_records(OWN, HISTORY, OwnElamConfig(validation=0.25, seed=seed))
        counts.update(numbers(split.validation))
    # each of 40 prompts is held out 60 / 4 times on average, with a standard deviation of 3.4
    assert len(counts) == 40 and min(counts.values()) >= 2 and max(counts.values()) <= 30


def test_one_prompt_in_several_records_is_on_one_side_and_in_no_history():
    again = tuple(
        Record(
            id=f"again {r.id}", application="games", prompt=f"  {r.prompt.upper()}", preference=r.preference
        )
        for r in OWN
    )
    split = split_records(OWN + again, OWN + HISTORY, OwnElamConfig(validation=0.25))
    assert len(split.validation) == 20 and len(split.training) == 60
    assert not numbers(split.training) & numbers(split.validation)
    assert not numbers(split.history) & numbers(split.validation)
    assert numbers(split.history) == numbers(split.training) | numbers(HISTORY)


@pytest.mark.parametrize(
    ("own", "history", "message"),
    [
        (
            OWN[: MIN_RECORDS - 1],
            HISTORY,
            "7 records with distinct prompts to train on, must be at least 8 (0",
        ),
        (OWN[:2] * 10, HISTORY, "2 records with distinct prompts to train on"),
        (OWN, HISTORY[:3], "3 records with distinct prompts in the history"),
        (OWN, (), "0 records with distinct prompts in the history"),
    ],
)
def test_too_few_records_are_refused(own, history, message):
    with pytest.raises(CorpusError) as caught:
        split_records(own, history, OwnElamConfig(validation=0.0))
    assert message in str(caught.value)


def test_eight_records_are_enough_and_what_is_held_out_does_not_count():
    assert len(split_records(OWN[:8], HISTORY[:8], OwnElamConfig(validation=0.0)).training) == 8
    with pytest.raises(CorpusError, match=r"at least 8 \(1 are held out\)"):
        split_records(OWN[:8], HISTORY, OwnElamConfig())


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_that_makes_no_sense_is_refused(share):
    with pytest.raises(ValueError, match="validation"):
        OwnElamConfig(validation=share)


def test_the_records_of_one_application():
    mixed = OWN + HISTORY
    assert records_of(OWN, None, "it") == records_of(mixed, "games", "it") == OWN
    for given, name, message in [
        ((), None, "it: no records"),
        (mixed, None, "it: several applications, name one of games, other"),
        (mixed, "chess", "it: no records of application 'chess'; there are games, other"),
    ]:
        with pytest.raises(CorpusError) as caught:
            records_of(given, name, "it")
        assert str(caught.value) == message


class MadeUpEncoder(SentenceEncoder):
    """Levels that tell the prompt's number, and a note of what was encoded."""

    def __init__(self):
        self.encoded = []

    def levels(self, prompts, progress=None):
        self.encoded += prompts
        rows = [np.random.default_rng(int(p.split()[-1])).normal(size=(4, 384)) for p in prompts]
        return np.stack(rows).astype(np.float32)


def test_what_is_held_out_trains_nothing_and_nothing_else_is_left_out():
    split = split_records(OWN, OWN + HISTORY, OwnElamConfig(validation=0.25))
    encoder, seen = MadeUpEncoder(), []

    def train(log_probs, key, reference, frozen, data, config, begin=None):
        seen.append(data)
        return reference, Metrics(*[jnp.zeros(1)] * 3)

    own = distil_own(encoder, split, OwnElamConfig(elam="small", decoder_only=True), train)
    assert not {r.prompt for r in split.validation} & set(encoder.encoded)
    expected = [whole_percents(np.array([r.preference for r in group])) for group in split[::-2]]
    pretraining, distilling = seen
    np.testing.assert_array_equal(pretraining.chosen, expected[0])
    np.testing.assert_array_equal(distilling.chosen, expected[1])
    known = set(map(tuple, expected[0].tolist()))
    assert {tuple(answer) for answer in np.asarray(distilling.rejected).reshape(-1, 4).tolist()} <= known
    mean = np.mean([r.preference for r in split.training], axis=0)
    np.testing.assert_allclose(own.distilled.mean_preference, mean, rtol=1e-6)
    assert (own.distilled.application, own.distilled.name) == ("games", "small")


def test_errors_are_those_of_the_answers_on_what_is_held_out(monkeypatch):
    split = split_records(OWN, HISTORY, OwnElamConfig(validation=0.1))
    raw, distilled = constant_elam("small", [25] * 4), constant_elam("small", [40, 30, 20, 10])
    fallback = (0.1, 0.2, 0.3, 0.4)

    def answer(elam, prompts):
        assert prompts == [record.prompt for record in split.validation]
        last = {id(raw): "25 25 25 25", id(distilled): "what?"}[id(elam.distilled)]
        first = "25 25 25 25" if elam.distilled is raw else "40 30 20 10"
        return [read_answer(text, fallback) for text in [first] * 3 + [last]]

    monkeypatch.setattr(own_elam, "translate", answer)
    errors = own_elam.validation_errors(MadeUpEncoder(), own_elam.OwnElam(raw, distilled), split)
    assert list(errors) == ["mean vector", "raw", "distilled"]
    actual = np.array([record.preference for record in split.validation])
    mean = np.mean([record.preference for record in split.training], axis=0)
    read = np.array([[0.4, 0.3, 0.2, 0.1]] * 3 + [fallback])
    for (name, error), predicted in zip(errors.items(), [mean, 0.25, read], strict=True):
        difference = predicted - actual
        assert error.mse == pytest.approx((difference**2).mean(), rel=1e-6)
        assert error.mae == pytest.approx(abs(difference).mean(), rel=1e-6)
        np.testing.assert_allclose(error.factor_mae, abs(difference).mean(axis=0), rtol=1e-6)
        assert error.failure_rate == (0.25 if name == "distilled" else 0.0)
