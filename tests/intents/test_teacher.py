"""The recorded teacher: replays, and says what it lacks."""

import json

import pytest
from reference.intents_cases import exchange, without, write_lines

from lameta_jax.intents.teacher import RecordedTeacher, Teacher, TeacherError

GOOD = exchange("augment-qa-00", "answer")


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
    assert teacher.requests("augment", "medical") == []
    assert teacher.ask("translate-mm-b011") == "75 12 5 8"


def test_replay_in_order_of_recording(tmp_path):
    path = write_lines(
        tmp_path / "some.jsonl",
        exchange("b", "second", messages=[{"role": "user", "content": "x"}]),
        "",
        exchange("a", "first"),
        exchange("c", "other", application="multimedia"),
        exchange("d", "other", kind="cot"),
    )
    teacher = RecordedTeacher(path)
    assert teacher.requests("augment", "qa") == ["b", "a"]
    assert [teacher.ask(name) for name in "abcd"] == ["first", "second", "other", "other"]


def test_the_last_of_several_exchanges_counts(tmp_path):
    path = write_lines(
        tmp_path / "some.jsonl", exchange("a", "old"), exchange("b", "x"), exchange("a", "new")
    )
    teacher = RecordedTeacher(path)
    assert teacher.requests("augment", "qa") == ["a", "b"]
    assert teacher.ask("a") == "new"


def test_a_missing_exchange_says_what_to_record(tmp_path):
    teacher = RecordedTeacher(write_lines(tmp_path / "some.jsonl", GOOD))
    with pytest.raises(
        TeacherError, match=r"^some\.jsonl has no exchange 'cot-1': record it with a live teacher$"
    ):
        teacher.ask("cot-1")


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
