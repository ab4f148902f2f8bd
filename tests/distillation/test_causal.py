"""Weighted preference distillation of a causal model: identities of the loss, batches, and what a few steps do."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference.qwen2_cases import write_tokenizer

from lameta_jax.distillation.causal import (
    Batch,
    CausalConfig,
    make_train_step,
    preference_batches,
    preference_loss,
    reference_log_probs,
    tokenize_pairs,
)
from lameta_jax.elam.chat import ChatTokenizer
from lameta_jax.elam.lora import LoRAConfig, add_lora, join_adapters, split_adapters
from lameta_jax.elam.qwen2 import new_qwen2
from lameta_jax.elam.qwen2_config import Qwen2Config
from lameta_jax.functional import functionalize

SIZES = Qwen2Config(
    vocabulary_size=40, hidden_size=16, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=24
)
PROMPTS = ["fast now", "safe", "cheap cheap now", "safe now", "fast"]
CHOSEN = ["25 25 25 25", "10 20 1 2", "7 7", "8", "9 9"]
REJECTED = [["1 2", "3"], ["4 5 6", "7 8"], ["25", "26 27"], ["1 1", "2 2"], ["3", "4"]]
BETA = jnp.array([0.1, 0.2, 0.3, 0.4, 0.5])


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return tokenize_pairs(ChatTokenizer(folder), PROMPTS, CHOSEN, REJECTED, BETA)


@pytest.fixture(scope="module")
def model():
    """`(apply without adapters, apply with adapters, adapters at their start, base)`."""
    plain = new_qwen2(jax.random.key(0), SIZES)
    params = jax.tree.map(lambda value: 10 * value, functionalize(plain)[1])  # the usual ones are too small
    apply, joined = functionalize(add_lora(jax.random.key(1), plain, LoRAConfig(targets=r"layers\..*")))
    compiled = (
        jax.jit(function, static_argnames=("method", "gradient_checkpointing"))
        for function in (functionalize(plain)[0], apply)
    )
    return *compiled, split_adapters(joined)[0], params


@pytest.fixture(scope="module")
def reference(model, pairs):
    return reference_log_probs(model[0], model[3], pairs, 5)


def moved(adapters):
    """Adapters away from their start."""
    return jax.tree.map(
        lambda value: value + 0.05 * jnp.cos(jnp.arange(value.size)).reshape(value.shape), adapters
    )


def test_pairs_are_tokens(pairs):
    assert pairs.prompts.shape == (5, 32) and pairs.answers.shape == (5, 3, 5)
    assert pairs.prompts[0, -4:].tolist() == [2, 6, 9, 4] and int(pairs.prompt_mask[0].sum()) == 4
    assert pairs.answers[0, 0].tolist() == [35, 35, 35, 35, 3]
    assert pairs.answers[2, 2].tolist() == [36, 37, 3, 0, 0]  # the second rejected answer to the third prompt
    assert pairs.answer_mask[2, 2].tolist() == [True, True, True, False, False]


@pytest.mark.slow
def test_reference_log_probabilities_are_those_of_each_pair_alone(model, pairs, reference):
    apply, _, _, base = model
    in_parts = reference_log_probs(apply, base, pairs, 2)
    assert np.asarray(in_parts) == pytest.approx(np.asarray(reference), abs=1e-3)
    for row in range(5):
        prompt = pairs.prompts[row][pairs.prompt_mask[row]]
        for place in range(3) if row in (0, 3) else (1,):
            said = pairs.answers[row, place][pairs.answer_mask[row, place]]
            text = jnp.concatenate([prompt, said])[None]
            text = jnp.pad(text, ((0, 0), (0, 12 - text.shape[1])))  # nothing sees what is on its right
            logps = jax.nn.log_softmax(apply(base, text, jnp.ones_like(text, bool))[0])
            expected = sum(logps[len(prompt) - 1 + i, token] for i, token in enumerate(said.tolist()))
            assert float(reference[row, place]) == pytest.approx(float(expected), abs=1e-3)


def test_at_step_zero_the_loss_is_log_two_and_the_anchor(model, pairs, reference):
    _, apply, adapters, base = model
    batch = Batch(pairs, reference)
    config = CausalConfig(anchor_weight=0.5, label_smoothing=0.2)
    loss, metrics = preference_loss(apply, config, adapters, base, batch)
    assert float(metrics.reward_margin) == pytest.approx(0.0, abs=1e-4)
    assert float(loss) == pytest.approx(np.log(2) - 0.5 * float(reference[:, 0].mean()), abs=1e-4)


def test_the_loss_is_the_equation(model, pairs, reference):
    """LAMeTA eq. (31) in NumPy on log-probabilities of one answer at a time."""
    _, apply, adapters, base = model
    adapters = moved(adapters)
    params = join_adapters(base, adapters)
    single = [
        apply(
            params,
            *pairs[:2],
            pairs.answers[:, i : i + 1],
            pairs.answer_mask[:, i : i + 1],
            method="answer_log_prob",
        )
        for i in range(3)
    ]
    change = np.asarray(jnp.concatenate(single, axis=1) - reference, np.float64)
    margins = np.asarray(BETA)[:, None] * (change[:, :1] - change[:, 1:])
    right, wrong = np.log1p(np.exp(-margins)), np.log1p(np.exp(margins))
    expected = (0.9 * right + 0.1 * wrong).mean() - 0.03 * np.asarray(single[0]).mean()
    loss, metrics = preference_loss(
        apply, CausalConfig(label_smoothing=0.1), adapters, base, Batch(pairs, reference)
    )
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(metrics.loss) == float(loss)
    assert float(metrics.reward_margin) == pytest.approx(margins.mean(), rel=1e-3)
    assert float(metrics.reward_accuracy) == pytest.approx((margins > 0).mean())


def test_a_few_steps_prefer_the_chosen_answers_and_leave_the_base_alone(model, pairs, reference):
    _, apply, adapters, base = model
    before = jax.tree.map(np.asarray, base)
    optimiser = optax.adam(3e-3)
    traces = []

    def counted(*arguments, **named):
        traces.append(1)
        return apply(*arguments, **named)

    step = make_train_step(counted, optimiser, CausalConfig())
    state = optimiser.init(adapters)
    losses, batch = [], Batch(pairs, reference)
    for _ in range(15):
        adapters, state, metrics = step(adapters, base, state, batch)
        losses.append(float(metrics.loss))
    assert len(traces) == 1
    assert losses[-1] < 0.5 * losses[0]
    assert float(metrics.reward_accuracy) == 1.0
    chex.assert_trees_all_equal(before, base)


def test_an_epoch_has_every_sample_at_most_once(pairs, reference):
    batches = list(preference_batches(jax.random.key(0), pairs, reference, 2))
    assert [batch.pairs.prompts.shape for batch in batches] == [(2, 32), (2, 32)]
    drawn = np.concatenate([batch.pairs.beta for batch in batches])
    assert len(set(drawn.tolist())) == 4
    for batch in batches:  # rows stay together
        for row in range(2):
            place = int(jnp.argmin(jnp.abs(BETA - batch.pairs.beta[row])))
            assert np.array_equal(batch.pairs.answers[row], pairs.answers[place])
            assert np.array_equal(batch.reference_logps[row], reference[place])
    other = next(preference_batches(jax.random.key(1), pairs, reference, 4)).pairs.beta
    assert (
        other.tolist() != next(preference_batches(jax.random.key(2), pairs, reference, 4)).pairs.beta.tolist()
    )
    with pytest.raises(ValueError, match="batch_size 6 is more than the 5 samples"):
        next(preference_batches(jax.random.key(0), pairs, reference, 6))
