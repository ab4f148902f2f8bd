"""Problems, training and testing of agents, on the digits; MNIST and Widar3.0 where they are at hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lameta_jax.meta.agents import Batch
from lameta_jax.meta.classification import classification_loss, classifier, evaluate_group, images_of
from lameta_jax.meta.datasets import Samples
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


def test_the_loss_and_the_accuracy_are_those_of_plain_numpy(problem):
    apply, init = classifier(problem.cnn)
    params = init(jax.random.key(0))
    for group in (problem.seen, problem.unseen):
        found = evaluate_group(
            apply, 0, params, group, problem.samples, jax.random.key(0), 0.0, training_loss=True
        )
        pairs = ((group.held, found.training_loss), (group.test, found.test_loss))
        for agent in range(group.test.size.shape[0]):
            for held, loss in pairs:
                logits, labels = plain(apply, params, problem, rows_of(held)[agent])
                chosen = logits[np.arange(len(labels)), labels]
                expected = np.mean(np.log(np.exp(logits).sum(axis=1)) - chosen)
                np.testing.assert_allclose(loss[agent], expected, rtol=1e-5)
            logits, labels = plain(apply, params, problem, rows_of(group.test)[agent])
            np.testing.assert_allclose(
                found.accuracy[agent], np.mean(logits.argmax(axis=1) == labels), rtol=1e-6
            )


def plain(apply, params, problem, rows):
    chosen = Samples(*(np.asarray(leaf)[rows] for leaf in problem.samples))
    return np.asarray(apply(params, images_of(chosen))), chosen.labels


def test_the_training_loss_is_the_mean_cross_entropy(problem):
    apply, init = classifier(problem.cnn)
    params, rows = init(jax.random.key(0)), np.arange(12)
    chosen = jax.tree.map(lambda leaf: leaf[rows], problem.samples)
    found = classification_loss(apply)(params, Batch(chosen, jax.random.key(0)))
    logits, labels = plain(apply, params, problem, rows)
    expected = optax.softmax_cross_entropy(jnp.asarray(logits), jax.nn.one_hot(labels, 10)).mean()
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
