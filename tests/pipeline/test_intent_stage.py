"""Stage 1 end to end on made-up features: what trains on what, and no leak between folds."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from lameta_jax.distillation.methods import DECODER_ALONE, IOKD
from lameta_jax.distillation.probe import ridge_probe
from lameta_jax.elam.sentence_encoder import sentence_embeddings
from lameta_jax.intents.corpus import Record
from lameta_jax.pipeline import distillation
from lameta_jax.pipeline.intents import ApplicationData, IntentConfig, Labelled

SHORT = replace(DECODER_ALONE, num_epochs=3)
QUICK = IntentConfig(pretraining=SHORT, method=replace(IOKD, decoder_trainer=SHORT))
KEY = jax.random.key(1)


def labelled(count, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(4), count)
    records = tuple(
        Record(id=f"{seed}-{index}", application="made-up", prompt="words", preference=tuple(share))
        for index, share in enumerate(shares)
    )
    return Labelled(records, rng.normal(size=(count, 7, 384)).astype(np.float32))


@pytest.fixture(scope="module")
def history():
    return labelled(12, 0)


@pytest.fixture(scope="module")
def application():
    return ApplicationData("made-up", labelled(10, 1), labelled(4, 2), 0, 10, {})


@pytest.fixture(scope="module")
def raw(history):
    return distillation.distil_raw(jax.random.key(0), "small", history, QUICK)


def test_a_raw_model_answers_in_four_percents_for_every_prompt(raw, application):
    predictions = distillation.read_intents(raw, application.test.levels)
    assert predictions.preferences.shape == (4, 4)
    np.testing.assert_allclose(predictions.preferences.sum(axis=1), 1.0, atol=1e-6)


def test_distillation_keeps_the_reference_and_takes_the_mean_of_its_own_data(raw, application, history):
    before = jax.tree.map(np.array, raw.params)
    model, metrics = distillation.distil_decoder(KEY, raw, application, history, QUICK.method)
    jax.tree.map(np.testing.assert_array_equal, before, raw.params)
    np.testing.assert_allclose(
        model.mean_preference, application.training.preferences.mean(axis=0), rtol=1e-6
    )
    assert model.application == "made-up" and metrics.loss.shape == (3,)


def test_cross_translation_never_shows_a_model_the_prompt_it_translates(
    raw, application, history, monkeypatch
):
    trained_on, asked = [], []
    distil, read = distillation.distil_decoder, distillation.read_intents

    def spy_on_training(key, raw, part, *rest):
        trained_on.append({record.id for record in part.training.records})
        return distil(key, raw, part, *rest)

    def spy_on_reading(model, levels):
        rows = [
            int(np.flatnonzero((application.training.levels == row[None]).all(axis=(1, 2)))[0])
            for row in levels
        ]
        asked.append({application.training.records[row].id for row in rows})
        return read(model, levels)

    monkeypatch.setattr(distillation, "distil_decoder", spy_on_training)
    monkeypatch.setattr(distillation, "read_intents", spy_on_reading)
    translated = distillation.cross_translate(KEY, raw, application, history, QUICK.method)
    assert translated.shape == (10, 4)
    np.testing.assert_allclose(translated.sum(axis=1), 1.0, atol=1e-6)
    assert [a & b for a, b in zip(trained_on, asked, strict=True)] == [set(), set()]
    assert asked[0] | asked[1] == {record.id for record in application.training.records}


def test_the_probe_is_ridge_regression(application):
    x = sentence_embeddings(application.training.levels)[:, :3].astype(np.float64)
    y = application.training.preferences
    unseen = sentence_embeddings(application.test.levels)[:, :3].astype(np.float64)
    # the same as least squares on data extended by sqrt(penalty) rows, with an intercept that is not penalised
    augmented = np.block([[x, np.ones((len(x), 1))], [np.sqrt(0.5) * np.eye(3), np.zeros((3, 1))]])
    solution = np.linalg.lstsq(augmented, np.concatenate([y, np.zeros((3, 4))]), rcond=None)[0]
    expected = np.column_stack([unseen, np.ones(len(unseen))]) @ solution
    np.testing.assert_allclose(ridge_probe(x, y, unseen, penalty=0.5), expected, rtol=1e-8)
