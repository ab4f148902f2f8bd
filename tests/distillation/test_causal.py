"""Weighted preference distillation of a causal model: pairs as tokens, and what the one trainer makes of them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import distillation_twin as twin
from reference.intents_cases import random_preferences
from reference.qwen2_cases import write_tokenizer

from lameta_jax.distillation.causal import CausalInputs, causal_log_probs, tokenize_pairs
from lameta_jax.distillation.methods import DistillationConfig, TrainerConfig
from lameta_jax.distillation.train import distil, loss_of, prepare, reference_logps
from lameta_jax.elam.chat import ChatTokenizer
from lameta_jax.elam.lora import LoRAConfig, add_lora, merge_adapters, split_adapters
from lameta_jax.elam.qwen2 import new_qwen2
from lameta_jax.elam.qwen2_config import Qwen2Config
from lameta_jax.functional import functionalize

SIZES = Qwen2Config(
    vocabulary_size=40, hidden_size=16, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=24
)
LORA = LoRAConfig(targets=r"layers\..*")
PROMPTS = ["fast now", "safe", "cheap cheap now", "safe now", "fast"]
CHOSEN = ["25 25 25 25", "10 20 1 2", "7 7", "8", "9 9"]
REJECTED = [["1 2", "3"], ["4 5 6", "7 8"], ["25", "26 27"], ["1 1", "2 2"], ["3", "4"]]
PREFERENCES = jnp.asarray(random_preferences(0, 5), float)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return ChatTokenizer(folder)


@pytest.fixture(scope="module")
def data(tokenizer):
    return tokenize_pairs(tokenizer, PROMPTS, CHOSEN, REJECTED, PREFERENCES)


@pytest.fixture(scope="module")
def model():
    """`(apply with adapters, parameters that are trained at their start, base)`."""
    plain = new_qwen2(jax.random.key(0), SIZES)
    base = jax.tree.map(lambda value: 10 * value, functionalize(plain)[1])  # the usual ones are too small
    apply, joined = functionalize(add_lora(jax.random.key(1), plain, LORA))
    return apply, {"adapters": split_adapters(joined)[0]}, base


@pytest.fixture(scope="module")
def logits():
    """Compiled `logits(params, tokens, mask)` of the model without adapters."""
    return jax.jit(functionalize(new_qwen2(jax.random.key(0), SIZES))[0])


def log_prob_of_pairs(logits, params, data, rows=range(5)):
    """Of chosen and rejected answers, `{row: [log-probability]}`, each pair alone in a text of its own."""
    found = {}
    for row in rows:
        prompt = data.inputs.prompts[row][data.inputs.prompt_mask[row]].tolist()
        found[row] = []
        for answer in (data.chosen[row], *data.rejected[row]):
            said = [token for token in answer.tolist() if token >= 0]
            text = [*prompt, *said, *[0] * 12][:12]  # nothing sees what is on its right
            logps = jax.nn.log_softmax(logits(params, jnp.array([text]), jnp.ones((1, 12), bool))[0])
            places = range(len(prompt) - 1, len(prompt) + len(said) - 1)
            found[row].append(sum(float(logps[at, token]) for at, token in zip(places, said, strict=True)))
    return found


def test_pairs_are_tokens(data):
    assert data.inputs.prompts.shape == (5, 32) and data.chosen.shape == (5, 5)
    assert data.rejected.shape == (5, 2, 5)
    assert data.inputs.prompts[0, -4:].tolist() == [2, 6, 9, 4]
    assert data.inputs.prompt_mask.sum(axis=1).tolist() == [4, 3, 5, 4, 3]
    assert data.chosen[0].tolist() == [35, 35, 35, 35, 3]
    assert data.rejected[2, 1].tolist() == [
        36,
        37,
        3,
        -1,
        -1,
    ]  # the second rejected answer to the third prompt
    assert np.array_equal(data.preferences, PREFERENCES)


@pytest.mark.parametrize(
    ("prompts", "chosen", "rejected", "found"),
    [
        (PROMPTS, CHOSEN, [["1", "2"], ["3"], ["4", "5", "6"], ["7", "8"], ["9", "9"]], "[1, 2, 3] to each"),
        (PROMPTS[:4], CHOSEN, REJECTED, "4 prompts, 5 chosen"),
        (PROMPTS, CHOSEN[:4], REJECTED, "5 prompts, 4 chosen"),
        (PROMPTS, CHOSEN, REJECTED[:4], "rejected answers to 4 prompts"),
        (PROMPTS[:4], CHOSEN[:4], REJECTED[:4], "5 preferences"),
        ([], [], [], "0 prompts"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(tokenizer, prompts, chosen, rejected, found):
    with pytest.raises(ValueError, match="equally many rejected answers") as caught:
        tokenize_pairs(tokenizer, prompts, chosen, rejected, PREFERENCES)
    assert found in str(caught.value) and "\n" not in str(caught.value)


def test_without_rejected_answers_there_are_pairs_for_fine_tuning(tokenizer):
    data = tokenize_pairs(tokenizer, PROMPTS, CHOSEN, [[]] * 5, PREFERENCES)
    assert data.rejected.shape == (5, 0, 5)


def test_answers_end_where_the_padding_begins():
    """Token 0 is a word like others; what the model is given in place of padding is a token that it has."""
    given = []

    def apply(params, *tokens, **named):
        given.append((params, *tokens, named))
        return jnp.zeros(tokens[2].shape[:2])

    inputs = CausalInputs(jnp.array([[0, 7]]), jnp.array([[False, True]]))
    answers = jnp.array([[[0, 5, 3], [0, 3, -1]]])
    lora = {"lora_a": jnp.zeros(1), "lora_b": jnp.ones(1)}
    for remember in (False, True):
        log_probs = causal_log_probs(apply, gradient_checkpointing=remember)
        log_probs({"adapters": {"layer": lora}}, {"layer": {"kernel": 1.0}, "norm": 2.0}, inputs, answers)
    params, prompts, prompt_mask, tokens, mask, named = given[0]
    assert params == {"layer": {"base": {"kernel": 1.0}, **lora}, "norm": 2.0}
    assert prompts is inputs.prompts and prompt_mask is inputs.prompt_mask
    assert tokens.tolist() == [[[0, 5, 3], [0, 3, 0]]]
    assert mask.tolist() == [[[True, True, True], [True, True, False]]]
    assert named == {"gradient_checkpointing": False, "method": "answer_log_prob"}
    assert given[1][-1]["gradient_checkpointing"] is True


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2, 5, 64])
def test_reference_log_probabilities_are_those_of_each_pair_alone(model, logits, data, batch_size):
    apply, params, base = model
    answers = jnp.concatenate([data.chosen[:, None], data.rejected], axis=1)
    found = reference_logps(causal_log_probs(apply), params, base, data.inputs, answers, batch_size)
    for row, expected in log_prob_of_pairs(logits, base, data).items():
        assert np.asarray(found[row]) == pytest.approx(expected, abs=1e-3)


def test_at_step_zero_the_loss_is_log_two_and_the_anchor(model, logits, data):
    apply, params, base = model
    log_probs = causal_log_probs(apply)
    config = DistillationConfig(anchor_weight=0.5, label_smoothing=0.2)
    problem = prepare(log_probs, params, base, data, config)
    loss, (margin, _) = jax.jit(loss_of, static_argnums=0)(log_probs, params, *problem)
    alone = log_prob_of_pairs(logits, base, data)
    assert float(margin) == pytest.approx(0.0, abs=1e-4)
    anchor = np.mean([logps[0] for logps in alone.values()])
    assert float(loss) == pytest.approx(np.log(2) - 0.5 * anchor, abs=1e-3)


def test_the_loss_is_the_equation(model, logits, data):
    """LAMeTA eqs. (31), (32) by the twin, on log-probabilities of each pair alone under the merged weights."""
    apply, params, base = model
    log_probs = causal_log_probs(apply)
    config = DistillationConfig(beta_base=0.4, beta_slope=1.5, anchor_weight=0.03, label_smoothing=0.1)
    problem = prepare(log_probs, params, base, data, config)
    bend = lambda value: value + 0.05 * jnp.cos(jnp.arange(value.size)).reshape(value.shape)
    moved = jax.tree.map(bend, params)
    loss, (margin, accuracy) = jax.jit(loss_of, static_argnums=0)(log_probs, moved, *problem)
    merged = merge_adapters(base, moved["adapters"], LORA)
    policy, reference = (
        np.array(list(log_prob_of_pairs(logits, weights, data).values())) for weights in (merged, base)
    )
    beta = twin.weighted_beta(np.asarray(PREFERENCES), 0.4, 1.5)
    expected = twin.dpo_loss(policy[:, 0], policy[:, 1:], reference[:, 0], reference[:, 1:], beta, 0.1)
    assert float(loss) == pytest.approx(expected - 0.03 * policy[:, 0].mean(), rel=1e-3)
    gained = policy - reference
    margins = np.array(beta)[:, None] * (gained[:, :1] - gained[:, 1:])
    assert float(margin) == pytest.approx(margins.mean(), rel=1e-2)
    assert float(accuracy) == pytest.approx((margins > 0).mean())


def test_a_few_steps_prefer_the_chosen_answers_and_leave_the_base_alone(model, data):
    apply, params, base = model
    before = jax.tree.map(np.asarray, (params, base))
    trainer = TrainerConfig(num_epochs=15, batch_size=None, adapter_learning_rate=6e-3, warmup=0.0)
    config = DistillationConfig(trainer=trainer)
    traces = []

    def counted(*arguments, **named):
        traces.append(1)
        return apply(*arguments, **named)

    for repeat in range(2):  # the second training compiles nothing
        trained, metrics = distil(
            causal_log_probs(counted), jax.random.key(repeat), params, base, data, config
        )
        assert len(traces) == 2  # the reference's log-probabilities, and the step
    assert float(metrics.loss[-1]) < 0.5 * float(metrics.loss[0])
    assert float(metrics.reward_accuracy[-1]) == 1.0
    chex.assert_trees_all_equal(before, (params, base))
    chex.assert_trees_all_equal_shapes_and_dtypes(trained, params)
