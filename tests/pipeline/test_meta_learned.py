"""Meta-learned initialisations on families of problems whose best initialisations are known in closed form."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import elam_twin

from lameta_jax.composition.learner import Trainer, TrainState
from lameta_jax.elam.minilm import DecoderConfig
from lameta_jax.elam.model import abstract_decoder, decoder_config
from lameta_jax.intents.preference import format_percents, parse_answer
from lameta_jax.pipeline.meta_learned import (
    LabelledFeatures,
    MetaConfig,
    PolicyMetaConfig,
    answer_loss,
    fine_tune,
    meta_train,
    meta_train_policy,
    read_features,
)

CURVATURE = np.array([0.2, 0.5, 1.8])  # a of three applications with losses a (w - c)^2 / 2
OPTIMUM = np.array([-1.0, 0.5, 2.0])  # c
RATE = 0.4  # beta
PLAIN = MetaConfig(
    num_rounds=400,
    inner_steps=3,
    num_inner=2,
    meta_learning_rate=0.1,
    weight_decay=0.0,
    max_gradient_norm=1e9,
)
WIDTHS = (DecoderConfig().min_width, DecoderConfig().max_width)


def quadratic(params, batch):
    return jnp.mean(0.5 * batch["curvature"] * jnp.square(params - batch["optimum"]))


def family(curvature=CURVATURE, optimum=OPTIMUM, samples=4):
    """Every application with equal samples, so that its loss does not depend on how they are split."""
    values = {"curvature": curvature, "optimum": optimum}
    return {name: jnp.asarray(np.repeat(value[:, None], samples, axis=1)) for name, value in values.items()}


def weighted(weights):
    return (weights * OPTIMUM).sum() / weights.sum()


def after(initial, steps):
    """Mean loss over the applications after steps of descent: w - c shrinks by 1 - beta a in every step."""
    left = (1 - RATE * CURVATURE) ** steps * (initial - OPTIMUM)
    return np.mean(0.5 * CURVATURE * left**2)


def trained(**changes):
    start = jnp.asarray(0.3)
    return meta_train(quadratic, start, family(), RATE, jax.random.key(0), replace(PLAIN, **changes))


# Where the mean gradient vanishes: sum_k g_k(w) = 0 with g_k the gradient that each order takes.
BEST = {
    "joint": weighted(CURVATURE),
    "second_order": weighted(CURVATURE * (1 - RATE * CURVATURE) ** 6),
    "first_order": weighted(CURVATURE * (1 - RATE * CURVATURE) ** 3),
}


def test_initialisations_are_those_in_closed_form():
    assert float(trained(inner_steps=0)[0]) == pytest.approx(BEST["joint"], abs=2e-3)
    for order in ("second_order", "first_order"):
        assert float(trained(order=order)[0]) == pytest.approx(BEST[order], abs=2e-3)
    assert len({round(value, 1) for value in BEST.values()}) == 3  # else this would prove little


def test_the_meta_learned_one_adapts_best_and_the_joint_one_is_best_unadapted():
    joint, second, first = (trained(inner_steps=0)[0], trained()[0], trained(order="first_order")[0])
    assert after(second, 3) < 0.9 * after(first, 3) < 0.9 * after(joint, 3)
    assert after(joint, 0) < 0.9 * min(after(second, 0), after(first, 0))


def test_losses_are_those_of_the_adapted_models():
    losses = trained(num_rounds=5)[1]
    assert losses.shape == (5,) and float(losses[0]) == pytest.approx(after(0.3, 3), rel=1e-5)


def test_outer_samples_never_adapt():
    optimum = jnp.asarray([[1.0, -1.0]])  # one application, two samples: D_in is the one, D_out the other
    samples = {"curvature": jnp.ones((1, 2)), "optimum": optimum}
    config = replace(PLAIN, num_rounds=1, inner_steps=1, num_inner=1)
    _, losses = meta_train(quadratic, jnp.asarray(0.0), samples, 0.5, jax.random.key(3), config)
    assert float(losses[0]) == pytest.approx(0.5 * 1.5**2)  # from 0 half way to one, valued at the other


@pytest.mark.parametrize("steps", [0, 1, 4])
def test_fine_tuning_by_descent_contracts(steps):
    batch = jax.tree.map(lambda leaf: leaf[2], family())
    found = fine_tune(quadratic, jnp.asarray(0.0), batch, optax.sgd(RATE), steps)
    assert float(found) == pytest.approx(2.0 - (1 - RATE * 1.8) ** steps * 2.0, rel=1e-5)


@pytest.fixture(scope="module")
def elam():
    """Parameters of the decoder of a small E-LAM, and labelled prompts of two applications."""
    generator = np.random.default_rng(1)
    features = generator.normal(size=(2, 6, decoder_config("small").num_features)) / 40
    answers = generator.multinomial(100, [0.4, 0.3, 0.2, 0.1], size=(2, 6))
    params = jax.tree.map(lambda leaf: generator.normal(0.0, 0.3, leaf.shape), abstract_decoder("small")[1])
    return params, features, answers


def arrays(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, float if leaf.dtype.kind == "f" else int), tree)


def likelihood(params, features, answers):
    """Mean negative log-likelihood by the NumPy twin."""
    rows = zip(features, answers, strict=True)
    return -np.mean([float(elam_twin.log_prob(params, one, said.tolist(), WIDTHS)) for one, said in rows])


def test_the_loss_of_an_elam_is_the_likelihood_of_the_answers(elam):
    params, features, answers = elam
    batch = LabelledFeatures(*arrays((features[0], answers[0])))
    found = jax.jit(answer_loss("small"))(arrays(params), batch)
    assert float(found) == pytest.approx(likelihood(params, features[0], answers[0]), rel=1e-4)


@pytest.mark.slow
def test_the_meta_loss_of_an_elam_is_that_of_its_adapted_decoders(elam):
    params, features, answers = elam
    same = [np.repeat(values[:, :1], 4, axis=1) for values in (features, answers)]  # no split matters
    seen, rate = LabelledFeatures(*arrays(same)), 1e-3
    config = MetaConfig(num_rounds=1, inner_steps=1, num_inner=2)
    _, losses = meta_train(answer_loss("small"), arrays(params), seen, rate, jax.random.key(0), config)
    before, expected = [], []
    for index in range(2):
        own = [values[index] for values in same]
        grads = jax.grad(answer_loss("small"))(arrays(params), LabelledFeatures(*arrays(own)))
        moved = jax.tree.map(lambda value, grad: value - rate * np.asarray(grad), params, grads)
        before.append(likelihood(params, *own))
        expected.append(likelihood(moved, *own))
    assert float(losses[0]) == pytest.approx(np.mean(expected), rel=1e-3)
    assert np.mean(expected) < 0.99 * np.mean(before)  # else adapting would not be seen


def test_answers_are_read_as_text_is(elam):
    params, _, _ = elam
    kernel, bias = params["output"]["kernel"] / 3, np.array([0.0, -2.0])
    kernel[:, 0] += 0.02
    params = params | {"output": {"kernel": kernel, "bias": bias}}
    params["factor"] = (
        params["factor"] + np.array([0, 0, 0, 0.5])[:, None]
    )  # the last nearly says what is left
    features = np.random.default_rng(0).normal(size=(64, decoder_config("small").num_features)) / 40
    fallback = np.array([0.7, 0.1, 0.1, 0.1])
    said = [elam_twin.generate(params, one, WIDTHS) for one in features]
    read = [parse_answer(format_percents(answer)) for answer in said]
    assert 5 < sum(one is None for one in read) < 59
    expected = np.array([fallback if one is None else one for one in read])
    found = jax.jit(partial(read_features, "small"))(*arrays((params, features, fallback)))
    right = np.abs(np.asarray(found) - expected).max(axis=1) < 1e-6
    assert right.mean() > 0.95  # two percents may be equally likely to a rounding error


def pulled(target_rate):
    """An algorithm whose update moves the policy a share of the way to where its users are."""

    def init(hyperparameters, pool, key):
        zero = jnp.zeros(())
        return TrainState(zero, (), zero, zero, pool, key, jnp.asarray(0))

    def advance(hyperparameters, state, count):
        moved = state.params
        for _ in range(count):
            moved = moved + target_rate * (jnp.mean(state.pool) - moved)
        return replace(state, params=moved, num_updates=state.num_updates + count), {}

    return Trainer(init, advance, lambda _, pool, key: advance(_, init(_, pool, key), 1))


def test_policies_move_along_the_updates_that_count():
    """From w, k updates at rate r end at c - (1 - r)^k (c - w); the mean over applications moves to the mean of c."""
    rate, step, rounds, inner, start = 0.3, 0.5, 4, 2, 1.0
    pools = jnp.asarray([[0.0, 0.0], [4.0, 8.0]])
    config = PolicyMetaConfig(num_rounds=rounds, inner_updates=inner, applications_per_round=2)
    train = partial(
        meta_train_policy, pulled(rate), None, jnp.asarray(start), pools, jax.random.key(0), config, step=step
    )
    for since in range(inner + 1):
        share = (1 - rate) ** since - (1 - rate) ** (inner + 1)
        expected = 3.0 + (1 - step * share) ** rounds * (start - 3.0)
        assert float(train(since=jnp.asarray(since))) == pytest.approx(expected, rel=1e-5)


def test_a_round_meets_as_many_applications_as_it_should():
    """One application a round: after two rounds of whole steps the policy is where one of them pulls it."""
    pools = jnp.asarray([[-1.0], [0.0], [5.0]])
    config = PolicyMetaConfig(num_rounds=2, inner_updates=0, applications_per_round=1)
    train, start = partial(meta_train_policy, pulled(1.0), None, since=0), jnp.asarray(9.0)
    ends = {float(train(start, pools, jax.random.key(seed), config)) for seed in range(12)}
    assert ends == {-1.0, 0.0, 5.0}
