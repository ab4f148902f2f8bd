"""Evaluation: fractions of the optimum, chains valued by another preference, many slots."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import four_agents, preferences, six_agents

from lameta_jax.composition.baselines import greedy_actor
from lameta_jax.composition.env import make_env_params, slot_params
from lameta_jax.composition.evaluate import (
    evaluate,
    evaluate_slots,
    optimality,
    value_chains,
)
from lameta_jax.composition.slots import SlotConfig, draw_slots
from lameta_jax.composition.types import make_users
from lameta_jax.network.files import parse_scenario

FOUR = parse_scenario(four_agents(), "four")
SIX = parse_scenario(six_agents(), "six")


def test_fractions_of_the_optimum():
    fractions = optimality(jnp.array([3.0, -1.0, 2.0]), jnp.array([4.0, 2.0, 0.0]))
    assert fractions[:2].tolist() == [0.75, -0.5] and np.isnan(fractions[2])


def test_chains_are_valued_by_the_users_own_preference():
    chains = jnp.array([[0, 1], [0, 2], [0, 3], [1, 2], [0, 0], [-1, -1]])
    judges = preferences(6)
    values = value_chains(FOUR.network, FOUR.request, chains, jnp.asarray(judges, dtype=float))
    expected = [
        twin.power_qoe(four_agents(), ("a", name), judges[row]) for row, name in enumerate(("b1", "b2"))
    ]
    # Not linked, of the wrong type, twice the same, no chain at all: failed.
    assert values == pytest.approx([*expected, -1, -1, -1, -1], rel=1e-5)


def test_slots_are_evaluated_like_one_at_a_time():
    params, users = make_env_params(SIX), make_users(preferences(8))
    config = SlotConfig(arrival_rate_spread=0.3, service_rate_spread=0.3, fading_spread=0.5)
    slots = draw_slots(jax.random.key(0), SIX.network, config, 3)
    together = evaluate_slots(jax.random.key(1), greedy_actor(), params, users, slots)
    assert together.chain.shape == (3, 8, 3)
    for place in range(3):
        one = slot_params(params, jax.tree.map(lambda leaf, place=place: leaf[place], slots))
        alone = evaluate(jax.random.key(1), greedy_actor(), one, users)
        assert together.qoe[place] == pytest.approx(np.asarray(alone.qoe), rel=1e-5)
        assert np.array_equal(together.chain[place], alone.chain)
    assert len(np.unique(np.asarray(together.qoe[:, 0]))) == 3
