"""The queue simulator against the event simulation library Ciw, on chains where no formula is exact."""

import ciw
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.network.simulation import SimulationConfig, simulate_chain, summarise

ARRIVAL_RATE = 4.0
WARMUP, BATCHES = 500, 10


def ciw_sojourns(services, customers):
    """Time at every agent [customers hops] of requests after the warm-up, by Ciw."""
    hops = len(services)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(ARRIVAL_RATE), *[None] * (hops - 1)],
        service_distributions=services,
        routing=[[float(column == row + 1) for column in range(hops)] for row in range(hops)],
        number_of_servers=[1] * hops,
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(customers, method="Finish")
    times = np.full((customers + 50, hops), np.nan)
    for record in simulation.get_all_records():
        if record.id_number <= len(times):
            times[record.id_number - 1, record.node - 1] = record.exit_date - record.arrival_date
    return times[WARMUP:customers]


@pytest.mark.parametrize(
    ("laws", "rates", "cvs", "services"),
    [
        pytest.param(
            ("deterministic", "exponential"),
            (8.0, 6.0),
            (0.0, 1.0),
            [ciw.dists.Deterministic(1 / 8), ciw.dists.Exponential(6.0)],
            marks=pytest.mark.slow,
        ),
        (
            ("gamma", "gamma", "gamma"),
            (7.0, 9.0, 6.0),
            (0.5, 1.5, 0.7),  # shape 1 / V^2, scale V^2 / mu
            [ciw.dists.Gamma(v**-2, v**2 / mu) for v, mu in ((0.5, 7.0), (1.5, 9.0), (0.7, 6.0))],
        ),
        pytest.param(
            ("lognormal", "erlang"),
            (7.0, 7.0),
            (0.8, 0.5),
            [
                ciw.dists.Lognormal(-np.log(7.0) - np.log(1 + 0.8**2) / 2, np.log(1 + 0.8**2) ** 0.5),
                ciw.dists.Gamma(4.0, 1 / 28),  # four stages
            ],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_means_agree(laws, rates, cvs, services):
    customers = 8_000
    theirs = ciw_sojourns(services, customers + WARMUP)
    theirs = theirs[: customers // BATCHES * BATCHES]
    assert np.isfinite(theirs).mean() > 0.999
    batches = np.nanmean(theirs.reshape(BATCHES, -1, len(laws)), axis=1)
    config = SimulationConfig(num_customers=40_000, num_warmup=4_000, num_batches=5)
    ours = summarise(
        jax.jit(
            lambda key: simulate_chain(
                key, jnp.array(ARRIVAL_RATE), jnp.array(rates), jnp.array(cvs), laws, config
            )
        )(jax.random.key(0)),
        confidence=0.99,
    )
    error = batches.std(axis=0, ddof=1) / BATCHES**0.5
    half = np.asarray(ours.sojourn.high - ours.sojourn.low) / 2
    assert np.all(half < error)  # ours are the narrower intervals
    assert np.all(np.abs(batches.mean(axis=0) - np.asarray(ours.sojourn.mean)) < 3.5 * error + half)
