"""Enumeration, exact optimum and beam search against plain Python."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import network_twin as twin
from reference.network_cases import random_network, small_network

from lameta_jax.network.chains import count_walks, has_chain
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.network import NetworkError
from lameta_jax.network.optimum import beam_search, enumerate_chains, iterate_chains, optimum
from lameta_jax.network.qoe import QOE_FORMS

REQUESTS = [
    ("t0", "t1"),
    ("t0", "t1", "t2"),
    ("t0", "t0", "t1"),
    ("t1", "t0", "t1"),
    ("t2", "t0", "t1", "t0"),
]


@lru_cache
def served(seed, request=REQUESTS[1], **sizes):
    """A random network with a chain, as content and as scenario; the next seed if this one has none."""
    mapping = random_network(seed, request=request, **sizes)
    try:
        return mapping, parse_scenario(mapping, "random")
    except NetworkError:
        return served(seed + 1000, request, **sizes)


def preferences_of(seed, count=3):
    return np.random.default_rng(seed).dirichlet(np.ones(4), count)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(REQUESTS))
def test_enumeration_is_the_product_of_the_layers(seed, request):
    mapping, scenario = served(seed, request)
    expected = list(twin.chains(mapping["agents"], mapping["links"], request))
    table = enumerate_chains(scenario.network, scenario.request)
    assert [tuple(chain) for chain in table.agents.tolist()] == [chain for chain, _ in expected]
    bers = np.asarray(scenario.network.link_ber)[np.asarray(table.links)]
    np.testing.assert_allclose(bers, [ber for _, ber in expected], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(REQUESTS), st.integers(1, 40))
def test_chunks_are_full_and_in_order(seed, request, chunk_size):
    _, scenario = served(seed, request)
    whole = enumerate_chains(scenario.network, scenario.request)
    chunks = list(iterate_chains(scenario.network, scenario.request, chunk_size))
    assert all(chunk.agents.shape[0] == chunk_size for chunk in chunks[:-1])
    assert 0 < chunks[-1].agents.shape[0] <= chunk_size
    for part, expected in zip(zip(*chunks, strict=True), whole, strict=True):
        np.testing.assert_array_equal(np.concatenate(part), expected)


def test_one_agent_is_a_chain():
    _, scenario = served(0, ("t1",))
    # of eight agents, 1, 4 and 7 have type t1
    assert enumerate_chains(scenario.network, scenario.request).agents.tolist() == [[1], [4], [7]]


def test_a_walk_that_must_repeat_an_agent_is_no_chain():
    # w1 - w2 only: writer -> writer -> writer would have to return
    scenario = parse_scenario(small_network(), "small")
    writer = scenario.request.types[1]
    twice = scenario.request.replace(types=jnp.array([writer, writer]))
    thrice = scenario.request.replace(types=jnp.array([writer, writer, writer]))
    assert has_chain(scenario.network, twice) and not has_chain(scenario.network, thrice)
    assert enumerate_chains(scenario.network, thrice).agents.shape == (0, 3)


@pytest.mark.parametrize("form", QOE_FORMS)
@pytest.mark.parametrize("request_types", REQUESTS[1:4])
def test_optimum_is_what_plain_python_finds(form, request_types):
    for seed in range(5):
        mapping, scenario = served(seed, request_types)
        preferences = preferences_of(seed)
        with jax.enable_x64(True):
            exact = parse_scenario(mapping, "random")
            best = optimum(exact.network, exact.request, jnp.asarray(preferences), top=4, form=form)
        assert best.evaluated == len(list(twin.chains(mapping["agents"], mapping["links"], request_types)))
        for user, preference in enumerate(preferences):
            expected = twin.best_chains(mapping, preference, form)
            assert best.feasible == len(expected)
            found = min(4, len(expected))
            np.testing.assert_allclose(best.qoe[user, :found], [qoe for qoe, _ in expected[:4]], rtol=1e-9)
            # Walked backwards, t1 -> t0 -> t1 is worth the same but for rounding, so the order may differ.
            value = {chain: qoe for qoe, chain in expected}
            chains = [tuple(chain) for chain in best.agents[user, :found].tolist()]
            assert len(set(chains)) == found
            np.testing.assert_allclose(best.qoe[user, :found], [value[chain] for chain in chains], rtol=1e-9)
            assert np.all(np.asarray(best.agents)[user, found:] == -1)
            assert np.all(np.asarray(best.qoe)[user, found:] == -1.0)


def test_optimum_does_not_depend_on_the_chunks():
    _, scenario = served(3, ("t0", "t1", "t2"), num_agents=12, degree=9)
    preferences = jnp.asarray(preferences_of(0))
    whole = optimum(scenario.network, scenario.request, preferences, top=3)
    assert whole.evaluated > 20
    parts = optimum(scenario.network, scenario.request, preferences, top=3, chunk_size=7)
    np.testing.assert_array_equal(parts.agents, whole.agents)
    np.testing.assert_allclose(parts.qoe, whole.qoe, rtol=1e-6)
    assert (parts.evaluated, parts.feasible) == (whole.evaluated, whole.feasible)


def test_equal_chains_are_ranked_in_the_order_of_enumeration():
    mapping = small_network()
    mapping["agents"][2] |= {key: mapping["agents"][1][key] for key in mapping["agents"][1] if key != "id"}
    for link in mapping["links"]:
        link["ber"] = 0.01
    scenario = parse_scenario(mapping, "twins")
    even = jnp.full((1, 4), 0.25)
    for chunk_size in (1, 65536):
        best = optimum(scenario.network, scenario.request, even, top=2, chunk_size=chunk_size)
        assert best.agents.tolist() == [[[0, 1, 3], [0, 2, 3]]]
        assert best.qoe[0, 0] == best.qoe[0, 1]


# One network shape, request length and width for all beam searches: one compilation for each form.
FOUR_HOPS = ("t0", "t1", "t0", "t2")


def test_no_feasible_chain():
    mapping, _ = served(0, FOUR_HOPS, num_agents=12, degree=6)
    scenario = parse_scenario(mapping | {"max_latency": 1e-3}, "slow")
    even = jnp.full((3, 4), 0.25)
    best = optimum(scenario.network, scenario.request, even, failure_qoe=-3.0)
    assert best.evaluated > 0 and best.feasible == 0
    assert np.all(best.agents == -1) and np.all(best.qoe == -3.0)
    beam = beam_search(scenario.network, scenario.request, even, width=2, failure_qoe=-3.0)
    assert np.all(beam.agents == -1) and np.all(beam.qoe == -3.0) and np.all(beam.bound == -3.0)


@pytest.mark.parametrize("form", QOE_FORMS)
def test_beam_value_and_bound_enclose_the_optimum(form):
    found, slack = [], []
    for seed in range(8):
        _, scenario = served(seed, FOUR_HOPS, num_agents=12, degree=6)
        preferences = jnp.asarray(preferences_of(seed))
        best = optimum(scenario.network, scenario.request, preferences, form=form).qoe[:, 0]
        beam = beam_search(scenario.network, scenario.request, preferences, width=2, form=form)
        assert np.all(beam.qoe <= best + 1e-5)
        assert np.all(beam.bound >= best - 1e-5)
        found.append(beam.qoe / best)
        slack.append(beam.bound - best)
    # so narrow a beam drops something that might be better, but mostly finds what is best
    assert np.max(slack) > 0
    assert np.median(found) > 0.99


def test_a_beam_wide_enough_is_exact_and_says_so():
    _, scenario = served(1, FOUR_HOPS, num_agents=12, degree=6)
    preferences = jnp.asarray(preferences_of(1))
    best = optimum(scenario.network, scenario.request, preferences)
    beam = beam_search(scenario.network, scenario.request, preferences, width=1000)
    np.testing.assert_array_equal(beam.agents, best.agents[:, 0])
    np.testing.assert_allclose(beam.qoe, best.qoe[:, 0], rtol=1e-5)
    np.testing.assert_array_equal(beam.bound, beam.qoe)


def test_memory_of_the_enumeration_is_bounded_by_the_chunk():
    # 60 agents of one type, all linked: 60 * 59 * 58 = 205,320 chains, looked at 1,000 at a time
    mapping = random_network(0, num_agents=60, num_types=1, request=("t0", "t0", "t0"), degree=59)
    scenario = parse_scenario(mapping, "full")
    count = 0
    for chunk in iterate_chains(scenario.network, scenario.request, 1000):
        count += chunk.agents.shape[0]
        assert chunk.agents.shape[0] <= 1000
    assert count == 60 * 59 * 58


@pytest.mark.parametrize("request_", [["t0"], ["t0", "t1"], ["t0", "t1", "t2"], ["t0", "t1", "t2", "t1"]])
def test_walks_are_counted_right(request_):
    mapping = random_network(0, request=request_)
    agents, links = mapping["agents"], mapping["links"]
    linked = {frozenset(link["between"]) for link in links}
    walks = [[agent["id"]] for agent in agents if agent["type"] == request_[0]]
    for wanted in request_[1:]:
        walks = [
            [*walk, agent["id"]]
            for walk in walks
            for agent in agents
            if agent["type"] == wanted and frozenset((walk[-1], agent["id"])) in linked
        ]
    with jax.enable_x64(True):
        scenario = parse_scenario(mapping, "case")
    assert count_walks(scenario.network, scenario.request) == len(walks)
