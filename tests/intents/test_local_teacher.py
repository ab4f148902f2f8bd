"""A teacher on this machine: a tiny Qwen2 checkpoint with a chat template, made here."""

import json

import numpy as np
import pytest
from reference.qwen2_cases import write_tokenizer, write_with_transformers

from lameta_jax.intents.local_teacher import LocalConfig, LocalTeacher
from lameta_jax.intents.requests import Message, Request
from lameta_jax.intents.teacher import RecordedTeacher, Teacher
from lameta_jax.intents.transcript import TeacherError, read_exchanges

GREEDY = LocalConfig(max_new_tokens=6)
SAMPLED = LocalConfig(max_new_tokens=6, temperature=1.5, seed=1)
ENDS = {3, 4}  # the checkpoint's own


def request(name):
    messages = (Message("system", "safe"), Message("user", name))
    return Request(id=name, kind="cot", application="qa", messages=messages)


NAMES = ("fast", "cheap now", "7 8", "now")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny-model")
    write_with_transformers(folder)
    write_tokenizer(folder)
    return folder


def answers(folder, path, config, names=NAMES):
    with LocalTeacher(folder, path, config) as teacher:
        return {name: teacher.ask(request(name)) for name in names}


def by_hand(folder, name, num_new):
    """Prompt and greedy continuation, one token after the other without a cache, from files read anew."""
    import torch
    from transformers import Qwen2ForCausalLM

    model = Qwen2ForCausalLM.from_pretrained(folder).eval()
    words = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    ids = [
        words.get(word, words["[UNK]"]) for word in f"<|system|> safe <|user|> {name} <|assistant|>".split()
    ]
    num_prompt = len(ids)
    with torch.no_grad():
        for _ in range(num_new):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] in ENDS:
                break
    new = ids[num_prompt:]
    special = {words[word] for word in ("[PAD]", "[UNK]", "<end>")}
    said = " ".join(
        word for token in new if token not in special for word, number in words.items() if number == token
    )
    return said, num_prompt, len(new), "stop" if new[-1] in ENDS else "length"


def test_greedy_answers_are_those_of_the_model(folder, tmp_path, capfd):
    path = tmp_path / "transcript.jsonl"
    said = answers(folder, path, GREEDY)
    assert capfd.readouterr() == ("", "")  # the library is silent
    assert len(set(said.values())) > 1
    for exchange in read_exchanges(path):
        name, details = exchange.request.id, exchange.request.details
        text, num_prompt, num_new, reason = by_hand(folder, name, 6)
        assert exchange.response == said[name] == text
        assert details["usage"] == {"prompt_tokens": num_prompt, "completion_tokens": num_new}
        assert details["finish_reason"] == reason
        assert details["teacher"] == {"model": folder.name, "max_tokens": 6}
    replayed = RecordedTeacher(path)
    assert {name: replayed.ask(request(name)) for name in NAMES} == said
    with LocalTeacher(folder, path, GREEDY) as again:
        assert isinstance(again, Teacher)
        assert again.ask(request("fast")) == said["fast"]
        assert (again.usage.replayed, again.usage.requests) == (1, 0)


def test_sampled_answers_depend_on_the_seed_and_the_request_alone(folder, tmp_path):
    import torch

    first = answers(folder, tmp_path / "first.jsonl", SAMPLED)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    assert answers(folder, tmp_path / "second.jsonl", SAMPLED, NAMES[::-1]) == first
    np.testing.assert_array_equal(torch.random.get_rng_state(), before)  # nobody else's draws are touched
    other = LocalConfig(max_new_tokens=6, temperature=1.5, seed=2)
    assert answers(folder, tmp_path / "third.jsonl", other) != first
    assert answers(folder, tmp_path / "fourth.jsonl", GREEDY) != first
    with pytest.raises(TeacherError, match="take another file"):
        LocalTeacher(folder, tmp_path / "first.jsonl", other)


def test_folders_that_hold_no_language_model_are_refused_in_one_line(folder, tmp_path):
    broken, silent, headless = tmp_path / "broken", tmp_path / "silent", tmp_path / "headless"
    for place in (broken, silent, headless):
        place.mkdir()
        for file in folder.iterdir():
            (place / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    (headless / "config.json").unlink()
    write_tokenizer(silent, chat_template=None)
    for file in silent.glob("*.jinja"):
        file.unlink()
    for place, rule in [
        (broken, "language model cannot be loaded ("),
        (silent, "the tokeniser has no chat template"),
        (headless, "not the folder of a language model"),
        (tmp_path / "missing", "not the folder of a language model"),
    ]:
        with pytest.raises(TeacherError) as refusal:
            LocalTeacher(place, tmp_path / "transcript.jsonl")
        assert str(refusal.value).startswith(f"{place}: {rule}") and "\n" not in str(refusal.value)
    assert not (tmp_path / "transcript.jsonl").exists()


def test_what_a_model_cannot_take_is_refused_and_not_recorded(folder, tmp_path):
    strict = tmp_path / "strict"
    strict.mkdir()
    for file in folder.iterdir():
        (strict / file.name).write_bytes(file.read_bytes())
    write_tokenizer(strict, chat_template="{{ raise_exception('no system\\nmessages') }}")
    with LocalTeacher(strict, tmp_path / "strict.jsonl") as teacher:
        with pytest.raises(TeacherError, match=r"strict: the chat template refuses fast \(no system\)$"):
            teacher.ask(request("fast"))
        assert (teacher.usage.requests, teacher.usage.failures) == (1, 1)
    with LocalTeacher(folder, tmp_path / "long.jsonl", LocalConfig(max_new_tokens=40)) as teacher:
        # 64 positions; the template and the system message take 4 tokens
        with pytest.raises(TeacherError, match="has 64 tokens, and the model takes 64$"):
            teacher.ask(request("now " * 60))
        teacher.ask(request("now " * 58))
    [exchange] = read_exchanges(tmp_path / "long.jsonl")
    usage = exchange.request.details["usage"]
    assert usage["prompt_tokens"] == 62 and usage["completion_tokens"] <= 2
    assert (tmp_path / "strict.jsonl").read_text() == ""


@pytest.mark.parametrize(
    "changes", [{"max_new_tokens": 0}, {"temperature": -0.1}, {"temperature": float("nan")}]
)
def test_bad_settings_are_refused(changes):
    with pytest.raises(ValueError, match=f"^{next(iter(changes))} = "):
        LocalConfig(**changes)
