"""The queue simulator against plain event-by-event loops, closed forms and known results for tandem queues."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import queue_twin as twin

from lameta_jax.network.queueing import waiting_time
from lameta_jax.network.service_laws import law_cv
from lameta_jax.network.simulation import (
    BatchMeans,
    Breakdowns,
    SimulationConfig,
    breakdowns_from_share,
    departure_gaps,
    simulate_chain,
    summarise,
    waiting_times,
)

KEY = jax.random.key(0)
QUICK = SimulationConfig(num_customers=50_000, num_warmup=5_000, num_replications=16, num_batches=5)
ONE = jnp.ones(1)


def simulated(laws, rates, cvs, config=QUICK, key=KEY, arrival_rate=4.0, confidence=0.99, **options):
    batches = jax.jit(
        lambda key: simulate_chain(
            key, jnp.array(arrival_rate), jnp.array(rates), jnp.array(cvs), laws, config, **options
        )
    )(key)
    return summarise(batches, confidence)


def holds(interval, value):
    """Whether the interval holds the value, entry by entry; not true of an empty or infinite one."""
    width = np.asarray(interval.high - interval.low)
    assert np.all(np.isfinite(width))
    return np.all((np.asarray(interval.low) <= value) & (value <= np.asarray(interval.high)))


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 3)).map(
            lambda row: [round(x, 2) for x in row]
        ),
        min_size=1,
        max_size=12,
    )
)
def test_waiting_and_departures_are_those_of_an_event_loop(rows):
    rows += [[0.5, 0.1, 0.2]] * (12 - len(rows))  # of one length, so that one program serves all examples
    gap, *services = np.array(rows).T
    expected = np.array(twin.tandem(gap, list(zip(*services, strict=True))))
    empty, arriving = jnp.zeros(()), jnp.asarray(gap, dtype=float)
    for hop, service in enumerate(jnp.asarray(np.array(services), dtype=float)):
        waiting = waiting_times(empty, service, arriving)
        np.testing.assert_allclose(waiting, expected[:, hop], atol=1e-5)
        arriving = departure_gaps(empty, waiting, service, arriving)


def test_chunks_continue_where_the_one_before_ended():
    rng = np.random.default_rng(0)
    gap, service = (jnp.asarray(rng.exponential(size=(64, 3)), dtype=float) for _ in range(2))
    empty, follow = jnp.zeros(3), jax.jit(waiting_times)
    whole = follow(empty, service, gap)
    left = departure_gaps(empty, whole, service, gap)
    sojourn, parts, departures = empty, [], []
    for start in range(0, 64, 16):
        chunk = slice(start, start + 16)
        parts.append(follow(sojourn, service[chunk], gap[chunk]))
        departures.append(departure_gaps(sojourn, parts[-1], service[chunk], gap[chunk]))
        sojourn = parts[-1][-1] + service[chunk][-1]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(departures), left, atol=1e-5)


def test_float32_does_not_drift_in_a_million_requests():
    rng = np.random.default_rng(1)
    gap, service = (
        rng.exponential(1.0, 10**6).astype(np.float32),
        rng.exponential(0.8, 10**6).astype(np.float32),
    )
    found, sojourn, follow = [], jnp.zeros(()), jax.jit(waiting_times)
    for start in range(0, 10**6, 4_000):
        chunk = slice(start, start + 4_000)
        found.append(follow(sojourn, jnp.asarray(service[chunk]), jnp.asarray(gap[chunk])))
        sojourn = found[-1][-1] + service[chunk][-1]
    expected = np.array(twin.tandem(gap.astype(float).tolist(), service.astype(float)[:, None].tolist()))[
        :, 0
    ]
    assert expected.max() > 20  # long busy periods, where errors could add up
    np.testing.assert_allclose(np.concatenate(found), expected, atol=2e-3)


def test_littles_law():
    """The number at the agent, counted, is the rate of arrivals times the time spent there."""
    rng = np.random.default_rng(2)
    gap, service = rng.exponential(1 / 4, 40_000), rng.exponential(1 / 6, 40_000)
    follow = jax.jit(waiting_times)
    waiting = follow(jnp.zeros(()), jnp.asarray(service, dtype=float), jnp.asarray(gap, dtype=float))
    sojourn = np.asarray(waiting) + service
    counted = np.mean(twin.number_found(gap, sojourn))
    arrays = [
        jnp.asarray(values, dtype=float).reshape(4, 10_000).mean(1)[:, None, None]
        for values in (waiting, service, service, gap)
    ]
    by_law = summarise(BatchMeans(*arrays, jnp.ones((4, 1)))).queue_length.mean[0]
    assert float(by_law) == pytest.approx(counted, rel=0.03)
    assert float(by_law) == pytest.approx(2.0, rel=0.1)  # M/M/1 at rho = 2/3: rho / (1 - rho)


@pytest.mark.parametrize(
    ("law", "cv", "utilisation"),
    [
        ("exponential", 1.0, 0.5),
        ("deterministic", 0.0, 0.8),
        ("erlang", 0.5, 0.3),
        ("gamma", 1.5, 0.6),
        ("lognormal", 0.7, 0.9),
        ("hyperexponential", 2.0, 0.1),
    ],
)
def test_the_first_agent_is_an_mg1_queue(law, cv, utilisation):
    found = simulated((law,), [4.0 / utilisation], [cv])
    expected = waiting_time(4.0, jnp.array([4.0 / utilisation]), law_cv(law, jnp.array([cv])))
    assert holds(found.waiting, expected)
    assert holds(found.utilisation, utilisation)
    assert holds(found.throughput, 4.0)
    assert holds(found.queue_length, 4.0 * (expected + utilisation / 4.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("law", "cv"),
    [("exponential", 1.0), ("deterministic", 0.0), ("erlang", 0.5), ("gamma", 0.4), ("gamma", 2.0),
     ("lognormal", 0.7), ("lognormal", 1.5), ("hyperexponential", 2.0)],
)  # fmt: skip
def test_the_first_agent_over_the_whole_grid(law, cv):
    """Utilisations 0.1 to 0.95, ten seeds each, pooled per point, against (6).

    Eight laws and ten loads make 80 intervals. Of those of 99% each, a few may miss; all 80 together hold with 99%
    if each is one of 99% + 79 / 80 %.
    """
    config = SimulationConfig(num_customers=100_000, num_warmup=20_000, num_replications=4, num_batches=2)
    utilisation = jnp.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])

    @jax.jit
    def at_all_loads(key):
        return jax.vmap(
            lambda key, rho: simulate_chain(
                key, jnp.array(4.0), 4.0 / rho[None], jnp.array([cv]), (law,), config
            )
        )(jax.random.split(key, 10), utilisation)

    seeds = [at_all_loads(jax.random.key(seed)) for seed in range(10)]
    expected = waiting_time(4.0, 4.0 / utilisation, law_cv(law, jnp.full(10, cv)))
    missed = 0
    for index, wanted in enumerate(np.asarray(expected)):
        batches = [jax.tree.map(lambda leaf, index=index: leaf[index], seed) for seed in seeds]
        pooled = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, axis=1), *batches)
        assert holds(summarise(pooled, 1 - 0.01 / 80).waiting, wanted), float(utilisation[index])
        missed += not holds(summarise(pooled, 0.99).waiting, wanted)
    assert missed <= 2  # of 10: more would happen in one of 10,000


def test_intervals_cover_as_often_as_they_say():
    """200 independent 90% intervals: the number that hold the truth is binomial, within 4 deviations of 180."""
    config = SimulationConfig(num_customers=20_000, num_warmup=2_000, num_replications=2, num_batches=10)
    run = jax.jit(
        jax.vmap(
            lambda key: simulate_chain(key, jnp.array(4.0), jnp.array([6.0]), ONE, ("exponential",), config)
        )
    )
    batches = run(jax.random.split(KEY, 200))
    intervals = jax.vmap(lambda one: summarise(one, 0.9).waiting)(batches)
    truth = 4 / 6 / (6 - 4)  # M/M/1: rho / (mu - lambda)
    covered = int(((intervals.low <= truth) & (truth <= intervals.high)).sum())
    assert abs(covered - 180) <= 4 * (200 * 0.9 * 0.1) ** 0.5


def test_two_exponential_agents_are_two_mm1_queues():
    """Jackson's theorem: departures of M/M/1 are Poisson, so the formula is exact at both."""
    found = simulated(("exponential",) * 2, [6.0, 5.0], [1.0, 1.0])
    assert holds(found.waiting, np.array([4 / 6 / (6 - 4), 4 / 5 / (5 - 4)]))
    assert holds(found.end_to_end, 1 / (6 - 4) + 1 / (5 - 4))


@pytest.mark.parametrize("rates", [(5.0, 8.0), (8.0, 5.0), (6.0, 9.0, 5.0)])
def test_constant_service_times_in_tandem(rates):
    """Whatever the order, requests wait in all as long as they would at the slowest agent alone."""
    found = simulated(("deterministic",) * len(rates), rates, [0.0] * len(rates))
    slowest = min(rates)
    alone = twin.pollaczek_khinchine(4.0, 1 / slowest, 1 / slowest**2)
    assert holds(found.end_to_end, alone + sum(1 / rate for rate in rates))
    if rates[0] == slowest:  # requests leave it no closer than the next agent can serve them
        assert float(found.waiting.mean[1]) == 0.0


def test_breakdowns_lengthen_service_as_known():
    """Completion time C = S + repairs: E[C] = s (1 + f d), Var[C] = Var[S] (1 + f d)^2 + 2 f d^2 s."""
    s, f, d = 1 / 8, 0.6, 0.25
    found = simulated(
        ("exponential",), [8.0], [1.0], breakdowns=Breakdowns(failure_rate=f * ONE, mean_repair=d * ONE)
    )
    mean = s * (1 + f * d)
    second = mean**2 + s**2 * (1 + f * d) ** 2 + 2 * f * d**2 * s
    assert holds(found.waiting, twin.pollaczek_khinchine(4.0, mean, second))
    assert holds(found.utilisation, 4 * mean)
    assert float(found.availability.mean[0]) == pytest.approx(1 / (1 + f * d), rel=2e-3)
    assert holds(found.undisturbed, 8 / (8 + f))  # no breakdown in an exponential service: mu / (mu + f)


def test_the_share_of_outages_sets_the_breakdowns():
    breakdowns = breakdowns_from_share(jnp.array([0.2]), jnp.array([0.5]))
    assert breakdowns.failure_rate.tolist() == pytest.approx([0.5])  # down 0.5 min after 2 min up: 20%


def test_one_program_serves_all_rates_and_a_vmap_is_a_loop():
    traces = []
    config = SimulationConfig(num_customers=512, num_warmup=0, num_replications=2, num_batches=2)

    @jax.jit
    def run(key, rate):
        traces.append(rate)
        return simulate_chain(
            key, rate, jnp.array([8.0, 9.0]), jnp.array([1.0, 0.5]), ("exponential",) * 2, config
        )

    rates = jnp.array([1.0, 4.0])
    looped = [run(KEY, rate) for rate in rates]
    assert len(traces) == 1
    vmapped = jax.vmap(run, in_axes=(None, 0))(KEY, rates)
    for index, one in enumerate(looped):
        for left, right in zip(one, vmapped, strict=True):
            np.testing.assert_allclose(left, right[index], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("num_customers", 0),
        ("num_replications", 0),
        ("num_batches", 0),
        ("chunk_size", 0),
        ("num_warmup", -1),
    ],
)
def test_sizes_that_make_no_sense_are_refused(field, value):
    with pytest.raises(ValueError, match=f"{field} = {value} must"):
        SimulationConfig(**{field: value})


def test_every_agent_needs_a_law():
    with pytest.raises(ValueError, match="number of laws = 1 must be that of agents = 2"):
        simulate_chain(KEY, jnp.array(1.0), jnp.ones(2), jnp.ones(2), ("gamma",), QUICK)
