"""Chains that share agents, against an event list and Jackson's theorem."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import queue_twin as twin

from lameta_jax.network.shared_simulation import merged_rates, simulate_shared

CHAINS = jnp.array([[0, 2, 4], [1, 2, 5], [0, 3, 4]])
RATES = jnp.array([1.5, 2.0, 1.0])
SERVICE = jnp.array([6.0, 5.0, 5.5, 4.0, 7.0, 8.0])


COUNT = 60_160  # whole chunks


@jax.jit
def simulate(keys):
    return jax.vmap(
        lambda key: simulate_shared(key, CHAINS, RATES, SERVICE, jnp.ones(6), "exponential", COUNT)
    )(keys)


@pytest.fixture(scope="module")
def runs():
    return simulate(jax.random.split(jax.random.key(0), 8))


def test_every_agent_serves_in_order_of_arrival():
    count, key = 512, jax.random.key(1)
    with jax.enable_x64(True):
        chains, rates, service = (jnp.asarray(np.asarray(array, float)) for array in (CHAINS, RATES, SERVICE))
        run = jax.jit(
            lambda key: simulate_shared(
                key, chains.astype(int), rates, service, jnp.ones(6), "exponential", count
            )
        )
        paths = run(key)
        gap = jax.random.exponential(jax.random.split(key, 5)[0], (count,), rates.dtype) / rates.sum()
    arrivals = np.cumsum(np.asarray(gap))
    routes = np.asarray(CHAINS)[np.asarray(paths.chain)]
    expected = twin.shared(arrivals.tolist(), routes.tolist(), np.asarray(paths.service).tolist())
    np.testing.assert_allclose(paths.waiting, expected, atol=1e-9)
    assert np.max(expected) > 0.1


def test_merged_exponential_streams_are_mm1_queues(runs):
    merged = merged_rates(CHAINS, RATES, 6)
    assert merged.tolist() == pytest.approx([2.5, 2.0, 3.5, 1.0, 2.5, 2.0])
    measured = slice(3_000, -3_000)
    for chain, agents in enumerate(np.asarray(CHAINS)):
        for hop, agent in enumerate(agents):
            means = [
                np.asarray(waiting)[measured, hop][np.asarray(which)[measured] == chain].mean()
                for which, waiting in zip(runs.chain, runs.waiting, strict=True)
            ]
            load, rate = float(merged[agent]), float(SERVICE[agent])
            expected = load / rate / (rate - load)
            error = np.std(means, ddof=1) / 8**0.5
            assert abs(np.mean(means) - expected) < 4 * error, (chain, hop)


def test_shares_of_the_chains(runs):
    assert runs.chain.shape == (8, COUNT)
    shares = np.bincount(np.asarray(runs.chain).ravel()) / runs.chain.size
    np.testing.assert_allclose(shares, np.asarray(RATES) / 4.5, atol=0.01)
