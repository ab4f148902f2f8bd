"""The trainer: steps by hand, what must not change, and a toy problem that it must solve."""

import math
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from reference import distillation_twin as twin
from reference.intents_cases import random_preferences

from lameta_jax.distillation.train import (
    IoKDConfig,
    PreferenceData,
    TrainerConfig,
    distil,
    fit,
    pretrain,
)
from lameta_jax.elam.minilm import DecoderConfig, PercentDecoder
from lameta_jax.functional import functionalize
from lameta_jax.intents.preference import whole_percents

CALLS = []


def log_prob(params, features, answer):
    """A policy whose every percent has a softmax of its own, linear in the features."""
    CALLS.append(features.shape)
    logits = jax.nn.log_softmax(jnp.einsum("...f,fpk->...pk", features, params["weights"]), axis=-1)
    return jnp.take_along_axis(logits, answer[..., None], axis=-1)[..., 0].sum(axis=-1)


def twin_log_prob(params, features, answer):
    logits = np.einsum("f,fpk->pk", features, params["weights"])
    return sum(logits[p, a] - math.log(np.exp(logits[p]).sum()) for p, a in enumerate(answer))


def start(seed=0):
    weights = np.random.default_rng(seed).normal(0.0, 0.5, (5, 4, 101))
    return {"weights": jnp.asarray(weights, dtype=float)}


def problem(seed=0, samples=6, rejected=3):
    generator = np.random.default_rng(seed)
    preferences = random_preferences(seed, samples)
    return PreferenceData(
        features=jnp.asarray(generator.normal(size=(samples, 5)), dtype=float),
        preferences=jnp.asarray(preferences, dtype=float),
        chosen=jnp.asarray(whole_percents(preferences)),
        rejected=jnp.asarray(
            whole_percents(random_preferences(seed + 1, samples * rejected)).reshape(samples, rejected, 4)
        ),
    )


DATA = problem()
SHORT = TrainerConfig(num_steps=20, learning_rate=0.05, weight_decay=0.0)
IOKD = IoKDConfig(beta_base=0.5, beta_slope=1.5, anchor_weight=0.25, trainer=SHORT)


def log_probs(params, data=DATA):
    """Of chosen and rejected answers, by the twin."""
    params = jax.tree.map(lambda value: np.asarray(value, dtype=float), params)
    features = np.asarray(data.features, dtype=float)
    chosen = [
        twin_log_prob(params, x, answer) for x, answer in zip(features, np.asarray(data.chosen), strict=True)
    ]
    rejected = [
        [twin_log_prob(params, x, answer) for answer in answers]
        for x, answers in zip(features, np.asarray(data.rejected), strict=True)
    ]
    return np.array(chosen), np.array(rejected)


def test_two_steps_by_hand():
    # Loss p^2 from p = 2: the gradients 4 and 3.6 are clipped to 1, so Adam's direction is 1 in both steps.
    # Step 1: 2 - 0.1 (1 + 0.5 * 2) = 1.8. The cosine halves the rate: 1.8 - 0.05 (1 + 0.5 * 1.8) = 1.705.
    config = TrainerConfig(num_steps=2, learning_rate=0.1, weight_decay=0.5, max_gradient_norm=1.0)
    params, metrics = fit(lambda p, data: (p**2, data * p), jnp.asarray(2.0), jnp.asarray(3.0), config)
    assert float(params) == pytest.approx(1.705, abs=1e-5)
    assert np.asarray(metrics.loss) == pytest.approx([4.0, 3.24], abs=1e-5)
    assert np.asarray(metrics.reward_margin) == pytest.approx([6.0, 5.4], abs=1e-5)


def test_pretraining_lowers_the_likelihood_loss():
    params, metrics = pretrain(log_prob, start(), DATA.features, DATA.chosen, SHORT)
    before, after = -log_probs(start())[0].mean(), -log_probs(params)[0].mean()
    assert float(metrics.loss[0]) == pytest.approx(before, rel=1e-4)
    assert after < before - 1.0
    assert (np.diff(np.asarray(metrics.loss)) < 0).all()
    assert not np.asarray(metrics.reward_margin).any()


def test_distillation_starts_at_log_2_and_the_anchor():
    _, metrics = distil(log_prob, start(), DATA, IOKD)
    anchor = -log_probs(start())[0].mean()
    assert float(metrics.loss[0]) == pytest.approx(math.log(2.0) + 0.25 * anchor, rel=1e-5)
    assert float(metrics.reward_margin[0]) == pytest.approx(0.0, abs=1e-6)


def test_second_loss_is_that_of_the_twin():
    # The cosine starts at the full rate whatever the number of steps, so one step gives the parameters of the second.
    config = lambda steps: replace(IOKD, trainer=replace(SHORT, num_steps=steps))
    params, _ = distil(log_prob, start(), DATA, config(1))
    _, metrics = distil(log_prob, start(), DATA, config(2))
    preferences = np.asarray(DATA.preferences, dtype=float)
    beta = twin.weighted_beta(preferences, 0.5, 1.5)
    chosen, rejected = log_probs(params)
    reference_chosen, reference_rejected = log_probs(start())
    expected = twin.dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)
    assert float(metrics.loss[1]) == pytest.approx(expected - 0.25 * chosen.mean(), rel=1e-4)
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected).mean(axis=1))
    assert float(metrics.reward_margin[1]) == pytest.approx(margin.mean(), rel=1e-3)


def test_distillation_prefers_the_chosen_answers():
    params, metrics = distil(log_prob, start(), DATA, IOKD)
    (before, rejected_before), (after, rejected_after) = log_probs(start()), log_probs(params)
    assert ((after - before)[:, None] > rejected_after - rejected_before).all()
    assert float(metrics.reward_margin[-1]) > 0.5
    assert float(metrics.loss[-1]) < float(metrics.loss[0])


def test_the_anchor_keeps_the_likelihood_of_the_chosen_answers():
    anchored, _ = distil(log_prob, start(), DATA, IOKD)
    without, _ = distil(log_prob, start(), DATA, replace(IOKD, anchor_weight=0.0))
    assert log_probs(anchored)[0].mean() > log_probs(without)[0].mean()


def test_the_reference_is_not_changed_and_equal_calls_give_equal_bits():
    reference = start()
    kept = np.array(reference["weights"])
    first, metrics = distil(log_prob, reference, DATA, IOKD)
    assert np.array_equal(reference["weights"], kept)
    assert not np.array_equal(first["weights"], kept)
    second, again = distil(log_prob, reference, DATA, IOKD)
    assert np.array_equal(first["weights"], second["weights"])
    assert np.array_equal(metrics.loss, again.loss)


def test_equal_shapes_are_traced_once():
    distil(log_prob, start(), DATA, IOKD)
    pretrain(log_prob, start(), DATA.features, DATA.chosen, SHORT)
    traced = len(CALLS)
    distil(log_prob, start(7), problem(7), IOKD)
    pretrain(log_prob, start(7), problem(7).features, problem(7).chosen, SHORT)
    assert len(CALLS) == traced


def test_a_percent_decoder_learns_eight_prompts_by_heart():
    apply, params = functionalize(
        PercentDecoder(DecoderConfig(num_features=8, hidden_size=32), rngs=nnx.Rngs(0))
    )
    decoder = lambda params, features, answer: apply(params, features, answer, method="log_prob")
    preferences = random_preferences(3, 8, concentration=2.0)
    features, answers = jnp.eye(8), jnp.asarray(whole_percents(preferences))
    config = TrainerConfig(num_steps=2000, learning_rate=0.03, weight_decay=0.0)
    params, _ = pretrain(decoder, params, features, answers, config)
    said = np.asarray(jax.jit(partial(apply, method="generate"))(params, features))
    assert np.square((said - np.asarray(answers)) / 100).mean() < 5e-5  # half a percent


@pytest.mark.parametrize("slope", [-0.1, 2.0, 5.0, float("nan")])
def test_a_slope_that_turns_temperatures_negative_is_refused(slope):
    with pytest.raises(ValueError, match="must lie in \\[0, 2\\)"):
        IoKDConfig(beta_slope=slope)
