"""The percent decoder against a NumPy twin, and as a distribution over answers."""

from itertools import accumulate

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from reference import elam_twin as twin

from lameta_jax.elam.minilm import DecoderConfig, PercentDecoder
from lameta_jax.functional import functionalize

CONFIG = DecoderConfig(num_features=6, hidden_size=8)
WIDTHS = (CONFIG.min_width, CONFIG.max_width)
APPLY, SHAPES = functionalize(nnx.eval_shape(lambda: PercentDecoder(CONFIG, rngs=nnx.Rngs(0))))
logits = jax.jit(lambda params, features, answer: APPLY(params, features, answer, method="logits"))
log_prob = jax.jit(lambda params, features, answer: APPLY(params, features, answer, method="log_prob"))
generate = jax.jit(lambda params, features: APPLY(params, features, method="generate"))


def drawn(seed):
    """Parameters of all sizes, biases too, features and answers of five prompts."""
    generator = np.random.default_rng(seed)
    params = jax.tree.map(lambda value: generator.normal(0.0, 0.7, value.shape), SHAPES)
    features = generator.normal(size=(5, 6))
    answers = np.stack([generator.multinomial(100, [0.4, 0.3, 0.2, 0.1]) for _ in range(5)])
    answers[-1] = generator.integers(0, 101, size=4)  # one that sums to anything
    return params, features, answers


def arrays(params, features, answers):
    """The same as JAX arrays of the default type."""
    real = lambda value: jnp.asarray(value, dtype=float)
    return jax.tree.map(real, params), real(features), jnp.asarray(answers, dtype=jnp.int32)


@given(st.integers(0, 10_000))
def test_log_probs_are_those_of_the_twin(seed):
    params, features, answers = drawn(seed)
    with jax.enable_x64(True):
        found = np.asarray(log_prob(*arrays(params, features, answers)))
    expected = [twin.log_prob(params, x, answer, WIDTHS) for x, answer in zip(features, answers, strict=True)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert np.asarray(log_prob(*arrays(params, features, answers))) == pytest.approx(
        expected, rel=2e-3, abs=2e-3
    )


@given(st.integers(0, 10_000))
def test_percents_at_each_place_are_a_distribution(seed):
    found = np.asarray(logits(*arrays(*drawn(seed))))
    assert found.shape == (5, 4, 101)
    assert np.exp(found).sum(axis=-1) == pytest.approx(1.0, abs=1e-5)


@given(st.integers(0, 10_000))
def test_an_answer_has_the_sum_of_its_percents(seed):
    params, features, answers = arrays(*drawn(seed))
    found = np.asarray(logits(params, features, answers))
    chosen = np.take_along_axis(found, np.asarray(answers)[..., None], axis=-1)[..., 0]
    assert np.asarray(log_prob(params, features, answers)) == pytest.approx(chosen.sum(axis=-1), rel=1e-5)


@pytest.mark.parametrize("place", range(4))
def test_later_percents_do_not_change_earlier_ones(place):
    params, features, answers = arrays(*drawn(1))
    before = np.asarray(logits(params, features, answers))
    after = np.asarray(logits(params, features, answers.at[:, place].set(100 - answers[:, place])))
    assert np.array_equal(before[:, : place + 1], after[:, : place + 1])
    for later in range(place + 1, 4):
        assert not np.allclose(before[:, later], after[:, later])


@given(st.integers(0, 10_000))
def test_generation_takes_the_likeliest_percent_after_the_likeliest(seed):
    params, features, answers = drawn(seed)
    with jax.enable_x64(True):
        found = np.asarray(generate(*arrays(params, features, answers)[:2]))
    assert found.tolist() == [twin.generate(params, x, WIDTHS) for x in features]
    assert found.min() >= 0
    # a centre never lies beyond what is left, so neither does the nearest whole percent
    assert all(max(accumulate(answer)) <= 100 for answer in found.tolist())


def test_any_batch_shape():
    def both(params, features, answers):
        return log_prob(params, features, answers), generate(params, features)

    with jax.enable_x64(True):
        params, features, answers = arrays(*drawn(2))
        batch, said = log_prob(params, features, answers), generate(params, features)
        assert (batch.shape, said.shape) == ((5,), (5, 4))
        mapped, said_alone = jax.jit(jax.vmap(both, (None, 0, 0)))(params, features, answers)
    assert np.asarray(mapped) == pytest.approx(np.asarray(batch), rel=1e-9)
    assert np.array_equal(said_alone, said)


def test_equal_shapes_compile_once():
    log_prob(*arrays(*drawn(0)))
    compiled = log_prob._cache_size()
    log_prob(*arrays(*drawn(1)))
    assert log_prob._cache_size() == compiled


def test_gradients_are_finite_for_the_unlikeliest_answer():
    params, features, _ = arrays(*drawn(3))
    answers = jnp.broadcast_to(jnp.array([[100, 100, 100, 100]]), (5, 4))
    gradient = jax.jit(jax.grad(lambda params: log_prob(params, features, answers).sum()))(params)
    assert all(bool(jnp.isfinite(value).all()) for value in jax.tree.leaves(gradient))


def test_equal_keys_give_equal_parameters():
    first, second, other = (
        functionalize(PercentDecoder(CONFIG, rngs=nnx.Rngs(seed)))[1] for seed in (0, 0, 1)
    )
    assert jax.tree.all(jax.tree.map(np.array_equal, first, second))
    assert not np.array_equal(first["read"]["kernel"], other["read"]["kernel"])
