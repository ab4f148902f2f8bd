"""A causal E-LAM of one's own: what trains, what it learns, and what the file of it says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.causal_cases import causal_records, merged_tensors, write_model
from reference.qwen2_cases import NUMBERS, WORDS, write_tokenizer

from lameta_jax.distillation.causal import PADDING
from lameta_jax.distillation.methods import METHODS
from lameta_jax.distillation.train import Metrics, distil
from lameta_jax.elam.causal_files import load_causal, save_causal
from lameta_jax.elam.chat import ChatTokenizer
from lameta_jax.elam.lora import LoRAConfig
from lameta_jax.elam.model_files import model_digest
from lameta_jax.elam.qwen2_elam import load_qwen2_elam
from lameta_jax.elam.weights import WeightsError
from lameta_jax.intents.corpus import CorpusError
from lameta_jax.intents.preference import format_percents, whole_percents
from lameta_jax.pipeline.own_causal import (
    CAUSAL_TRAINER,
    INSTRUCTION,
    OwnCausalConfig,
    causal_data,
    distil_causal,
    header_of,
)
from lameta_jax.pipeline.own_elam import split_records

OWN, HISTORY = causal_records("games", 16), causal_records("poems", 12, 100)
LORA = LoRAConfig(rank=4, alpha=8.0, targets=r"layers\..*")
QUICK = replace(CAUSAL_TRAINER, num_epochs=80, batch_size=4, adapter_learning_rate=1e-2)
CONFIG = OwnCausalConfig(method=METHODS["iokd"].with_trainer(QUICK), lora=LORA, validation=0.25, seed=3)
SPLIT = split_records(OWN, OWN + HISTORY, CONFIG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "tiny-qwen")


@pytest.fixture(scope="module")
def trained(folder):
    """What distillation made, and how it went."""
    seen = []

    def train(*arguments):
        params, metrics = distil(*arguments)
        seen.append(metrics)
        return params, metrics

    return distil_causal(folder, SPLIT, CONFIG, train), *seen


def answers_of(records):
    return [format_percents(whole_percents(np.array(record.preference))) for record in records]


def log_probs(elam, records):
    return elam.log_prob([record.prompt for record in records], answers_of(records))


def test_adapters_learn_and_the_model_stays_as_it_is(trained, folder):
    own, metrics = trained
    assert metrics.loss.shape == (80 * 3,)  # 12 records, 4 at a time
    assert float(metrics.loss[-3:].mean()) < 0.2 * float(metrics.loss[:3].mean())
    assert float(metrics.reward_accuracy[-3:].mean()) == 1.0
    gained = log_probs(own.distilled, OWN) - log_probs(own.raw, OWN)
    assert all(gained[place] > 3 for place, record in enumerate(OWN) if record in SPLIT.training)
    answers = {record.prompt: answer for record, answer in zip(OWN, answers_of(OWN), strict=True)}
    prompts = [record.prompt for record in SPLIT.training]
    right = [answer == answers[p] for p, answer in zip(prompts, own.distilled.answer(prompts), strict=True)]
    assert sum(right) >= 10 and not set(own.raw.answer(prompts)) & set(answers.values())
    plain = load_qwen2_elam(folder, (0.25,) * 4, instruction=INSTRUCTION)
    jax.tree.map(np.testing.assert_array_equal, own.raw.params, plain.params)
    assert (own.raw.name, own.raw.application) == (own.distilled.name, own.distilled.application)
    assert (own.raw.name, own.raw.application) == ("tiny-qwen", "games")
    mean = np.mean([record.preference for record in SPLIT.training], axis=0)
    np.testing.assert_allclose(own.distilled.mean_preference, mean, rtol=1e-6)


def test_the_file_answers_as_the_checkpoint_with_the_adapters_in_its_weights(trained, folder, tmp_path):
    """Against a folder whose tensors were added up in NumPy."""
    own, _ = trained
    file, prompts = tmp_path / "own.safetensors", [record.prompt for record in OWN + HISTORY]
    save_causal(file, own.adapters, LORA, header_of(own, str(folder), model_digest(folder)), {"seed": "3"})
    found = load_causal(file)
    merged = write_model(tmp_path / "merged", merged_tensors(own.adapters, scale=2.0))
    expected = load_qwen2_elam(merged, own.raw.mean_preference, instruction=INSTRUCTION)
    logps = log_probs(found, OWN)
    np.testing.assert_allclose(logps, log_probs(expected, OWN), atol=1e-3)
    np.testing.assert_allclose(logps, log_probs(own.distilled, OWN), atol=1e-4)
    assert np.abs(logps - log_probs(own.raw, OWN)).max() > 1
    answers = found.answer(prompts)
    assert answers == expected.answer(prompts) and any(answers)
    np.testing.assert_array_equal(found.mean_preference, own.distilled.mean_preference)
    assert (found.name, found.application) == ("tiny-qwen", "games")


def told(ids):
    """Words of token ids of an answer, up to its end."""
    words = [[*WORDS, *NUMBERS][token] for token in ids if token != PADDING]
    assert words.pop() == "<end>"
    return " ".join(words)


@pytest.mark.parametrize("method", ["iokd", "sft"])
def test_what_is_held_out_trains_nothing_and_nothing_else_is_left_out(folder, method):
    seen = []

    def train(log_probs, key, reference, frozen, data, config, begin=None):
        seen.append((reference, data, config))
        return reference, Metrics(*[jnp.zeros(1)] * 3)

    config = replace(CONFIG, method=METHODS[method].with_trainer(QUICK))
    distil_causal(folder, SPLIT, config, train)
    [(reference, data, used)] = seen
    assert used == config.method and set(reference) == {"adapters"}
    asked = ChatTokenizer(folder, INSTRUCTION).prompt_ids([record.prompt for record in SPLIT.training])
    rows = zip(np.asarray(data.inputs.prompts), np.asarray(data.inputs.prompt_mask), strict=True)
    assert [row[mask].tolist() for row, mask in rows] == asked
    assert not {record.prompt for record in SPLIT.validation} & {record.prompt for record in SPLIT.training}
    assert [told(row) for row in data.chosen.tolist()] == answers_of(SPLIT.training)
    known = set(answers_of(SPLIT.history))
    assert {told(row) for rows in data.rejected.tolist() for row in rows} <= known
    assert data.rejected.shape[:2] == (len(SPLIT.training), 4)


def test_contrastive_answers_are_those_that_are_farthest(folder):
    """In a history with one preference that is unlike all others, it is rejected first."""
    odd = replace(HISTORY[0], preference=(0.05, 0.05, 0.05, 0.85))
    split = SPLIT._replace(history=(*HISTORY[1:], odd))
    data = causal_data(jax.random.key(0), _Words(folder), split, METHODS["iokd"])
    assert _Words.said[-len(split.training) * 5 :][1::5] == ["5 5 5 85"] * len(split.training)
    assert data.preferences.shape == (len(split.training), 4)


class _Words(ChatTokenizer):
    """Keeps the answers that it was asked to tokenise."""

    said: list[str] = []

    def answers(self, answers):
        self.said += answers
        return super().answers(answers)


def test_a_prompt_that_the_model_would_not_answer_is_refused(folder):
    long = replace(SPLIT.training[0], prompt="fast " * 70, id="long one")
    split = SPLIT._replace(training=(*SPLIT.training, long))
    with pytest.raises(CorpusError) as refusal:
        distil_causal(folder, split, CONFIG)
    taken = len(INSTRUCTION.split()) + 70 + 3  # and who speaks: system, user, assistant
    assert str(refusal.value) == (
        f"record 'long one': the prompt takes {taken} tokens with the instruction, must be at most 104"
    )


def test_a_template_without_system_messages_is_refused(tmp_path):
    write_model(tmp_path)
    write_tokenizer(tmp_path, chat_template="{{ raise_exception('no system, please') }}")
    with pytest.raises(WeightsError) as refusal:
        distil_causal(tmp_path, SPLIT, CONFIG)
    assert str(refusal.value) == f"{tmp_path}: the chat template fails (no system, please)"


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_loss(folder):
    """One epoch, whose first loss is before any step; later ones differ by rounding alone."""
    one = CONFIG.method.with_trainer(replace(QUICK, num_epochs=1))
    seen = []

    def train(*arguments):
        params, metrics = distil(*arguments)
        seen.append(metrics.loss)
        return params, metrics

    for remember in (False, True):
        distil_causal(folder, SPLIT, replace(CONFIG, method=one, gradient_checkpointing=remember), train)
    np.testing.assert_allclose(*seen, rtol=1e-4)
