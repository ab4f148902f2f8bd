"""Annealing against plain Python's enumeration and the exact optimum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import network_twin as twin
from reference.network_cases import random_network

from lameta_jax.composition import annealing
from lameta_jax.composition.annealing import AnnealingConfig, anneal
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.network import NetworkError
from lameta_jax.network.optimum import optimum
from lameta_jax.network.scenarios import load_named

KEY = jax.random.key(0)
LAMETA = load_named("lameta-81")
PREFERENCES = np.random.default_rng(0).dirichlet(np.ones(4), 64)
THREE, BACK_AND_FORTH, ONE = ("t0", "t1", "t2"), ("t2", "t0", "t1", "t0"), ("t1",)


def small_networks(request, count=5):
    """The first random networks of eight agents that have a chain, as content and as scenario."""
    found = []
    for seed in range(100):
        mapping = random_network(seed, request=request)
        try:
            found.append((mapping, parse_scenario(mapping, "random")))
        except NetworkError:
            continue
        if len(found) == count:
            return found
    raise AssertionError("too few networks have a chain")


def annealed(preferences=PREFERENCES, key=KEY, **options):
    """On the shipped network."""
    config = AnnealingConfig(**options)
    return anneal(key, LAMETA.network, LAMETA.request, jnp.asarray(preferences, dtype=float), config)


@pytest.mark.parametrize(
    ("request_types", "form"),
    [(THREE, "power"), (THREE, "printed"), (BACK_AND_FORTH, "power"), (ONE, "power")],
)
def test_small_networks_are_solved(request_types, form):
    users = PREFERENCES[:4]
    for mapping, scenario in small_networks(request_types):
        found = anneal(KEY, scenario.network, scenario.request, jnp.asarray(users, dtype=float), form=form)
        for user, preference in enumerate(users):
            chains = twin.best_chains(mapping, preference, form)
            if not chains:  # some chains exist, but none is fast and capable enough
                assert found.agents[user].tolist() == [-1] * len(request_types)
                assert found.qoe[user] == -1.0
                continue
            assert float(found.qoe[user]) == pytest.approx(chains[0][0], rel=1e-4)
            # a feasible chain of the network, and worth what is said; walked backwards it may be worth the same
            value = {chain: qoe for qoe, chain in chains}
            assert value[tuple(found.agents[user].tolist())] == pytest.approx(chains[0][0], rel=1e-4)


def test_more_chains_find_better_ones_and_none_beats_the_optimum():
    best = optimum(LAMETA.network, LAMETA.request, jnp.asarray(PREFERENCES, dtype=float)).qoe[:, 0]
    shares = []
    for count in (8, 64, 512):
        found = annealed(num_evaluations=count)
        assert np.all(np.asarray(found.qoe) <= np.asarray(best) * (1 + 1e-6))
        shares.append(float(np.mean(np.asarray(found.qoe) / np.asarray(best))))
    assert np.all(np.diff(shares) > 0)
    assert shares[0] < 0.9 and shares[-1] > 0.99


def test_it_is_better_than_a_walk():
    """At a temperature at which every move is taken, annealing walks from chain to chain without a goal."""
    walked = annealed(num_evaluations=64, initial_temperature=1e6, final_temperature=1e6)
    assert annealed(num_evaluations=64).qoe.mean() > walked.qoe.mean() * 1.01


def test_the_key_decides():
    first, again = (annealed(num_evaluations=8) for _ in range(2))
    other = annealed(num_evaluations=8, key=jax.random.key(1))
    assert np.array_equal(first.agents, again.agents) and np.array_equal(first.qoe, again.qoe)
    assert not np.array_equal(first.agents, other.agents)


def test_other_temperatures_keys_and_users_compile_nothing_anew():
    annealed(num_evaluations=8)
    compiled = annealing._anneal_all._cache_size()
    annealed(PREFERENCES[::-1], jax.random.key(3), num_evaluations=8, initial_temperature=2.0)
    assert annealing._anneal_all._cache_size() == compiled


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"num_evaluations": 0}, "num_evaluations = 0 must be at least 1"),
        ({"final_temperature": 0.0}, "0.5 to 0.0: must be above 0"),
        ({"initial_temperature": 0.1, "final_temperature": 0.2}, "0.1 to 0.2: .* must not rise"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(options, rule):
    with pytest.raises(ValueError, match=rule):
        AnnealingConfig(**options)
