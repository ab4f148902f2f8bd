"""Errors of translations, the annotators' noise floor and the linear yardstick."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import distillation_twin as twin
from reference.intents_cases import random_preferences

from lameta_jax.distillation.metrics import (
    annotator_noise_floor,
    calibration_error,
    reward_statistics,
    translation_error,
)
from lameta_jax.distillation.probe import ridge_probe
from lameta_jax.intents.corpus import load_benchmark


def test_errors_by_hand():
    # differences (0.1, -0.1, 0, 0) and (0, 0.2, -0.1, -0.1)
    actual = np.array([[0.4, 0.3, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25]])
    predicted = np.array([[0.5, 0.2, 0.2, 0.1], [0.25, 0.45, 0.15, 0.15]])
    error = translation_error(predicted, actual, [False, True])
    assert error.squared_error == pytest.approx([0.02 / 4, 0.06 / 4])
    assert error.mse == pytest.approx(0.08 / 8)
    assert error.mae == pytest.approx(0.6 / 8)
    assert error.failure_rate == 0.5
    assert error.factor_mae == pytest.approx([0.05, 0.15, 0.05, 0.05])
    assert translation_error(actual, actual)[:3] == (0.0, 0.0, 0.0)


def test_noise_floor_by_hand():
    # First prompt: the third annotator differs from the first two by d = (0.2, -0.2, 0, 0). Against the mean of the
    # other two the first two are off by d / 2, the third by d: squares (0.02 + 0.02 + 0.08) / 12 = 0.01,
    # absolute values (0.2 + 0.2 + 0.4) / 12 = 1 / 15. The second prompt is agreed upon.
    annotations = np.array([[[0.4, 0.4, 0.1, 0.1]] * 2 + [[0.6, 0.2, 0.1, 0.1]], [[0.25] * 4] * 3])
    floor = annotator_noise_floor(annotations)
    assert floor.squared_error == pytest.approx([0.01, 0.0])
    assert floor.mse == pytest.approx(0.005)
    assert floor.mae == pytest.approx(1 / 30)
    assert floor.failure_rate == 0.0


@given(st.integers(0, 10_000), st.integers(2, 5))
def test_noise_floor_is_that_of_the_twin(seed, annotators):
    annotations = random_preferences(seed, 4 * annotators).reshape(4, annotators, 4)
    floor = annotator_noise_floor(annotations)
    assert (floor.mse, floor.mae) == pytest.approx(twin.noise_floor(annotations), rel=1e-9)


@pytest.mark.parametrize(
    ("application", "mse", "mae"), [("multimedia", 0.0019, 0.031), ("qa", 0.0029, 0.038)]
)
def test_noise_floor_of_the_corpus_as_its_readme_prints_it(application, mse, mae):
    demonstrations, test = load_benchmark(application)
    floor = annotator_noise_floor(np.array([record.annotations for record in demonstrations + test]))
    assert (round(floor.mse, 4), round(floor.mae, 3)) == (mse, mae)


def test_reward_statistics_by_hand():
    # gains of the chosen answers 1 and 0, of the rejected ones 0.5, 2 and -1, 0: margins 0.5, -1 and 1, 0, times beta
    logps, reference = (
        np.array([[-1.0, -2.5, -1.0], [-3.0, -5.0, -4.0]]),
        np.array([[-2.0, -3.0, -3.0], [-3.0, -4.0, -4.0]]),
    )
    margin, accuracy = reward_statistics(logps, reference, np.array([2.0, 4.0]))
    assert margin == pytest.approx((1.0 - 2.0 + 4.0 + 0.0) / 4)
    assert accuracy == 0.5


def test_calibration_of_a_model_that_knows_its_errors():
    # Percents drawn from the model's own distribution: covered as often as it says, up to chance.
    generator = np.random.default_rng(0)
    grid = np.arange(101)
    centre, width = generator.uniform(30, 70, (2000, 4, 1)), 8.0
    density = np.exp(-0.5 * ((grid - centre) / width) ** 2)
    density /= density.sum(axis=-1, keepdims=True)
    draw = (generator.uniform(size=(2000, 4, 1)) > np.cumsum(density, axis=-1)).sum(axis=-1)
    assert calibration_error(np.log(density + 1e-300), draw) < 0.02
    # One that is twice as sure of itself: P(|z| < z_q / 2) in place of q. With z_q = 0.126, 0.253, 0.385, 0.524, 0.674,
    # 0.842, 1.036, 1.282, 1.645 that is 0.050, 0.101, 0.153, 0.207, 0.264, 0.326, 0.396, 0.479, 0.589, off by 0.215.
    sure = np.exp(-0.5 * ((grid - centre) / (width / 2)) ** 2)
    sure /= sure.sum(axis=-1, keepdims=True)
    assert calibration_error(np.log(sure + 1e-300), draw) == pytest.approx(0.215, abs=0.02)


def test_ridge_by_hand():
    # One feature -1 and 1, targets 0.4 -+ 0.3 in the first weight: slope 2 * 0.3 / (2 + 1) = 0.2, intercept 0.4
    preferences = np.array([[0.1, 0.9, 0.0, 0.0], [0.7, 0.3, 0.0, 0.0]])
    found = ridge_probe(np.array([[-1.0], [1.0]]), preferences, np.array([[0.0], [2.0]]))
    assert found == pytest.approx(np.array([[0.4, 0.6, 0.0, 0.0], [0.8, 0.2, 0.0, 0.0]]))


def test_ridge_is_least_squares_with_the_penalty_as_data():
    generator = np.random.default_rng(0)
    x, unseen = generator.normal(2.0, 1.0, (20, 5)), generator.normal(size=(3, 5))
    y, penalty = random_preferences(0, 20), 0.7
    rows = np.vstack([np.hstack([x, np.ones((20, 1))]), np.sqrt(penalty) * np.eye(5, 6)])
    weights = np.linalg.lstsq(rows, np.vstack([y, np.zeros((5, 4))]), rcond=None)[0]
    expected = np.hstack([unseen, np.ones((3, 1))]) @ weights
    assert ridge_probe(x, y, unseen, penalty) == pytest.approx(expected, abs=1e-9)
