"""Metrics over the whole preference simplex, against volumes known by hand."""

import numpy as np
import pytest

from lameta_jax.composition.multi_objective import hypervolume, multi_objective_metrics, objectives
from lameta_jax.network.qoe import ChainFactors

ONES = np.ones(4)


def test_boxes_by_inclusion_and_exclusion():
    first, second = np.array([0.5, 0.5, 0.5, 0.5]), np.array([0.0, 0.8, 0.8, 0.8])
    overlap = 0.5 * 0.2**3
    both = 0.5**4 + 1.0 * 0.2**3 - overlap
    assert hypervolume(np.stack([first, second]), ONES) == pytest.approx(both, abs=1e-12)
    dominated = np.array([0.6, 0.6, 0.6, 0.6])
    assert hypervolume(np.stack([first, dominated, second]), ONES) == pytest.approx(both, abs=1e-12)


def test_what_is_beyond_the_reference_counts_nothing():
    assert hypervolume(np.array([[1.5, 0.0, 0.0, 0.0]]), ONES) == 0.0


def test_metrics_of_two_chains():
    factors = ChainFactors(
        capability=np.array([np.exp(-1.0), np.exp(-2.0)]),
        information_loss=np.array([0.2, 0.1]),
        latency=np.array([np.exp(-1.0), np.exp(-3.0)]),
        outage=np.array([0.3, 0.1]),
    )
    points = np.array([[1.0, 0.2, -1.0, 0.3], [2.0, 0.1, -3.0, 0.1]])
    assert objectives(factors) == pytest.approx(points)
    ideal, reference = np.array([0.0, 0.0, -4.0, 0.0]), np.array([4.0, 0.4, 0.0, 0.4])
    found = multi_objective_metrics(np.array([3.0, 5.0]), np.array([4.0, 5.5]), factors, ideal, reference)
    assert found.expected_utility == 4.0
    assert found.maximum_utility_loss == 1.0
    volumes = [0.75 * 0.5 * 0.25 * 0.25, 0.5 * 0.75 * 0.75 * 0.75, 0.5 * 0.5 * 0.25 * 0.25]
    assert found.hypervolume == pytest.approx(volumes[0] + volumes[1] - volumes[2])
