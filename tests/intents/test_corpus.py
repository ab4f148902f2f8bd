"""The corpus: what is shipped, and what is refused."""

import hashlib
import json
from collections import Counter

import numpy as np
import pytest
from reference.intents_cases import record, without, write_lines

from lameta_jax.intents.corpus import (
    BENCHMARKS,
    CorpusError,
    corpus_folder,
    load_benchmark,
    load_history,
    preferences_of,
    prompts_of,
    read_records,
)


def everything():
    return [
        *load_history(),
        *(record for name in BENCHMARKS for part in load_benchmark(name) for record in part),
    ]


def test_the_history_has_75_records_of_eight_applications():
    counts = Counter(record.application for record in load_history())
    names = ["multimedia", "qa", "rendering", "report", "medical", "industrial", "coding", "translation"]
    assert counts == dict.fromkeys(names, 75)


@pytest.mark.parametrize("application", BENCHMARKS)
def test_a_benchmark_is_10_demonstrations_and_40_test_records(application):
    demonstrations, test = load_benchmark(application)
    assert (len(demonstrations), len(test)) == (10, 40)
    assert {record.application for record in demonstrations + test} == {application}
    numbers = [int(record.id.rpartition("b")[2]) for record in demonstrations + test]
    assert numbers == list(range(1, 51))
    for labelled in demonstrations + test:
        # annotations and their mean are rounded to two decimals
        assert np.shape(labelled.annotations) == (3, 4)
        assert np.mean(labelled.annotations, axis=0) == pytest.approx(labelled.preference, abs=0.0101)


def test_ids_and_prompts_are_unique_and_preferences_on_the_simplex():
    records = everything()
    assert len({record.id for record in records}) == len({record.prompt for record in records}) == 700
    preferences = preferences_of(records)
    assert preferences.shape == (700, 4)
    assert preferences.min() >= 0
    assert preferences.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    assert {record.style for record in records} == {"explicit", "implicit", "mixed"}
    assert all(record.rationale for record in records)
    assert prompts_of(records[:2]) == [records[0].prompt, records[1].prompt]


def test_the_figures_of_its_readme_for_constant_answers():
    # README: even vector 0.049 / 0.042, the application's mean vector 0.031 / 0.030
    for application, even, mean in [("multimedia", 0.049, 0.031), ("qa", 0.042, 0.030)]:
        demonstrations, test = load_benchmark(application)
        preferences = preferences_of(demonstrations + test)
        assert np.square(preferences - 0.25).mean() == pytest.approx(even, abs=5e-4)
        assert np.square(preferences - preferences.mean(axis=0, keepdims=True)).mean() == pytest.approx(
            mean, abs=5e-4
        )


def test_the_shipped_files_are_the_published_ones(data_dir):
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    published = [path for path in (data_dir / "intents").rglob("*") if path.is_file()]
    assert len(published) >= 6
    for path in published:
        assert digest(path) == digest(corpus_folder() / path.relative_to(data_dir / "intents")), path.name


def test_a_licence_is_shipped():
    assert "CC BY 4.0" in (corpus_folder() / "LICENSE.md").read_text("utf-8")


def test_an_unknown_benchmark_is_refused():
    with pytest.raises(CorpusError, match="no benchmark for application 'poetry'; there are multimedia, qa"):
        load_benchmark("poetry")


def test_records_are_read_in_order(tmp_path):
    bare = {name: record("b")[name] for name in ("id", "application", "prompt")} | {
        "preference": [1, 0, 0, 0]
    }
    path = write_lines(tmp_path / "some.jsonl", record("a"), "", "  ", bare, record("c", more="ignored"))
    first, second, third = read_records(path)
    assert [first.id, second.id, third.id] == ["a", "b", "c"]
    assert first.annotations == ((0.5, 0.3, 0.1, 0.1), (0.4, 0.4, 0.1, 0.1))
    assert (second.style, second.rationale, second.annotations) == ("", "", ())
    assert second.preference == (1.0, 0.0, 0.0, 0.0)


def test_line_separators_inside_a_prompt_do_not_end_the_line(tmp_path):
    # U+2028, U+0085, vertical tab and form feed end a line for str.splitlines, not for JSON Lines
    prompt = "one\u2028two\u0085three"
    path = tmp_path / "some.jsonl"
    path.write_text(json.dumps(record(prompt=prompt), ensure_ascii=False) + "\r\n", "utf-8")
    assert read_records(path)[0].prompt == prompt


def test_an_empty_file_has_no_records(tmp_path):
    assert read_records(write_lines(tmp_path / "none.jsonl")) == ()
    assert preferences_of(()).shape == (0, 4)


BAD_LINES = {
    "not JSON": "{",
    "not JSON: quotes": "{'id': 1}",
    "not JSON: two values": "{} {}",
    "not JSON: deep": "[" * 100_000,
    "not JSON: long number": '{"preference": [' + "9" * 5000 + "]}",
    "not JSON: byte order mark": "\ufeff{}",
    "expected a JSON object": [1, 2],
    "expected a JSON object: null": "null",
    "'id' must be a non-empty string": without(record(), "id"),
    "'id' must be a non-empty string: number": record(id=7),
    "'application' must be a non-empty string": without(record(), "application"),
    "'prompt' must be a non-empty string": record(prompt=""),
    "'prompt' must be a non-empty string: blank": record(prompt=" \n\t "),
    "'prompt' must be a non-empty string: null": record(prompt=None),
    "'prompt' must be a non-empty string: list": record(prompt=["a", "b"]),
    "'style' must be a string": record(style=3),
    "'rationale' must be a string": record(rationale=None),
    "'preference' must hold 4 numbers": without(record(), "preference"),
    "'preference' must hold 4 numbers: text": record(preference="0.5 0.3 0.1 0.1"),
    "'preference' must hold 4 numbers: texts": record(preference=["0.5", "0.3", "0.1", "0.1"]),
    "'preference' must hold 4 numbers: booleans": record(preference=[True, False, False, False]),
    "'preference' must hold 4 numbers: object": record(preference={"C": 1}),
    "a preference has 4 numbers": record(preference=[0.5, 0.5]),
    "a preference has 4 numbers: none": record(preference=[]),
    "a preference has 4 numbers: many": record(preference=[0.2] * 5),
    "must lie between 0 and 1": record(preference=[-0.1, 0.5, 0.3, 0.3]),
    "must lie between 0 and 1: percents": record(preference=[41, 30, 18, 11]),
    "must lie between 0 and 1: NaN": record(preference=[float("nan"), 0.5, 0.3, 0.2]),
    "must lie between 0 and 1: infinite": record(preference=[float("inf"), 0.5, 0.3, 0.2]),
    "must lie between 0 and 1: huge": record(preference=[10**4000, 0, 0, 0]),
    "must sum to 1": record(preference=[0.5, 0.3, 0.1, 0.05]),
    "must sum to 1: more": record(preference=[0.5, 0.3, 0.1, 0.2]),
    "'annotations' must be a list": record(annotations=3),
    "'annotations' must be a list: null": record(annotations=None),
    "'annotations' must hold 4 numbers": record(annotations=[0.5, 0.3, 0.1, 0.1]),
    "must sum to 1: annotation": record(annotations=[[0.5, 0.3, 0.1, 0.5]]),
    "id 'mm-0' stands twice": record("mm-0"),
}


@pytest.mark.parametrize("rule", BAD_LINES)
def test_a_bad_line_is_refused_in_one_line(rule, tmp_path):
    path = write_lines(tmp_path / "some.jsonl", record("mm-0"), "", BAD_LINES[rule], record("mm-2"))
    with pytest.raises(CorpusError) as refusal:
        read_records(path)
    message = str(refusal.value)
    assert message.startswith(f"{path}:3: ")
    assert rule.partition(":")[0] in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 250


def test_a_file_that_cannot_be_read_is_refused_in_one_line(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "caf\xe9"}')
    for path in [tmp_path / "missing.jsonl", tmp_path, tmp_path / "latin.jsonl", "zero\x00byte.jsonl"]:
        with pytest.raises(CorpusError, match="cannot be read") as refusal:
            read_records(path)
        assert "\n" not in str(refusal.value)
