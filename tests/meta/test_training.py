"""Problems, training and testing of agents, on the digits; MNIST and Widar3.0 where they are at hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lameta_jax.meta.agents import Batch
from lameta_jax.meta.classification import classification_loss, classifier, evaluate_group, images_of
from lameta_jax.meta.federated import Rates
from lameta_jax.meta.problems import MINIMUM, ProblemConfig, make_problem
from lameta_jax.meta.tasks import rows_of
from lameta_jax.meta.training import METHODS, TrainingConfig, make_method, outcome, train
from lameta_jax.scale.checkpoint import CheckpointError

SMALL = TrainingConfig(rounds=3, steps=2, rates=Rates(adaptation=0.05, meta=0.1), rounds_per_report=1)


@pytest.fixture(scope="module")
def problem():
    return make_problem(ProblemConfig(seen=3, unseen=2), seed=0)


def held_rows(problem, test=False):
    return [
        set(part.tolist())
        for group in (problem.seen, problem.unseen)
        for part in rows_of(group.test if test else group.held)
    ]


@pytest.mark.parametrize(("data", "groups"), [("digits", (10, 5)), ("mnist", (10, 5)), ("widar", (10, 5))])
def test_environments_share_no_sample(data, groups, request):
    if data != "digits":
        request.getfixturevalue("data_dir")
    found = make_problem(ProblemConfig(data=data), seed=3)
    training, test = held_rows(found), held_rows(found, test=True)
    assert len(training) == len(test) == sum(groups)
    assert found.seen.test.size.shape == (groups[0],)
    assert sum(map(len, training + test)) == len(set().union(*training, *test))
    assert min(map(len, training + test)) >= MINIMUM
    for group in (found.seen, found.unseen):
        halves = zip(
            rows_of(group.agents.inner), rows_of(group.agents.outer), rows_of(group.held), strict=True
        )
        assert all(sorted([*inner, *outer]) == sorted(held) for inner, outer, held in halves)
    if data == "mnist":  # the original's own division
        assert max(map(max, training)) < 60_000 <= min(map(min, test))
    if data == "widar":
        assert sum(map(len, training + test)) > 15 * 740


@pytest.mark.parametrize("data", ["digits", "mnist", pytest.param("widar", marks=pytest.mark.slow)])
def test_tuning_never_sees_a_test_sample(data, request):
    if data != "digits":
        request.getfixturevalue("data_dir")
    tested = set().union(*held_rows(make_problem(ProblemConfig(data=data), seed=0), test=True))
    if data == "digits":  # the same test samples whatever the seed
        assert tested == set().union(*held_rows(make_problem(ProblemConfig(data=data), seed=1), test=True))
    tuning = make_problem(ProblemConfig(data=data, tuning=True), seed=0)
    assert not tested & set().union(*held_rows(tuning), *held_rows(tuning, test=True))


def test_skew_follows_the_concentration():
    def shares(concentration):
        found = make_problem(ProblemConfig(concentration=concentration), seed=0)
        labels = np.asarray(found.samples.labels)
        counts = np.array([np.bincount(labels[rows], minlength=10) for rows in rows_of(found.seen.held)])
        return (counts / counts.sum(axis=1, keepdims=True)).max(axis=1).mean()

    assert shares(0.1) > shares(0.5) > shares(1000.0) and shares(1000.0) < 0.2


@pytest.fixture(scope="module")
def all_logits(problem):
    """Logits of every sample, with the parameters that they are of."""
    apply, init = classifier(problem.cnn)
    params = init(jax.random.key(0))
    return np.asarray(jax.jit(lambda: apply(params, images_of(problem.samples)))()), params


def test_the_loss_and_the_accuracy_are_those_of_plain_numpy(problem, all_logits):
    (logits, params), labels = all_logits, np.asarray(problem.samples.labels)
    entropy = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]
    evaluate = jax.jit(partial(evaluate_group, training_loss=True), static_argnums=(0, 1))
    apply, _ = classifier(problem.cnn)
    for group in (problem.seen, problem.unseen):
        found = evaluate(apply, 0, params, group, problem.samples, jax.random.key(0), 0.0)
        for held, loss in ((group.held, found.training_loss), (group.test, found.test_loss)):
            np.testing.assert_allclose(loss, [entropy[rows].mean() for rows in rows_of(held)], rtol=1e-5)
        hits = logits.argmax(axis=1) == labels
        np.testing.assert_allclose(
            found.accuracy, [hits[rows].mean() for rows in rows_of(group.test)], rtol=1e-6
        )


def test_the_training_loss_is_the_mean_cross_entropy(problem, all_logits):
    (logits, params), rows = all_logits, np.arange(12)
    apply, _ = classifier(problem.cnn)
    chosen = jax.tree.map(lambda leaf: leaf[rows], problem.samples)
    found = classification_loss(apply)(params, Batch(chosen, jax.random.key(0)))
    wanted = jax.nn.one_hot(chosen.labels, 10)
    expected = optax.softmax_cross_entropy(jnp.asarray(logits[rows]), wanted).mean()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow  # quick tests cut `lameta meta` in the middle
def test_an_interrupted_training_ends_with_the_same_bits(problem, tmp_path):
    method = make_method(problem, SMALL)
    whole = train(problem, SMALL, tmp_path / "whole.partial", {}, method=method)
    path = tmp_path / "cut.partial"

    def interrupt(told):
        if told.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(problem, SMALL, path, {"seed": "0"}, interrupt, method)
    with pytest.raises(CheckpointError, match="another seed"):
        train(problem, SMALL, path, {"seed": "1"}, method=method)
    told = []
    again = train(problem, SMALL, path, {"seed": "0"}, told.append, method)
    assert [report.done for report in told] == [2, 3] and told[0].resumed_at == 1
    jax.tree.map(np.testing.assert_array_equal, again, whole)
    assert whole.losses.shape == (3,)
    jax.tree.map(
        lambda all_, last: np.testing.assert_array_equal(all_[-1], last), whole.snapshots, whole.params
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_every_method_learns(name, tmp_path):
    """Ten rounds on few environments: far above chance, which is 10%, and the models of all methods differ."""
    environments = make_problem(ProblemConfig(seen=3, unseen=2), seed=0)
    server = 0.5 if name == "reptile" else 1.0
    meta = 0.5 if name in ("man-round", "man-first-order") else 0.1
    rates = Rates(adaptation=0.05, meta=meta, server=server)
    config = TrainingConfig(method=name, rounds=30, rates=rates)
    found = train(environments, config, tmp_path / "it.partial", {})
    groups = outcome(environments, config, found.params, jax.random.key(0), 0.05, 30)
    assert set(groups) == ({"seen"} if name == "local" else {"seen", "unseen"})
    for group in groups.values():
        assert np.mean(np.asarray(group.accuracy)) > 0.6
