"""A network in numbers."""

import jax
import pytest
from reference import network_twin as twin
from reference.network_cases import changed, small_network

from lameta_jax.network import overview as module
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.overview import network_overview
from lameta_jax.network.scenarios import load_named


def overview_of(mapping):
    with jax.enable_x64(True):
        return network_overview(parse_scenario(mapping, "small"))


def test_a_small_network_by_hand():
    made_by = {"rule": "by hand", "seed": 1, "source": "a map", "notes": ["a"]}
    found = overview_of(small_network() | {"made_by": made_by})
    assert (found["agents"], found["links"], found["mean_degree"]) == (5, 6, 12 / 5)
    assert found["types"] == {"artist": 1, "other": 1, "reader": 1, "writer": 2}
    # r1 to x1 over a writer and the artist: 3 hops
    assert (found["parts"], found["largest_part"], found["diameter"]) == (1, 5, 3)
    assert (found["chains"], found["feasible_chains"], found["chains_at_most"]) == (2, 2, 2)
    assert (found["request"], found["made_by"]) == (["reader", "writer", "artist"], made_by)
    expected = {
        "capability": [0.5, 0.7],
        "service_rate": [9, 30],
        "service_cv": [0.5, 0.5],
        "utilisation": [4 / 30, 4 / 9],
        "crash_probability": [0, 0.04],
        "link_ber": [0.01, 0.06],
        "latency": [twin.latency(small_network()["agents"][place], 4.0) for place in (0, 4)],
    }
    assert found["ranges"].pop("price") is None
    assert found["ranges"] == {name: pytest.approx(ends) for name, ends in expected.items()}


def test_parts_prices_and_no_links():
    mapping = changed(changed(small_network(), "request", ["reader", "writer"]), "agents", 0, "price", 0.5)
    mapping["links"] = mapping["links"][:2]
    found = overview_of(mapping)
    assert (found["parts"], found["largest_part"], found["diameter"]) == (3, 3, 2)
    assert found["ranges"]["price"] == [0, 0.5]
    found = overview_of(changed(changed(mapping, "links", []), "request", ["reader"]))
    assert (found["parts"], found["diameter"], found["ranges"]["link_ber"]) == (5, 0, None)


def test_what_would_take_long_is_left_out(monkeypatch):
    monkeypatch.setattr(module, "MAX_CHAINS", 1)
    monkeypatch.setattr(module, "MAX_STEPS", 29)
    found = overview_of(small_network())
    assert (found["chains"], found["feasible_chains"], found["diameter"]) == (None, None, None)
    assert found["chains_at_most"] == 2


def test_the_shipped_network():
    found = network_overview(load_named("lameta-81"))
    assert (found["chains"], found["feasible_chains"], found["made_by"]) == (727, 699, None)
