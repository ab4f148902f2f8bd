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

from lameta_jax.distillation.methods import METHODS, DistillationConfig, TrainerConfig
from lameta_jax.distillation.train import PreferenceData, distil, prepare, run, start
from lameta_jax.elam.minilm import DecoderConfig, PercentDecoder
from lameta_jax.functional import functionalize
from lameta_jax.intents.preference import whole_percents

CALLS = []


def policy(params, frozen, features, answers):
    """Every percent has a softmax of its own, linear in the features."""
    CALLS.append(features.shape)
    logits = jax.nn.log_softmax(jnp.einsum("sf,fpk->spk", features, params["weights"]), axis=-1)
    return jnp.take_along_axis(logits[:, None], answers[..., None], axis=-1)[..., 0].sum(axis=-1)


def twin_log_prob(params, features, answer):
    logits = np.einsum("f,fpk->pk", features, params["weights"])
    return sum(logits[p, a] - math.log(np.exp(logits[p]).sum()) for p, a in enumerate(answer))


def weights(seed=0):
    values = np.random.default_rng(seed).normal(0.0, 0.5, (5, 4, 101))
    return {"weights": jnp.asarray(values, dtype=float)}


def problem(seed=0, samples=6, rejected=3):
    generator = np.random.default_rng(seed)
    preferences = random_preferences(seed, samples)
    return PreferenceData(
        inputs=jnp.asarray(generator.normal(size=(samples, 5)), dtype=float),
        preferences=jnp.asarray(preferences, dtype=float),
        chosen=jnp.asarray(whole_percents(preferences)),
        rejected=jnp.asarray(
            whole_percents(random_preferences(seed + 1, samples * rejected)).reshape(samples, rejected, 4)
        ),
    )


DATA = problem()
SHORT = TrainerConfig(num_epochs=20, batch_size=None, learning_rate=0.05, weight_decay=0.0, warmup=0.0)
IOKD = DistillationConfig(beta_base=0.5, beta_slope=1.5, anchor_weight=0.25, trainer=SHORT)
SFT = METHODS["sft"].with_trainer(SHORT)


def trained(method, data=DATA, params=None, seed=0):
    return distil(policy, jax.random.key(seed), params or weights(), None, data, method)


def log_probs(params, data=DATA):
    """Of chosen and rejected answers, by the twin."""
    params = jax.tree.map(lambda value: np.asarray(value, dtype=float), params)
    features = np.asarray(data.inputs, dtype=float)
    chosen = [
        twin_log_prob(params, x, answer) for x, answer in zip(features, np.asarray(data.chosen), strict=True)
    ]
    rejected = [
        [twin_log_prob(params, x, answer) for answer in answers]
        for x, answers in zip(features, np.asarray(data.rejected), strict=True)
    ]
    return np.array(chosen), np.array(rejected)


def test_two_steps_by_hand():
    # One sample, one answer whose log-probability is -p^2 from p = 2: the gradients 4 and 3.6 are clipped to 1, so
    # Adam's direction is 1 in both steps. Step 1: 2 - 0.1 (1 + 0.5 * 2) = 1.8. The cosine halves the rate:
    # 1.8 - 0.05 (1 + 0.5 * 1.8) = 1.705.
    parabola = lambda params, frozen, inputs, answers: -jnp.full(answers.shape[:2], params["p"] ** 2)
    config = replace(SHORT, num_epochs=2, learning_rate=0.1, weight_decay=0.5)
    one = jax.tree.map(lambda value: value[:1], DATA)
    params, metrics = distil(
        parabola, jax.random.key(0), {"p": jnp.asarray(2.0)}, None, one, SFT.with_trainer(config)
    )
    assert float(params["p"]) == pytest.approx(1.705, abs=1e-5)
    assert np.asarray(metrics.loss) == pytest.approx([4.0, 3.24], abs=1e-5)


def test_adapters_learn_at_their_own_rate_after_a_warm_up():
    # Adam's first direction is the gradient's sign, -1 for both. The warm-up of half of four steps starts at rate 0, so
    # that after two steps both have moved by half of their rates.
    linear = lambda params, frozen, inputs, answers: jnp.full(
        answers.shape[:2], params["decoder"] + params["adapters"]["b"]
    )
    config = TrainerConfig(
        num_epochs=4,
        batch_size=None,
        learning_rate=0.5,
        weight_decay=0.0,
        adapter_learning_rate=0.1,
        adapter_weight_decay=0.0,
        warmup=0.5,
        max_gradient_norm=100.0,
    )
    begin = {"decoder": jnp.zeros(()), "adapters": {"b": jnp.zeros(())}}
    problem = prepare(linear, begin, None, DATA, SFT)
    state = start(jax.random.key(0), begin, problem, config)
    state, _ = run(linear, state, problem, config, 1)
    assert float(state.params["decoder"]) == 0.0
    state, _ = run(linear, state, problem, config, 1)
    assert float(state.params["decoder"]) == pytest.approx(0.25, rel=1e-4)
    assert float(state.params["adapters"]["b"]) == pytest.approx(0.05, rel=1e-4)


def test_supervised_fine_tuning_lowers_the_likelihood_loss():
    params, metrics = trained(SFT)
    before, after = -log_probs(weights())[0].mean(), -log_probs(params)[0].mean()
    assert float(metrics.loss[0]) == pytest.approx(before, rel=1e-4)
    assert after < before - 1.0
    assert (np.diff(np.asarray(metrics.loss)) < 0).all()
    assert not np.asarray(metrics.reward_margin).any()


def test_distillation_starts_at_log_2_and_the_anchor():
    _, metrics = trained(IOKD)
    anchor = -log_probs(weights())[0].mean()
    assert float(metrics.loss[0]) == pytest.approx(math.log(2.0) + 0.25 * anchor, rel=1e-5)
    assert float(metrics.reward_margin[0]) == pytest.approx(0.0, abs=1e-6)
    assert float(metrics.reward_accuracy[0]) == 0.0  # nothing is above the reference yet


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_second_loss_is_that_of_the_twin(smoothing):
    # The cosine starts at the full rate whatever the number of steps, so one step gives the parameters of the second.
    config = lambda steps: replace(IOKD, trainer=replace(SHORT, num_epochs=steps), label_smoothing=smoothing)
    params, _ = trained(config(1))
    _, metrics = trained(config(2))
    preferences = np.asarray(DATA.preferences, dtype=float)
    beta = twin.weighted_beta(preferences, 0.5, 1.5)
    chosen, rejected = log_probs(params)
    reference_chosen, reference_rejected = log_probs(weights())
    expected = twin.dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta, smoothing)
    assert float(metrics.loss[1]) == pytest.approx(expected - 0.25 * chosen.mean(), rel=1e-4)
    margin = (chosen - reference_chosen)[:, None] - (rejected - reference_rejected)
    assert float(metrics.reward_margin[1]) == pytest.approx(
        (np.array(beta)[:, None] * margin).mean(), rel=1e-3
    )
    assert float(metrics.reward_accuracy[1]) == pytest.approx((margin > 0).mean(), abs=1e-6)


def test_distillation_prefers_the_chosen_answers():
    params, metrics = trained(IOKD)
    (before, rejected_before), (after, rejected_after) = log_probs(weights()), log_probs(params)
    assert ((after - before)[:, None] > rejected_after - rejected_before).all()
    assert float(metrics.reward_margin[-1]) > 0.5
    assert float(metrics.reward_accuracy[-1]) == 1.0
    assert float(metrics.loss[-1]) < float(metrics.loss[0])


def test_the_anchor_keeps_the_likelihood_of_the_chosen_answers():
    anchored, _ = trained(IOKD)
    without, _ = trained(replace(IOKD, anchor_weight=0.0))
    assert log_probs(anchored)[0].mean() > log_probs(without)[0].mean()


def test_without_slope_iokd_is_dpo():
    plain = replace(METHODS["dpo"].with_trainer(SHORT), beta_base=0.5)
    first, _ = trained(plain)
    second, _ = trained(replace(IOKD, beta_slope=0.0, anchor_weight=0.0))
    assert np.array_equal(first["weights"], second["weights"])
    third, _ = trained(replace(IOKD, anchor_weight=0.0))
    assert not np.array_equal(first["weights"], third["weights"])


def test_the_reference_is_not_changed_and_equal_calls_give_equal_bits():
    reference = weights()
    kept = np.array(reference["weights"])
    first, metrics = trained(IOKD, params=reference)
    assert np.array_equal(reference["weights"], kept)
    assert not np.array_equal(first["weights"], kept)
    second, again = trained(IOKD, params=reference)
    assert np.array_equal(first["weights"], second["weights"])
    assert np.array_equal(metrics.loss, again.loss)


def test_epochs_in_batches_can_be_cut_anywhere_and_use_every_sample():
    config = replace(SHORT, num_epochs=3, batch_size=2)
    method = IOKD.with_trainer(config)
    whole, metrics = trained(method)
    assert metrics.loss.shape == (3 * 3,)  # 6 samples in batches of 2
    problem = prepare(policy, weights(), None, DATA, method)
    state = start(jax.random.key(0), weights(), problem, config)
    for _ in range(3):
        state, _ = run(policy, state, problem, config, 1)
    assert np.array_equal(state.params["weights"], whole["weights"])
    other, _ = trained(method, seed=1)
    assert not np.array_equal(other["weights"], whole["weights"])  # another order
    # A model that counts: the gradient of sample i's log-probability is in place i alone.
    count = lambda params, frozen, inputs, answers: (
        (inputs @ params["seen"])[:, None] * jnp.ones(answers.shape[:2])
    )
    plain = replace(config, num_epochs=1, weight_decay=0.0)
    data = DATA._replace(inputs=jnp.eye(6))
    seen, _ = distil(count, jax.random.key(0), {"seen": jnp.zeros(6)}, None, data, SFT.with_trainer(plain))
    assert (np.asarray(seen["seen"]) > 0).all()


def test_equal_shapes_are_traced_once():
    methods = (
        IOKD,
        SFT,
        replace(IOKD, beta_base=0.3, anchor_weight=0.7, label_smoothing=0.2, beta_slope=0.0),
    )
    for method in methods[:2]:
        trained(method)
    traced = len(CALLS)
    for method in methods:
        trained(method, problem(7), weights(7))
    assert len(CALLS) == traced


def test_a_percent_decoder_learns_eight_prompts_by_heart():
    apply, params = functionalize(
        PercentDecoder(DecoderConfig(num_features=8, hidden_size=32), rngs=nnx.Rngs(0))
    )
    decoder = lambda params, frozen, features, answers: apply(
        params, features[:, None], answers, method="log_prob"
    )
    preferences = random_preferences(3, 8, concentration=2.0)
    features, answers = jnp.eye(8), jnp.asarray(whole_percents(preferences))
    config = replace(SHORT, num_epochs=2000, learning_rate=0.03)
    data = PreferenceData(features, jnp.asarray(preferences, dtype=float), answers, answers[:, None][:, :0])
    params, _ = distil(decoder, jax.random.key(0), params, None, data, SFT.with_trainer(config))
    said = np.asarray(jax.jit(partial(apply, method="generate"))(params, features))
    assert np.square((said - np.asarray(answers)) / 100).mean() < 5e-5  # half a percent


@pytest.mark.parametrize("slope", [-0.1, 2.0, 5.0, float("nan")])
def test_a_slope_that_turns_temperatures_negative_is_refused(slope):
    with pytest.raises(ValueError, match="must lie in \\[0, 2\\)"):
        DistillationConfig(beta_slope=slope)


@pytest.mark.parametrize("smoothing", [-0.1, 0.5, float("nan")])
def test_a_smoothing_that_turns_pairs_round_is_refused(smoothing):
    with pytest.raises(ValueError, match="must lie in \\[0, 1/2\\)"):
        DistillationConfig(label_smoothing=smoothing)
