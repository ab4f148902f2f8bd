"""Checkpoints give back what went in; the files that must be refused are tested with those who write them."""

import jax
import jax.numpy as jnp
import numpy as np

from lameta_jax.composition.learner import TrainState
from lameta_jax.scale.checkpoint import packed, read_checkpoint, unpacked, write_checkpoint


def test_a_pytree_with_random_keys_comes_back_to_the_bit(tmp_path):
    state = TrainState(
        params={"layers": {0: jnp.arange(3.0)}},
        opt_state=(jnp.asarray(2), {"a": jnp.ones((2, 2), jnp.bfloat16)}),
        best_params={"layers": {0: jnp.zeros(3)}},
        best_reward=jnp.asarray(-jnp.inf),
        pool=None,
        key=jax.random.key(7),
        num_updates=jnp.asarray(5),
    )
    path = tmp_path / "it.partial"
    assert read_checkpoint(path, {}) is None
    write_checkpoint(path, {}, {"state": packed(state), "list": [{"a": np.arange(2)}]})
    kept = read_checkpoint(path, {})
    restored = unpacked(state, kept["state"])
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    assert jax.random.normal(restored.key, (2,)).tolist() == jax.random.normal(state.key, (2,)).tolist()
    plain = lambda tree: jax.tree.leaves(tree.replace(key=None))
    for old, new in zip(plain(state), plain(restored), strict=True):
        assert old.dtype == new.dtype
        np.testing.assert_array_equal(old, new)
    assert kept["list"][0]["a"].tolist() == [0, 1]
