"""Prompts to features, in whatever order and company they come."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.elam_cases import PROMPTS, SHORT

from lameta_jax.elam.sentence_encoder import (
    BATCH_TOKENS,
    BUCKETS,
    MAX_TOKENS,
    SentenceEncoder,
    Tokens,
    batches,
    on_all_cores,
    sentence_embeddings,
)


@pytest.fixture(scope="module")
def levels(encoder):
    return encoder.levels(PROMPTS)


def test_embeddings_have_length_one(levels):
    assert levels.shape == (len(PROMPTS), 7, 384)
    assert np.linalg.norm(sentence_embeddings(levels), axis=1) == pytest.approx(1.0, abs=1e-6)
    assert not sentence_embeddings(np.zeros((1, 7, 384))).any()


def test_order_and_company_do_not_matter(encoder, levels):
    order = [5, 8, 0, 3, 7, 2]
    assert encoder.levels([PROMPTS[place] for place in order]) == pytest.approx(levels[order], abs=1e-5)
    assert encoder.levels(PROMPTS[:1]) == pytest.approx(levels[:1], abs=1e-5)  # alone, a batch of one
    assert encoder.levels([]).shape == (0, 7, 384)


def test_more_prompts_than_fit_in_a_batch(encoder, levels):
    calls = []
    many = encoder.levels(SHORT[:2] * 20 + PROMPTS[7:9], lambda done, total: calls.append((done, total)))
    assert many[:40] == pytest.approx(np.tile(levels[:2], (20, 1, 1)), abs=1e-5)
    assert many[40:] == pytest.approx(levels[7:9], abs=1e-5)
    # the longest first: the two longer ones with 14 short ones, then 16 and 10 short ones
    assert calls == [(16, 42), (32, 42), (42, 42)]


def test_batches_hold_every_prompt_once_with_little_padding():
    lengths = np.random.default_rng(0).integers(1, MAX_TOKENS + 1, 500)
    seen = []
    for batch in batches([Tokens(tuple(range(1, length + 1)), True) for length in lengths]):
        assert batch.mask.sum(axis=1)[: len(batch.places)].tolist() == lengths[batch.places].tolist()
        assert not batch.mask[len(batch.places) :].any()
        assert batch.tokens.size <= BATCH_TOKENS
        shorter = max((bucket for bucket in BUCKETS if bucket < batch.tokens.shape[1]), default=0)
        assert lengths[batch.places].max() > shorter
        seen += batch.places
    assert sorted(seen) == list(range(500))


def test_on_all_cores_keeps_order_precision_and_errors():
    found = on_all_cores(lambda value: (value, jnp.ones(()).dtype), range(20))
    assert list(found) == [(value, jnp.float32) for value in range(20)]
    with jax.enable_x64(True):
        [(_, dtype)] = on_all_cores(lambda value: (value, jnp.ones(()).dtype), [0])
    assert dtype == jnp.float64
    with pytest.raises(ZeroDivisionError):
        list(on_all_cores(lambda value: 1 / value, [1, 0]))


def test_what_is_not_asked_for_never_begins():
    begun = []

    def work(value):
        begun.append(value)
        time.sleep(0.002)
        return value

    results = on_all_cores(work, range(1000))
    assert next(results) == 0
    results.close()
    assert len(begun) < 1000


def test_lengths_that_were_seen_compile_nothing_anew(encoder, levels):
    compiled = encoder._encode._cache_size()
    encoder.levels(
        ["other words", "of about", "the same lengths, as they say in the trade of making bread rise"]
    )
    assert encoder._encode._cache_size() == compiled


def test_three_layers_are_a_prefix(levels):
    small = SentenceEncoder(num_layers=3)
    assert small.num_levels == 4
    assert small.levels(SHORT) == pytest.approx(levels[: len(SHORT), :4], abs=1e-5)


def test_long_prompts_are_cut(encoder):
    tokens = encoder.tokenize(["word " * 1000, "word " * 2000, "x" * 100_000])
    assert [len(item.ids) for item in tokens[:2]] == [MAX_TOKENS, MAX_TOKENS]
    assert tokens[0].ids == tokens[1].ids
    # [CLS] first, [SEP] last
    assert (tokens[0].ids[0], tokens[0].ids[-1]) == (101, 102)


@pytest.mark.parametrize(
    ("prompt", "readable"),
    [
        ("hello", True),
        ("?", True),
        ("42", True),
        ("שלום", True),
        ("привет", True),
        ("谢", False),
        ("天", True),
        ("hello 🙂", True),
        ("a\x00b", True),
        ("\ud800", True),  # a lone surrogate becomes a question mark
        ("", False),
        (" \t\r\n", False),
        ("\x00\x01\x1b\x7f", False),
        ("\u200b\u200e\u202e", False),
        ("🙂🙃", False),
        ("x" * 1000, False),  # no word is that long
        ("[UNK]", False),
        ("[CLS] [SEP] [PAD] [MASK]", False),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_prompt_is_readable_if_any_word_of_it_is_known(encoder, prompt, readable):
    assert encoder.tokenize([prompt])[0].readable is readable


def test_double_precision():
    with jax.enable_x64(True):
        encoder = SentenceEncoder(num_layers=0)
        assert encoder.levels(["a"]).dtype == np.float64
