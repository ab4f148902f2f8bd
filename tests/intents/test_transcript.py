"""Transcripts that are being recorded: one owner, whole lines, nothing lost in a crash."""

import errno
import json
import os
import sys
from pathlib import Path

import pytest
from reference.intents_cases import exchange, write_lines

from lameta_jax.intents.requests import Message, Request
from lameta_jax.intents.teacher import LiveTeacher, RecordedTeacher, Reply, Usage
from lameta_jax.intents.transcript import Exchange, TeacherError, Transcript, read_exchanges


def request(name, text="", **details):
    messages = (Message("system", "be brief"), Message("user", text or name))
    return Request(id=name, kind="cot", application="qa", messages=messages, details=details)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "transcript.jsonl"


@pytest.fixture
def opened(path):
    transcript = Transcript(path)
    yield transcript
    transcript.close()


class Parrot(LiveTeacher):
    """Repeats what it is asked."""

    def __init__(self, path, model="parrot"):
        super().__init__(path, {"model": model})
        self.asked = []

    def _reply(self, request):
        self.asked.append(request.id)
        self._count(requests=1)
        return Reply(request.messages[-1].content.upper(), prompt_tokens=2, completion_tokens=1)


def test_what_is_written_is_read_back(opened, path):
    odd = Exchange(
        request("b", "na\u00efve \u2028 \ud83d \x00 {x}", count=3, id="not this"), 'a "b"\n\ud800\r'
    )
    for item in [Exchange(request("a"), "first"), odd]:
        opened.append(item)
    assert list(read_exchanges(path)) == opened.exchanges() == [Exchange(request("a"), "first"), odd]
    assert [item.request.details for item in read_exchanges(path)] == [{}, {"count": 3}]
    assert json.loads(path.read_text().split("\n")[0]) == {
        "id": "a",
        "kind": "cot",
        "application": "qa",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a"}],
        "response": "first",
    }


def test_every_exchange_is_on_the_disk_before_it_is_handed_on(opened, path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(path.read_bytes().count(b"\n")))
    opened.append(Exchange(request("a"), "x"))
    opened.append(Exchange(request("b"), "x"))
    assert synced == [1, 2]


def test_only_the_same_request_is_found(opened):
    opened.append(Exchange(request("a", "text"), "answer"))
    assert opened.find(request("a", "text", count=9)) == "answer"
    assert opened.find(request("a", "other text")) is None
    assert opened.find(request("b", "text")) is None


def test_a_transcript_has_one_owner(opened, path):
    with pytest.raises(TeacherError) as refusal:
        Transcript(path)
    assert str(refusal.value) == f"{path}: another process is recording into this transcript"
    opened.close()
    Transcript(path).close()
    opened.close()  # twice is no error


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_last_line_that_was_cut_short_is_set_aside(kept, path):
    with Transcript(path) as first:
        first.append(Exchange(request("a"), "x"))
        whole = path.read_bytes()
        first.append(Exchange(request("b"), "y"))
    torn = path.read_bytes()[len(whole) : -1][:kept]
    path.write_bytes(whole + torn)
    with Transcript(path) as again:
        assert again.num_torn == 1
        assert path.read_bytes() == whole
        assert Path(f"{path}.torn").read_bytes() == torn + b"\n"
        again.append(Exchange(request("b"), "z"))
    assert [item.response for item in read_exchanges(path)] == ["x", "z"]
    with path.open("ab") as file:
        file.write(b"\xff\x00")
    with Transcript(path) as third:
        assert third.num_torn == 1
    assert Path(f"{path}.torn").read_bytes() == torn + b"\n\xff\x00\n"


def test_a_last_line_without_its_end_is_an_exchange(path):
    with Transcript(path) as first:
        first.append(Exchange(request("a"), "x"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with Transcript(path) as again:
        assert (again.num_torn, again.find(request("a"))) == (0, "x")
    assert path.read_bytes() == whole
    assert not Path(f"{path}.torn").exists()


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_whole_lines(fault, opened, path, monkeypatch):
    opened.append(Exchange(request("a"), "x"))
    before, write, parts = path.read_bytes(), os.write, []

    def full(file, data):
        parts.append(data)
        if len(parts) == 2:
            raise fault
        return write(file, data[:10])

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(TeacherError if isinstance(fault, OSError) else KeyboardInterrupt) as refusal:
        opened.append(Exchange(request("b"), "y"))
    if isinstance(fault, OSError):
        assert str(refusal.value) == f"{path}: transcript cannot be written (No space left on device)"
    assert path.read_bytes() == before
    assert opened.find(request("b")) is None
    monkeypatch.undo()
    opened.append(Exchange(request("b"), "y"))
    assert [item.response for item in read_exchanges(path)] == ["x", "y"]


def test_short_writes_are_completed(opened, path, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:7]))
    opened.append(Exchange(request("a"), "x"))
    assert list(read_exchanges(path)) == [Exchange(request("a"), "x")]


def test_a_damaged_line_further_up_is_refused_and_nothing_is_changed(path):
    write_lines(path, exchange("a", "x"), "{half", exchange("b", "y"))
    before = path.read_bytes()
    with pytest.raises(TeacherError, match=r":2: not a recorded exchange: not JSON"):
        Transcript(path)
    assert path.read_bytes() == before
    write_lines(path, exchange("a", "x"))
    Transcript(path).close()  # the refusal kept no lock


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    for place in [tmp_path, tmp_path / "no" / "folder.jsonl", "zero\x00byte.jsonl"]:
        with pytest.raises(TeacherError, match="transcript cannot be written") as refusal:
            Transcript(place)
        assert "\n" not in str(refusal.value)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(TeacherError, match="recording needs file locks"):
        Transcript(tmp_path / "some.jsonl")


def test_a_live_teacher_asks_only_what_its_transcript_lacks(path):
    with Parrot(path) as first:
        assert [first.ask(request(name)) for name in "aba"] == ["A", "B", "A"]
        assert first.ask(request("a", "in other words")) == "IN OTHER WORDS"
        assert (first.asked, first.usage) == (["a", "b", "a"], Usage(1, 3, 0, 0, 6, 3))
    with Parrot(path) as second:
        assert [second.ask(request(name)) for name in "cba"] == ["C", "B", "A"]
        assert (second.asked, second.usage) == (["c"], Usage(2, 1, 0, 0, 2, 1))
    replayed = RecordedTeacher(path)
    assert [replayed.ask(request(name)) for name in "abc"] == ["A", "B", "C"]
    assert replayed.ask(request("a", "in other words")) == "IN OTHER WORDS"


def test_a_closed_teacher_asks_nothing(path):
    with Parrot(path) as teacher:
        teacher.ask(request("a"))
    for name in "ab":
        with pytest.raises(TeacherError, match="this transcript is closed"):
            teacher.ask(request(name))
    assert teacher.asked == ["a"]


def test_a_transcript_holds_the_answers_of_one_model(path):
    with Parrot(path) as first:
        first.ask(request("a"))
    with pytest.raises(TeacherError) as refusal:
        Parrot(path, "macaw")
    assert str(refusal.value) == (
        f"{path}: recorded with {{'model': 'parrot'}}, not with {{'model': 'macaw'}}: take another file"
    )
    write_lines(path, exchange("a", "x"))
    with pytest.raises(TeacherError, match="recorded with None, not with"):
        Parrot(path)
    path.unlink()
    Parrot(path).close()  # the refusals kept no lock
