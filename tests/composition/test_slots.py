"""What varies between slots, and what does not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import six_agents

from lameta_jax.composition.env import make_env_params, slot_params
from lameta_jax.composition.slots import (
    Conditions,
    SlotConfig,
    draw_slots,
    nominal_conditions,
    with_conditions,
)
from lameta_jax.network.files import parse_scenario
from lameta_jax.types import LATENCY

SCENARIO = parse_scenario(six_agents(), "six")
NETWORK = SCENARIO.network
ALL = SlotConfig(arrival_rate_spread=0.2, service_rate_spread=0.3, fading_spread=1.0, redraw_outages=True)


@pytest.fixture(scope="module")
def slots() -> Conditions:
    return draw_slots(jax.random.key(0), NETWORK, ALL, 2000)


def test_without_spread_a_slot_is_the_network_exactly():
    slots = draw_slots(jax.random.key(0), NETWORK, SlotConfig(), 3)
    nominal = nominal_conditions(NETWORK)
    for drawn, given in zip(jax.tree.leaves(slots), jax.tree.leaves(nominal), strict=True):
        assert np.array_equal(drawn, np.broadcast_to(given, drawn.shape))
    network = with_conditions(NETWORK, nominal)
    assert jax.tree.all(jax.tree.map(np.array_equal, network, NETWORK))


def test_spreads_are_those_of_the_logarithms(slots):
    # Standard error of a standard deviation from n draws: s / sqrt(2 n); for one rate n = 2000, 1.6%.
    assert np.std(np.log(slots.arrival_rate)) == pytest.approx(0.2, rel=0.08)
    assert np.std(np.log(slots.service_rate / NETWORK.service_rate[None, :])) == pytest.approx(0.3, rel=0.04)
    fading = np.log(slots.link_ber / NETWORK.link_ber[None, :])
    assert np.std(fading) == pytest.approx(1.0, rel=0.04)
    assert np.mean(fading) == pytest.approx(0.0, abs=0.04)


def test_a_link_is_never_worse_than_a_coin_toss():
    wild = draw_slots(jax.random.key(0), NETWORK, SlotConfig(fading_spread=6.0), 200)
    assert float(jnp.max(wild.link_ber)) == 0.5


def test_outages_are_counted_anew(slots):
    counts = np.asarray(slots.outages)
    assert np.array_equal(counts, np.round(counts))
    assert np.all((counts >= 0) & (counts <= 100))
    # Agent 4: Binomial(100, 0.05), mean 5, variance 4.75; standard error of the mean 0.05
    assert counts[:, 4].mean() == pytest.approx(5, abs=0.25)
    assert counts[:, 4].var() == pytest.approx(4.75, rel=0.15)
    assert np.all(counts[:, 5] == 0)  # never seen in outage


def test_an_overloaded_agent_is_the_worst_of_all():
    overload = nominal_conditions(NETWORK)
    overload = Conditions(jnp.array(11.0), overload.service_rate, overload.link_ber, overload.outages)
    params = slot_params(make_env_params(SCENARIO), overload)  # b1 serves 10 a minute
    assert float(params.node_benefits[3, LATENCY]) == 0
    assert np.all(np.isfinite(params.node_benefits))


def test_a_negative_spread_is_refused():
    with pytest.raises(ValueError, match="fading_spread = -0.1 must be >= 0"):
        SlotConfig(fading_spread=-0.1)
