"""The BERT encoder, on a small random checkpoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.elam_cases import TINY, bert_tensors
from safetensors.numpy import save_file

from lameta_jax.elam.minilm import EncoderConfig
from lameta_jax.elam.weights import load_encoder
from lameta_jax.functional import functionalize

CONFIG = EncoderConfig(**TINY)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    save_file(bert_tensors(), folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def encode(checkpoint):
    apply, params = functionalize(load_encoder(checkpoint, CONFIG))
    compiled = jax.jit(apply)
    return lambda tokens, mask: np.asarray(compiled(params, jnp.asarray(tokens), jnp.asarray(mask)))


def batch(lengths=(9, 4, 1), width=9, seed=0):
    """Random tokens, with nonsense behind the end of each prompt."""
    tokens = np.random.default_rng(seed).integers(1, 30, size=(len(lengths), width)).astype(np.int32)
    return tokens, np.arange(width)[None] < np.array(lengths)[:, None]


def test_what_stands_behind_the_end_changes_nothing(encode):
    tokens, mask = batch()
    other = np.where(mask, tokens, 29 - tokens)
    assert np.array_equal(encode(other, mask), encode(tokens, mask))


def test_prompts_do_not_meet(encode):
    tokens, mask = batch()
    order = np.array([2, 0, 1])
    assert encode(tokens[order], mask[order]) == pytest.approx(encode(tokens, mask)[order], abs=1e-6)


def test_nothing_but_padding_stays_finite(encode):
    tokens, mask = batch()
    found = encode(tokens, mask & np.array([True, False, True])[:, None])
    assert np.isfinite(found).all()
    assert not found[1].any()


def test_layers_beyond_those_asked_for_are_left_out(checkpoint):
    _, params = functionalize(load_encoder(checkpoint, EncoderConfig(**(TINY | {"num_layers": 1}))))
    assert sorted(params["layers"]) == [0]


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="hidden_size 10 is not a multiple of num_heads 4"):
        EncoderConfig(hidden_size=10, num_heads=4)
