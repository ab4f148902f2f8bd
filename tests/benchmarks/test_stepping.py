"""The random actions of the stepping benchmark: legal, and about equally likely."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.pages import EXPERIMENTS

DRAWS = 20_000


@pytest.fixture(scope="module")
def stepping():
    pytest.importorskip("gymnasium")
    pytest.importorskip("scipy")
    sys.path.insert(0, str(EXPERIMENTS / "benchmarks"))
    import stepping

    return stepping


@pytest.mark.parametrize(
    ("count", "allowed"),
    [
        (2, [1]),
        (2, [0, 1]),
        (16, [2, 15]),
        (81, [80]),
        (81, [0, 15, 16, 40, 63, 64, 80]),
        (81, list(range(81))),
    ],
)
def test_random_actions_are_legal_and_about_equally_likely(stepping, count, allowed):
    mask = jnp.zeros(count, bool).at[jnp.array(allowed)].set(True)
    words = stepping.scrambled(jnp.arange(DRAWS, dtype=jnp.uint32))
    drawn = np.asarray(jax.jit(jax.vmap(lambda word: stepping.draw_legal(word, mask)))(words))
    counts = np.bincount(drawn, minlength=count)
    assert counts.sum() == counts[allowed].sum() == DRAWS
    share = 1 / len(allowed)
    assert counts[allowed] / DRAWS == pytest.approx(share, abs=6 * (share / DRAWS) ** 0.5)


def test_scrambled_words_look_random(stepping):
    words = np.asarray(stepping.scrambled(jnp.arange(DRAWS, dtype=jnp.uint32)))
    assert len(np.unique(words)) == DRAWS  # both rounds permute the words of 32 bits
    bits = (words[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    deviation = 0.5 / DRAWS**0.5
    assert bits.mean(axis=0) == pytest.approx(0.5, abs=5 * deviation)
    correlation = np.corrcoef(words[:-1].astype(float), words[1:].astype(float))[0, 1]
    assert abs(correlation) < 5 / DRAWS**0.5
