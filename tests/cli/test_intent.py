"""`lameta intent` with E-LAMs that answer at once: prompts of any bytes, and streams of them."""

import json

import pytest

from lameta_jax.cli import intent_file
from lameta_jax.cli.intent import readable

FALLBACK = [0.4, 0.3, 0.2, 0.1]


def test_the_output_of_one_prompt(lameta, elams):
    result = lameta("intent", "keep it quick", "--application", "qa", "--json").json
    # 13 characters: the answer is 13 37 30 20
    assert result == {
        "preference": [0.13, 0.37, 0.3, 0.2],
        "answer": "13 37 30 20",
        "failed": False,
        "elam": "large",
        "application": "qa",
    }


def test_the_application_is_found_by_default(lameta, elams):
    assert lameta("intent", "when?", "--json").json["application"] == "qa"
    assert lameta("intent", "a film", "--elam", "small", "--json").json["application"] == "multimedia"
    assert set(elams) == {("large", "qa"), ("small", "multimedia")}


def test_words_need_no_quotes(lameta, elams):
    lameta("intent", "keep", "it", "quick", "--application", "qa", "--json")
    assert elams["large", "qa"].prompts == ["keep it quick"]


@pytest.mark.parametrize("prompt", ["None", "True", "0"])
def test_words_that_look_like_values_are_words(lameta, elams, prompt):
    lameta("intent", prompt, "--application", "qa", "--json")
    assert elams["large", "qa"].prompts == [prompt]


def test_a_prompt_that_looks_like_an_option(lameta, elams):
    lameta("intent", "--application", "qa", "--json", "--", "--fast please")
    assert elams["large", "qa"].prompts == ["--fast please"]
    assert "--fast" in lameta("intent", "--fast please").refusal


@pytest.mark.parametrize(
    ("prompt", "failed"),
    [
        ("", True),
        ("   ", True),
        ("\U0001f600\U0001f680", True),
        ("\x00\x01\x1b[31m\x7f", False),  # 31m is a word
        ("\x01\x02\x7f", True),
        ("a" * 100_000, False),
        ("スピードより品質を優先してください", False),
        ("أريد إجابة سريعة", False),
        ("\udcff\udcfe", True),  # what Python makes of argument bytes that are not UTF-8
        ("fast \udcff please", False),
        ("\u202e\u200b\ufeff", True),
    ],
)
def test_any_prompt_gives_a_preference(lameta, elams, prompt, failed):
    result = lameta("intent", prompt, "--application", "qa", "--json").json
    assert result["failed"] is failed
    assert sum(result["preference"]) == pytest.approx(1)
    assert all(share >= 0 for share in result["preference"])
    assert (result["preference"] == FALLBACK) is failed


@pytest.mark.parametrize("arguments", [(), ("-",)])
def test_a_prompt_from_standard_input(lameta, elams, stdin, arguments):
    stdin(b"caf\xc3\xa9 \xff now\n")
    lameta("intent", *arguments, "--application", "qa", "--json")
    assert elams["large", "qa"].prompts == ["café \ufffd now\n"]


def test_an_endless_prompt_is_refused(lameta, elams, stdin, monkeypatch):
    monkeypatch.setattr("lameta_jax.cli.intent.MAX_PROMPT_BYTES", 10)
    stdin(b"x" * 11)
    assert "at most 10 bytes" in lameta("intent", "-").refusal


def test_surrogates_are_replaced_and_pairs_joined():
    assert readable("a\udcff") == "a\ufffd"
    assert readable("\ud83d\ude00") == "\U0001f600"
    assert readable("fine \U0001f600 é") == "fine \U0001f600 é"


def test_the_output_for_people(lameta, elams):
    run = lameta("intent", "keep it quick", "--application", "qa")
    assert run.code == 0 and run.err == ""
    assert [line.split() for line in run.out.splitlines()] == [
        ["capability", "0.13"],
        ["information", "0.37"],
        ["latency", "0.30"],
        ["outage", "0.20"],
        ["read", "by", "large", "E-LAM", "of", "qa"],
    ]
    assert "failed" in lameta("intent", "", "--application", "multimedia").out


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["x", "--application", "games"], "'games' must be one of auto, multimedia, qa"),
        (["x", "--application", ""], "''"),
        (["x", "--elam", "huge"], "huge"),
        (["x", "--file", "in.jsonl"], "--file"),
        (["x", "--out", "out.jsonl"], "--out needs --file"),
        (["--file", "missing.jsonl"], "missing.jsonl"),
        (["--file", "."], "--file: ."),
    ],
)
def test_bad_input_is_refused_in_one_line(lameta, elams, arguments, named):
    assert named in lameta("intent", *arguments).refusal


def write(path, *lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def results(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_of_prompts(lameta, elams, tmp_path):
    source = write(
        tmp_path / "in.jsonl",
        b'{"id": "a", "prompt": "when?"}',
        b'{"id": 2, "prompt": "a film"}',
        b'{"prompt": "b", "application": "qa"}',
        b'{"id": null, "prompt": "", "application": "multimedia", "extra": 1}',
    )
    run = lameta("intent", "--file", source, "--out", tmp_path / "out.jsonl")
    assert (run.code, run.out) == (0, "")
    assert run.err == "lameta: 4 lines: 1 translations failed, 0 lines could not be used\n"
    written = results((tmp_path / "out.jsonl").read_text())
    assert [(record["id"], record["application"], record["failed"]) for record in written] == [
        ("a", "qa", False),
        (2, "multimedia", False),
        (None, "qa", False),
        (None, "multimedia", True),
    ]
    assert written[0]["preference"] == [0.05, 0.45, 0.3, 0.2]  # 5 characters: 5 45 30 20
    assert list(written[0]) == ["id", "preference", "answer", "failed", "elam", "application"]


def test_without_out_the_lines_go_to_standard_output(lameta, elams, tmp_path):
    source = write(tmp_path / "in.jsonl", b'{"id": 1, "prompt": "a"}')
    run = lameta("intent", "--file", source, "--json")
    assert [record["id"] for record in results(run.out)] == [1]


def test_json_with_out_prints_a_summary(lameta, elams, tmp_path):
    source = write(tmp_path / "in.jsonl", b'{"id": 1, "prompt": "a"}', b"?")
    out = str(tmp_path / "out.jsonl")
    run = lameta("intent", "--file", source, "--out", out, "--json")
    assert run.json == {"lines": 2, "failed": 0, "errors": 1, "out": out}


def test_bad_lines_do_not_stop_the_rest(lameta, elams, tmp_path):
    bad = [
        (b"", None, "not JSON"),
        (b"{", None, "not JSON"),
        (b"[" * 100_000, None, "not JSON"),
        (b"1" * 5000, None, "not JSON"),
        (b"[1]", None, "not a JSON object"),
        (b'{"id": NaN, "prompt": "a"}', None, "NaN"),
        (b'{"id": 1}', 1, "prompt is missing"),
        (b'{"id": 2, "prompt": null}', 2, "prompt is missing"),
        (b'{"id": 3, "prompt": 5}', 3, "prompt must be text"),
        (b'{"id": 4, "prompt": "a", "application": "games"}', 4, '"games" must be one of auto'),
        (b'{"id": 5, "prompt": "a", "application": ["qa"]}', 5, "must be one of auto"),
        (b'{"id": 1e999, "application": "qa"}', None, "prompt is missing"),  # infinite: null
    ]
    good = b'{"id": "good", "prompt": "a"}'
    source = write(tmp_path / "in.jsonl", *(part for line, _, _ in bad for part in (line, good)))
    run = lameta("intent", "--file", source, "--out", tmp_path / "out.jsonl")
    assert run.code == 0
    written = results((tmp_path / "out.jsonl").read_text())
    assert len(written) == 2 * len(bad)
    for record, (_, expected_id, words) in zip(written[::2], bad, strict=True):
        assert list(record) == ["id", "error"]
        assert record["id"] == expected_id
        assert words in record["error"] and "\n" not in record["error"]
    assert all(record["id"] == "good" and not record["failed"] for record in written[1::2])
    assert run.err.count("\n") == len(bad) + 1
    assert run.err.splitlines()[0].startswith(f"lameta: {source}: line 1: not JSON")
    assert f"{len(bad)} lines could not be used" in run.err.splitlines()[-1]


def test_prompts_of_any_bytes_in_a_file(lameta, elams, tmp_path):
    source = write(
        tmp_path / "in.jsonl",
        b'{"id": 1, "prompt": "\xff\xfe fast"}',
        b'{"id": 2, "prompt": "\\ud800 fast"}',
        b'{"id": "\\ud800", "prompt": "\\u0000"}',
        b'{"id": 4, "prompt": "' + b"a" * 100_000 + b'"}\r',
    )
    run = lameta("intent", "--file", source, "--application", "qa")
    assert [record["failed"] for record in results(run.out)] == [False, False, True, False]
    assert elams["large", "qa"].prompts[:2] == ["\ufffd\ufffd fast", "\ufffd fast"]


def test_batches_keep_the_order_and_load_each_elam_once(lameta, elams, tmp_path, monkeypatch):
    monkeypatch.setattr(intent_file, "BATCH_SIZE", 3)
    lines = [json.dumps({"id": i, "prompt": "a" * i + "?" * (i % 2)}).encode() for i in range(10)]
    run = lameta("intent", "--file", write(tmp_path / "in.jsonl", *lines))
    assert [record["id"] for record in results(run.out)] == list(range(10))
    assert [record["application"] for record in results(run.out)] == ["multimedia", "qa"] * 5
    assert len(elams["large", "qa"].prompts) == 5  # one model read them all


def test_a_line_without_end_is_passed_over(lameta, elams, tmp_path, monkeypatch):
    monkeypatch.setattr(intent_file, "MAX_LINE_BYTES", 40)
    source = write(tmp_path / "in.jsonl", b"x" * 41, b'{"id": 1, "prompt": "a"}', b"x" * 500)
    run = lameta("intent", "--file", source)
    first, second, third = results(run.out)
    assert first == third == {"id": None, "error": "longer than 40 bytes"}
    assert second["id"] == 1


def test_an_empty_file_and_one_without_a_last_line_end(lameta, elams, tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b"")
    assert lameta("intent", "--file", tmp_path / "in.jsonl").out == ""
    (tmp_path / "in.jsonl").write_bytes(b'{"id": 1, "prompt": "a"}')
    assert len(results(lameta("intent", "--file", tmp_path / "in.jsonl").out)) == 1


def test_a_stream_on_standard_input(lameta, elams, stdin):
    stdin(b'{"id": 1, "prompt": "a"}\n')
    run = lameta("intent", "--file", "-")
    assert results(run.out)[0]["id"] == 1


def test_the_file_that_is_read_is_never_written(lameta, elams, tmp_path):
    source = write(tmp_path / "in.jsonl", b'{"id": 1, "prompt": "a"}')
    (tmp_path / "link.jsonl").symlink_to(source)
    for out in (source, tmp_path / "link.jsonl"):
        assert "must not be the file that is read" in lameta("intent", "--file", source, "--out", out).refusal
    assert source.read_bytes() == b'{"id": 1, "prompt": "a"}\n'
    missing = tmp_path / "none" / "out.jsonl"
    assert "--out" in lameta("intent", "--file", source, "--out", missing).refusal
