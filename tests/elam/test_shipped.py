"""The E-LAMs that come with the package."""

import numpy as np
import pytest

from lameta_jax.distillation.metrics import translation_error
from lameta_jax.elam import shipped
from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.shipped import (
    answer_shipped,
    load_elam,
    shipped_applications,
    shipped_folder,
    shipped_path,
)
from lameta_jax.elam.weights import WeightsError
from lameta_jax.intents.corpus import load_benchmark, load_history, preferences_of, prompts_of
from lameta_jax.intents.preference import check_preference
from lameta_jax.intents.translator import translate

APPLICATIONS = ("multimedia", "qa")
EVERY = [(name, application) for name in ELAM_LAYERS for application in APPLICATIONS]
# README of the corpus: MSE of ridge regression on frozen embeddings, trained on the history and all synthetic prompts.
# The small model for multimedia beats that probe by a hair on average over seeds (experiments/results), which the one
# seed that is shipped need not do: it is held to the probe that has learned from the history alone.
LINEAR_PROBE = {
    ("large", "multimedia"): 0.020,
    ("large", "qa"): 0.017,
    ("small", "multimedia"): 0.026,
    ("small", "qa"): 0.017,
}


@pytest.fixture(scope="module", autouse=True)
def one_encoder(encoder):
    """The six-layer encoder serves the small models too, which read its first levels: nothing loads twice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "_encoder", lambda num_layers: encoder)
        yield


@pytest.fixture(scope="module")
def translations(one_encoder):
    """What every shipped model makes of its application's 40 test prompts."""
    return {
        (name, application): translate(
            load_elam(name, application), prompts_of(load_benchmark(application).test)
        )
        for name, application in EVERY
    }


def test_one_per_size_and_application_and_nothing_else():
    assert shipped_applications() == APPLICATIONS
    files = {path for path in shipped_folder().iterdir() if not path.name.startswith(".")}
    assert {path for path in files if path.suffix == ".safetensors"} == {shipped_path(*one) for one in EVERY}
    assert sum(path.stat().st_size for path in files) < 5_000_000


@pytest.mark.parametrize(("name", "application"), EVERY)
def test_it_is_what_its_file_name_says(name, application):
    elam = load_elam(name, application)
    assert (elam.name, elam.application) == (name, application)
    assert check_preference(elam.mean_preference.tolist(), application)
    # GUIDELINES: multimedia is about capability, 0.48 of 1, qa about latency, 0.42
    assert elam.mean_preference.argmax() == {"multimedia": 0, "qa": 2}[application]


@pytest.mark.parametrize(("name", "application"), EVERY)
def test_it_reads_test_prompts_better_than_a_linear_probe(name, application, translations):
    found = translations[name, application]
    actual = preferences_of(load_benchmark(application).test)
    predicted = np.array([translation.preference for translation in found])
    failed = [translation.failed for translation in found]
    error = translation_error(predicted, actual, failed)
    assert error.failure_rate <= 0.05
    assert error.mse < LINEAR_PROBE[name, application]
    mean = load_elam(name, application).mean_preference
    assert error.mse < 0.75 * np.square(actual - mean[None]).mean()


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_dominant_factor_is_mostly_found(application, translations):
    actual = preferences_of(load_benchmark(application).test).argmax(axis=1)
    for name in ELAM_LAYERS:
        found = np.array([translation.preference for translation in translations[name, application]])
        assert np.mean(found.argmax(axis=1) == actual) > 0.5


@pytest.mark.parametrize(
    ("application", "urgent", "careful"),
    [
        (
            "multimedia",
            "Quick poster for tonight, rough is fine, I need it in seconds.",
            "Make me the most beautiful oil-painting-style album cover you possibly can, take a week.",
        ),
        (
            "qa",
            "I need the answer in two seconds, hurry.",
            "Explain it like an expert would, in all depth; tomorrow is early enough.",
        ),
    ],
)
def test_what_is_said_outright_is_heard(application, urgent, careful):
    for name in ELAM_LAYERS:
        hurry, care = translate(load_elam(name, application), [urgent, careful])
        assert not hurry.failed
        assert not care.failed
        assert hurry.preference[2] > care.preference[2]
        assert hurry.preference[0] < care.preference[0]


@pytest.mark.parametrize("application", APPLICATIONS)
def test_alone_or_in_company_the_answer_is_the_same(application, translations):
    prompts = prompts_of(load_benchmark(application).test)
    elam = load_elam("large", application)
    assert elam.answer(prompts[3:4]) == [translations["large", application][3].answer]


def nearest(name, prompts):
    return [answer.application for answer, _ in answer_shipped(name, prompts)]


@pytest.mark.parametrize("name", ELAM_LAYERS)
def test_the_nearest_application(name):
    history = [record for record in load_history() if record.application in APPLICATIONS]
    found = nearest(name, prompts_of(history))
    assert np.mean([one == record.application for one, record in zip(found, history, strict=True)]) >= 0.8
    assert set(nearest(name, ["", "🙂", "x" * 100_000])) <= set(APPLICATIONS)


def test_every_answer_comes_with_its_model(translations):
    prompts = prompts_of(load_benchmark("qa").test)[:3]
    for (answer, model), known in zip(
        answer_shipped("small", prompts, ["qa"] * 3), translations["small", "qa"], strict=False
    ):
        assert answer.text == known.answer
        assert (model.name, model.application) == ("small", "qa")


@pytest.mark.parametrize(
    ("name", "application", "message"),
    [
        ("huge", "qa", "no E-LAM 'huge'; there are small, large"),
        ("large", "poetry", "no E-LAM for application 'poetry'; there are multimedia, qa"),
        ("large", "", "no E-LAM for application ''; there are multimedia, qa"),
        ("large", "../qa", "no E-LAM for application '../qa'; there are multimedia, qa"),
    ],
)
def test_what_there_is_not_is_refused(name, application, message):
    with pytest.raises(WeightsError) as refusal:
        load_elam(name, application)
    assert str(refusal.value) == message
