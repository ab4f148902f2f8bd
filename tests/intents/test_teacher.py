"""The recorded teacher: replays what was asked in the same words, and says what it lacks."""

import json
from dataclasses import replace

import pytest
from reference.intents_cases import exchange, without, write_lines

from lameta_jax.intents.corpus import BENCHMARKS, load_benchmark, load_history
from lameta_jax.intents.requests import (
    Message,
    Request,
    augmentation_request,
    explanation_request,
    translation_request,
)
from lameta_jax.intents.teacher import RecordedTeacher, Teacher
from lameta_jax.intents.transcript import TeacherError

GOOD = exchange("augment-qa-00", "answer")


def request(name, *contents, kind="augment", application="qa"):
    messages = tuple(Message("user", content) for content in contents or (name,))
    return Request(id=name, kind=kind, application=application, messages=messages)


def test_the_shipped_transcript():
    # its README: reasoning for 600 history records and 20 demonstrations, 40 requests for new pairs,
    # translations and chains of 80 test prompts
    teacher = RecordedTeacher()
    assert isinstance(teacher, Teacher)
    for application in ("multimedia", "qa"):
        assert len(teacher.requests("cot", application)) == 75 + 10
        assert len(teacher.requests("augment", application)) == 20
        assert len(teacher.requests("translate", application)) == 40
        assert len(teacher.requests("compose", application)) == 40
    assert len(teacher.requests("cot", "medical")) == 75
    assert teacher.requests("augment", "medical") == ()
    assert teacher.recorded("translate-mm-b011").response == "75 12 5 8"


def test_the_shipped_reasons_and_translations_are_asked_again_to_the_byte():
    """Nothing of a request is lost: the templates and the corpus give the very messages that were sent."""
    teacher = RecordedTeacher()
    asked = [explanation_request(record) for record in load_history()]
    for name in BENCHMARKS:
        asked += [explanation_request(record) for record in load_benchmark(name).demonstrations]
        asked += [translation_request(record) for record in load_benchmark(name).test]
    assert len(asked) == 620 + 80
    for made in asked:
        assert made == teacher.recorded(made.id).request
        assert teacher.ask(made) == teacher.recorded(made.id).response


def test_reasons_in_the_corpus_are_those_that_the_teacher_gave():
    teacher = RecordedTeacher()
    records = [
        *load_history(),
        *(record for name in BENCHMARKS for record in load_benchmark(name).demonstrations),
    ]
    assert all(teacher.ask(explanation_request(record)) == record.rationale for record in records)


@pytest.mark.parametrize("application", BENCHMARKS)
def test_the_shipped_requests_for_samples_are_made_of_their_details_to_the_byte(application):
    """Only the draw of demonstrations and settings cannot be made again; the transcript says what was drawn."""
    own = load_benchmark(application).demonstrations
    # the transcript shows demonstrations with the first annotator's vector (README of the corpus)
    shown = {record.id: replace(record, preference=record.annotations[0]) for record in own}
    shown |= {record.id: record for record in load_history()}
    recorded = RecordedTeacher().requests("augment", application)
    assert len(recorded) == 20
    for old in recorded:
        demonstrations = [shown[name] for name in old.details["demonstration_ids"]]
        new = augmentation_request(
            old.id, application, demonstrations, old.details["count"], old.details["settings"]
        )
        assert new == old
        assert new.details == old.details


def test_replay_in_order_of_recording(tmp_path):
    path = write_lines(
        tmp_path / "some.jsonl",
        exchange(
            "b", "second", messages=[{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]
        ),
        "",
        exchange("a", "first"),
        exchange("c", "other", application="multimedia"),
        exchange("d", "other", kind="cot"),
    )
    teacher = RecordedTeacher(path)
    assert teacher.requests("augment", "qa") == (request("b", "x", "y"), request("a"))
    assert [teacher.ask(asked) for asked in teacher.requests("augment", "qa")] == ["second", "first"]
    assert teacher.ask(request("c", application="multimedia")) == "other"


def test_the_last_of_several_exchanges_counts(tmp_path):
    other = [{"role": "user", "content": "in other words"}]
    path = write_lines(
        tmp_path / "some.jsonl",
        exchange("a", "old"),
        exchange("b", "x"),
        exchange("a", "other", messages=other),
        exchange("a", "new"),
    )
    teacher = RecordedTeacher(path)
    assert teacher.ask(request("a")) == "new"
    assert teacher.ask(request("a", "in other words")) == "other"  # a transcript may hold several versions
    assert [asked.id for asked in teacher.requests("augment", "qa")] == ["a", "b"]


def test_a_missing_exchange_says_what_to_record(tmp_path):
    teacher = RecordedTeacher(write_lines(tmp_path / "some.jsonl", GOOD))
    with pytest.raises(
        TeacherError,
        match=r"^some\.jsonl has no exchange 'cot-1': record it by running the same with a live teacher .*$",
    ):
        teacher.ask(request("cot-1"))


@pytest.mark.parametrize(
    ("contents", "difference"),
    [
        (("augment-qa-01",), "the user message differs from character 13 on"),
        (("augment-qa-00 and more",), "the user message differs from character 14 on"),
        (("augment-qa-00", "more"), "1 messages were recorded, 2 are asked"),
    ],
)
def test_an_answer_to_other_words_is_no_answer(contents, difference, tmp_path):
    teacher = RecordedTeacher(write_lines(tmp_path / "some.jsonl", GOOD))
    with pytest.raises(TeacherError) as refusal:
        teacher.ask(request("augment-qa-00", *contents))
    message = str(refusal.value)
    assert message.startswith(
        "some.jsonl has exchange 'augment-qa-00' for other messages than those asked now ("
    )
    assert difference in message and "\n" not in message


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (json.dumps(GOOD)[:40], "not JSON"),
        ("\x00\x01", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 5000, "not JSON"),
        ("[]", "expected a JSON object"),
        ("3", "expected a JSON object"),
        (without(GOOD, "id"), "field 'id' must be a string"),
        (without(GOOD, "kind"), "field 'kind' must be a string"),
        (without(GOOD, "application"), "field 'application' must be a string"),
        (without(GOOD, "response"), "field 'response' must be a string"),
        (GOOD | {"response": None}, "field 'response' must be a string"),
        (GOOD | {"response": ["41", "30"]}, "field 'response' must be a string"),
        (GOOD | {"id": {"a": 1}}, "field 'id' must be a string"),
        (without(GOOD, "messages"), "field 'messages' must be a list of messages"),
        (GOOD | {"messages": []}, "field 'messages' must be a list of messages"),
        (GOOD | {"messages": ["text"]}, "field 'messages' must be a list of messages"),
        (GOOD | {"messages": [{"role": "user"}]}, "field 'messages' must be a list of messages"),
        (
            GOOD | {"messages": [{"role": "user", "content": None}]},
            "field 'messages' must be a list of messages",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_damaged_transcript_is_refused_in_one_line(line, rule, tmp_path):
    path = write_lines(tmp_path / "some.jsonl", GOOD, line)
    with pytest.raises(TeacherError) as refusal:
        RecordedTeacher(path)
    assert str(refusal.value).startswith(f"{path}:2: not a recorded exchange: ")
    assert rule in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_transcript_that_cannot_be_read_is_refused_in_one_line(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(json.dumps(GOOD).encode() + b"\xe9\xe9")
    for path in [tmp_path / "missing.jsonl", tmp_path, tmp_path / "latin.jsonl", "zero\x00byte.jsonl"]:
        with pytest.raises(TeacherError, match="transcript cannot be read") as refusal:
            RecordedTeacher(path)
        assert "\n" not in str(refusal.value)
