"""What imperfect readers of intents reach on the shipped scenario, against figures computed independently.

Shares of the intent-aware optimum, averaged over the 40 test users of each application: the plug-in optimum of two
linear probes, and chains that the recorded C-LAM composed without training.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.composition.evaluate import value_chains
from lameta_jax.distillation.probe import ridge_probe
from lameta_jax.elam.sentence_encoder import SentenceEncoder, sentence_embeddings
from lameta_jax.intents.augmentation import synthesise
from lameta_jax.intents.corpus import load_benchmark, load_history, preferences_of, prompts_of
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.zero_shot import compose_zero_shot

APPLICATIONS = ("multimedia", "qa")
ZERO_SHOT = {"multimedia": 0.978, "qa": 0.970}
PROBE = {  # fraction of the optimum, mean squared error of the reading
    ("history", "multimedia"): (0.901, 0.026),
    ("history", "qa"): (0.939, 0.022),
    ("history and C-LAM", "multimedia"): (0.936, 0.020),
    ("history and C-LAM", "qa"): (0.966, 0.017),
}


def mean_fraction(chains, application):
    """Mean over the test users of the QoE of their chains as a share of their optimum; chains of -1 have failed."""
    scenario = load_named("lameta-81")
    users = jnp.asarray(preferences_of(load_benchmark(application).test), dtype=float)
    felt = value_chains(scenario.network, scenario.request, jnp.asarray(chains), users)
    best = optimum(scenario.network, scenario.request, users).qoe[:, 0]
    return float(jnp.mean(felt / best))


@pytest.mark.parametrize("application", APPLICATIONS)
def test_the_language_model_composes_by_itself(application):
    users = load_benchmark(application).test
    chains = compose_zero_shot(RecordedTeacher(), load_named("lameta-81"), users).agents
    assert mean_fraction(chains, application) == pytest.approx(ZERO_SHOT[application], abs=0.001)


@pytest.mark.slow
@pytest.mark.parametrize("application", APPLICATIONS)
def test_linear_probes_and_an_exact_search(application):
    """Every synthetic sample counts here, as in the independent figures: near duplicates too."""
    benchmark, history = load_benchmark(application), load_history()
    teacher = RecordedTeacher()
    written = synthesise(teacher, teacher.requests("augment", application)).records
    records = [*history, *written, *benchmark.test]
    embeddings = sentence_embeddings(SentenceEncoder().levels(prompts_of(records)))
    actual = preferences_of(benchmark.test)
    scenario = load_named("lameta-81")
    for name, count in (("history", len(history)), ("history and C-LAM", len(history) + len(written))):
        answers = ridge_probe(embeddings[:count], preferences_of(records[:count]), embeddings[-40:])
        read = np.maximum(answers, 0) / np.maximum(answers, 0).sum(axis=1, keepdims=True)
        chains = optimum(scenario.network, scenario.request, jnp.asarray(read, dtype=float)).agents[:, 0]
        fraction, error = PROBE[name, application]
        assert mean_fraction(chains, application) == pytest.approx(fraction, abs=0.001), name
        assert np.square(read - actual).mean() == pytest.approx(error, abs=0.0005), name
