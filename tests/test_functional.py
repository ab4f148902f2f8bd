"""`functionalize`: a module and its pure function are the same function."""

import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from lameta_jax.functional import functionalize


class Tower(nnx.Module):
    """A list of layers, a norm, and a second method."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(3, 4, rngs=rngs), nnx.Linear(4, 2, rngs=rngs)])
        self.norm = nnx.LayerNorm(2, rngs=rngs)

    def hidden(self, x):
        return jnp.tanh(self.layers[0](x))

    def __call__(self, x, scale=1.0):
        return scale * self.norm(self.layers[1](self.hidden(x)))


@pytest.fixture(scope="module")
def tower():
    return Tower(rngs=nnx.Rngs(0))


INPUTS = jnp.arange(6.0).reshape(2, 3)


def test_apply_equals_the_module(tower):
    apply, params = functionalize(tower)
    chex.assert_trees_all_equal(apply(params, INPUTS, scale=2.0), tower(INPUTS, scale=2.0))
    chex.assert_trees_all_equal(apply(params, INPUTS, method="hidden"), tower.hidden(INPUTS))


def test_params_are_a_plain_dict_with_integer_list_positions(tower):
    _, params = functionalize(tower)
    assert type(params) is dict and type(params["layers"]) is dict
    assert set(params["layers"]) == {0, 1}
    assert jax.tree.map(jnp.shape, params["layers"][0]) == {"kernel": (3, 4), "bias": (4,)}
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(params))


def test_one_trace_for_many_parameters(tower):
    apply, params = functionalize(tower)
    traced = jax.jit(chex.assert_max_traces(apply, n=1))
    for factor in (1.0, 2.0):
        scaled = jax.tree.map(lambda leaf, factor=factor: factor * leaf, params)
        chex.assert_trees_all_close(traced(scaled, INPUTS), apply(scaled, INPUTS), atol=1e-5)


def test_vmap_over_stacked_parameters_equals_a_loop():
    towers = [Tower(rngs=nnx.Rngs(seed)) for seed in range(3)]
    apply, _ = functionalize(towers[0])
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(functionalize(tower)[1] for tower in towers))
    expected = jnp.stack([tower(INPUTS) for tower in towers])
    chex.assert_trees_all_close(jax.vmap(apply, in_axes=(0, None))(stacked, INPUTS), expected, atol=1e-6)


def test_gradients_match_the_closed_form():
    # sum of x W + b over two rows: d/dW[i, j] = sum of column i of x = (0 + 3, 1 + 4, 2 + 5), d/db = 2
    apply, params = functionalize(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
    gradients = jax.grad(lambda p: apply(p, INPUTS).sum())(params)
    expected = {"kernel": jnp.array([[3.0, 3.0], [5.0, 5.0], [7.0, 7.0]]), "bias": jnp.array([2.0, 2.0])}
    chex.assert_trees_all_close(gradients, expected)


def test_the_module_is_left_alone(tower):
    before = tower(INPUTS)
    apply, params = functionalize(tower)
    apply(jax.tree.map(jnp.zeros_like, params), INPUTS)
    chex.assert_trees_all_equal(tower(INPUTS), before)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nnx.Dropout(0.1, rngs=nnx.Rngs(0)), r"Dropout\.rngs\.count is RngCount"),
        (nnx.BatchNorm(2, rngs=nnx.Rngs(0)), r"BatchNorm\.mean is BatchStat"),
    ],
)
def test_other_state_is_refused(module, message):
    with pytest.raises(ValueError, match=message):
        functionalize(module)
