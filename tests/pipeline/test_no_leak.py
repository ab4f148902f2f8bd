"""No test prompt reaches training, the choice of hyperparameters or the shipped E-LAMs."""

import json

import pytest
from safetensors import safe_open

from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.sentence_encoder import SentenceEncoder, sentence_embeddings
from lameta_jax.elam.shipped import shipped_path
from lameta_jax.intents.augmentation import MAX_SIMILARITY
from lameta_jax.intents.corpus import BENCHMARKS, digest, load_benchmark, load_history, prompts_of
from lameta_jax.intents.similarity import cosine_similarity
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.intents import IntentConfig, prepare_intents

TEST_PROMPTS = [prompt for name in BENCHMARKS for prompt in prompts_of(load_benchmark(name).test)]


@pytest.fixture(scope="module")
def data(encoder):
    return prepare_intents(encoder, RecordedTeacher(), BENCHMARKS, IntentConfig())


@pytest.fixture(scope="module")
def encoder():
    return SentenceEncoder()


def test_the_teacher_was_shown_none():
    teacher = RecordedTeacher()
    for name in BENCHMARKS:
        for kind in ("cot", "augment"):
            for request in teacher.requests(kind, name):
                text = " ".join(message.content for message in request.messages)
                assert not [prompt for prompt in TEST_PROMPTS if prompt in text], request.id


@pytest.mark.slow
def test_none_is_in_the_training_data_nor_anything_like_it(data):
    # the history holds what selects hyperparameters and pre-trains; D_IoKD what distils
    known = [
        *data.history.records,
        *(r for part in data.applications.values() for r in part.training.records),
    ]
    assert not set(TEST_PROMPTS) & set(prompts_of(known))
    test = [part.test.levels for part in data.applications.values()]
    train = [data.history.levels, *(part.training.levels for part in data.applications.values())]
    for one in test:
        for other in train:
            nearest = cosine_similarity(sentence_embeddings(one), sentence_embeddings(other)).max()
            assert nearest < MAX_SIMILARITY


@pytest.mark.slow
@pytest.mark.parametrize("size", ELAM_LAYERS)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_shipped_models_have_seen_exactly_that_data(data, size, name):
    with safe_open(shipped_path(size, name), framework="numpy") as file:
        notes = json.loads(file.metadata()["notes"])
    assert notes["training_sha256"] == digest(data.applications[name].training.records)
    assert notes["history_sha256"] == digest(load_history())
