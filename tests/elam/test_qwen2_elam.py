"""A Qwen2 model that answers in text: template, batches, log-probabilities, adapters, translation."""

from dataclasses import replace
from operator import add

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.qwen2_cases import NUMBERS, WORDS, config_json, tensors, write_by_hand, write_tokenizer

from lameta_jax.elam.chat import ChatTokenizer, pad
from lameta_jax.elam.lora import LoRAConfig, add_lora, save_adapters, split_adapters
from lameta_jax.elam.qwen2_elam import AnswerConfig, load_qwen2_elam
from lameta_jax.elam.qwen2_weights import load_qwen2
from lameta_jax.elam.weights import WeightsError
from lameta_jax.functional import functionalize
from lameta_jax.intents.translator import translate

MEAN = (0.4, 0.3, 0.2, 0.1)
VOCABULARY = [*WORDS, *NUMBERS]
SHORT = AnswerConfig(batch_size=2, max_new_tokens=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Random weights and a tokeniser."""
    path = tmp_path_factory.mktemp("elam")
    write_by_hand(path, tensors(), config_json())
    write_tokenizer(path)
    return path


@pytest.fixture(scope="module")
def elam(folder):
    return load_qwen2_elam(folder, MEAN, answering=SHORT)


def test_prompts_are_written_in_the_template(folder):
    plain = ChatTokenizer(folder)
    assert plain.prompt_ids(["fast now"]) == [[2, 6, 9, 4]]  # user, fast, now, assistant
    assert ChatTokenizer(folder, "safe").prompt_ids(["fast"]) == [[5, 7, 2, 6, 4]]
    tokens = plain.prompts(["fast now", "\ud800"])
    assert tokens.ids.shape == (2, 32)
    assert tokens.ids[0].tolist() == [0] * 28 + [2, 6, 9, 4]
    assert tokens.ids[1].tolist() == [0] * 29 + [2, 1, 4]  # a lone surrogate is an unknown word
    assert tokens.mask.sum(axis=1).tolist() == [4, 3]


def test_answers_end(folder):
    tokens = ChatTokenizer(folder).answers(["25 25 25 25", "1"])
    assert tokens.ids.tolist() == [[35, 35, 35, 35, 3], [11, 3, 0, 0, 0]]
    assert tokens.mask.tolist() == [[True] * 5, [True, True, False, False, False]]


def greedy(elam, prompts):
    """Tokens said to each prompt, without a cache: the whole text is read again for every token."""
    read = jax.jit(lambda params, ids, mask: elam.apply(params, ids, mask)[:, -1].argmax(axis=-1))
    prompt, said = elam.tokenizer.prompt_ids(prompts), [[] for _ in prompts]
    for _ in range(6):
        texts = pad([*map(add, prompt, said)], 64, left=True)
        for answer, token in zip(said, read(elam.params, *map(jnp.asarray, texts)), strict=True):
            answer += [] if 3 in answer else [int(token)]
    return said


@pytest.mark.slow
def test_answers_are_what_the_model_says(elam):
    prompts = ["fast now", "cheap", "safe safe safe " * 11, "now cheap"]
    calls = []
    answers = elam.answer(prompts, lambda *done: calls.append(done))
    assert calls == [(2, 4), (4, 4)]
    for said, answer in zip(greedy(elam, prompts), answers, strict=True):
        words = [VOCABULARY[token] for token in said]
        assert answer.split() == [word for word in words if word not in ("[PAD]", "[UNK]", "<end>")]
    assert len(set(answers)) > 1
    assert elam.answer([]) == [] and elam.answer(prompts[1:2]) == answers[1:2]


@pytest.mark.slow
def test_the_last_batch_has_the_shape_of_the_others(elam):
    traces = []

    def counted(*arguments, **named):
        traces.append(named["method"])
        return elam.apply(*arguments, **named)

    other = replace(elam, apply=counted)
    first = other.answer(["fast now", "cheap"])
    once = len(traces)
    assert other.answer(["fast now", "cheap", "safe"])[:2] == first
    assert len(traces) == once > 0


def test_a_prompt_that_is_too_long_is_not_answered(elam):
    answers = elam.answer(["cheap", "fast " * 70])  # 64 positions
    assert answers[1] == "" and answers[0] == elam.answer(["cheap"])[0]


@pytest.mark.slow
def test_log_probabilities_of_texts(elam):
    """Against the logits of the whole text, prompt and answer, without padding."""
    prompts, answers = ["fast now", "cheap"], ["25 25", "7 fast 3"]
    found = elam.log_prob(prompts, answers)
    for row, said in enumerate(([35, 35, 3], [17, 6, 13, 3])):
        prompt = elam.tokenizer.prompt_ids(prompts)[row]
        text = jnp.asarray([prompt + said])
        logps = jax.nn.log_softmax(elam.apply(elam.params, text, jnp.ones_like(text, bool))[0], axis=-1)
        expected = sum(logps[len(prompt) - 1 + place, token] for place, token in enumerate(said))
        assert found[row] == pytest.approx(float(expected), abs=1e-4)


def made_to_say(tmp_path, words):
    """A model without attention: after each word it says the next one of the list."""
    values = tensors()
    values = {key: np.zeros_like(x) if ".layers." in key else x for key, x in values.items()}
    chain = [4, *(VOCABULARY.index(word) for word in words), 3]
    values["model.embed_tokens.weight"] = np.random.default_rng(0).normal(0, 1, (40, 16)).astype(np.float32)
    values["model.norm.weight"] = np.ones(16, np.float32)
    head = np.zeros((40, 16), np.float32)
    for before, after in zip(chain, chain[1:], strict=False):
        head[after] += 10 * values["model.embed_tokens.weight"][before]
    write_by_hand(tmp_path, values | {"lm_head.weight": head}, config_json())
    write_tokenizer(tmp_path)
    return load_qwen2_elam(tmp_path, MEAN, answering=SHORT)


def test_a_prompt_is_translated(tmp_path):
    (found,) = translate(made_to_say(tmp_path, ("29", "28", "27", "16")), ["fast now"])
    assert found == ((0.29, 0.28, 0.27, 0.16), "29 28 27 16", False)


@pytest.mark.slow
def test_what_cannot_be_read_is_the_mean(tmp_path):
    (found,) = translate(made_to_say(tmp_path, ("29", "safe")), ["fast now"])
    assert found == (MEAN, "29 safe", True)


@pytest.mark.slow
def test_adapters_are_merged(folder, elam, tmp_path):
    config = LoRAConfig(rank=2, targets=r"layers\.(up|attention\.key)")
    apply, params = functionalize(add_lora(jax.random.key(0), load_qwen2(folder), config))
    adapters, _ = split_adapters(params)
    adapters = jax.tree.map(lambda value: value + 0.3, adapters)
    save_adapters(tmp_path / "adapters.safetensors", adapters, config, {})
    adapted = load_qwen2_elam(folder, MEAN, adapters=tmp_path / "adapters.safetensors")
    tokens = jnp.asarray([[2, 6, 9, 4]])
    mask = jnp.ones_like(tokens, bool)
    expected = apply({**params, "layers": _joined(params["layers"], adapters["layers"])}, tokens, mask)
    found = adapted.apply(adapted.params, tokens, mask)
    assert np.asarray(found) == pytest.approx(np.asarray(expected), abs=1e-4)
    assert np.abs(np.asarray(found - elam.apply(elam.params, tokens, mask))).max() > 0.1


def _joined(params, adapters):
    """The adapters in place of those in the parameters."""
    if "lora_a" in adapters:
        return params | adapters
    return params | {name: _joined(params[name], value) for name, value in adapters.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chat_template": None}, "the tokeniser has no chat template"),
        ({"eos_token": None}, "the tokeniser has no token that ends an answer"),
    ],
)
def test_tokenisers_that_cannot_be_used_are_refused(change, message, tmp_path):
    write_tokenizer(tmp_path, **change)
    with pytest.raises(WeightsError) as refusal:
        ChatTokenizer(tmp_path)
    assert str(refusal.value) == f"{tmp_path}: {message}"


def test_a_folder_without_a_tokeniser_is_refused(tmp_path):
    write_by_hand(tmp_path, tensors(), config_json())
    with pytest.raises(WeightsError) as refusal:
        ChatTokenizer(tmp_path)
    assert str(refusal.value) == f"{tmp_path}: no tokenizer.json"
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(WeightsError) as refusal:
        ChatTokenizer(tmp_path)
    assert str(refusal.value).startswith(f"{tmp_path / 'tokenizer.json'}: ")
    assert "\n" not in str(refusal.value)
