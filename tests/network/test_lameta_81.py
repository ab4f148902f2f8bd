"""The shipped scenario against figures computed independently: fractions of the intent-aware optimum.

Per application, over the 40 test users (records 11 to 50 of the benchmark): the QoE that a chain chosen
without the user's preference has for that user, divided by the QoE of the user's own best chain, averaged.
"""

import json
import os
from importlib.resources import files
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.network.optimum import beam_search, enumerate_chains, optimum
from lameta_jax.network.qoe import (
    chain_factors,
    meets_constraints,
    objective_qoe,
    realised_qoe,
    subjective_qoe,
)
from lameta_jax.network.scenarios import load_named

FRACTIONS = {  # multimedia, qa
    "objective optimum": (0.763, 0.902),
    "mean preference": (0.908, 0.902),
    "dominant factor": (0.873, 0.905),
    "printed optimum": (0.763, 0.902),
    "random chain": (0.604, 0.571),
}


@pytest.fixture(scope="module")
def users():
    """Preferences of the test users of both applications."""
    folders = [Path(os.environ["LAMETA_DATA_DIR"]) / "intents"] if "LAMETA_DATA_DIR" in os.environ else []
    folders.append(Path(str(files("lameta_jax") / "data" / "intents")))
    names = {app: f"benchmark_{app}.jsonl" for app in ("multimedia", "qa")}
    folder = next(
        (folder for folder in folders if all((folder / name).exists() for name in names.values())), None
    )
    if folder is None:
        pytest.skip(f"no intent corpus in {' or '.join(map(str, folders))}")
    preferences = {}
    for application, name in names.items():
        lines = (folder / name).read_text(encoding="utf-8").splitlines()[10:50]
        values = np.array([json.loads(line)["preference"] for line in lines])
        preferences[application] = jnp.asarray(values / values.sum(axis=1, keepdims=True), dtype=float)
    return preferences


@pytest.fixture(scope="module")
def scenario():
    return load_named("lameta-81")


@pytest.fixture(scope="module")
def chains(scenario):
    """Factors of every chain of the request, and which are feasible."""
    table = enumerate_chains(scenario.network, scenario.request)
    factors = jax.vmap(chain_factors, in_axes=(None, 0, 0))(scenario.network, *table)
    return factors, meets_constraints(factors, scenario.request)


def test_number_of_chains(chains):
    _, feasible = chains
    assert int(feasible.sum()) == 699
    assert len(feasible) == 727


def test_the_bracket_is_positive_on_all_feasible_chains(scenario, chains):
    factors, feasible = chains
    assert np.min(np.where(feasible, objective_qoe(factors, scenario.request.capability_threshold), 1)) > 0


@pytest.mark.parametrize("application, column", [("multimedia", 0), ("qa", 1)])
def test_fractions_of_the_optimum(application, column, scenario, chains, users):
    factors, feasible = chains
    request, preferences = scenario.request, users[application]

    def felt(preference, form="power"):
        values = subjective_qoe(factors, preference, request.capability_threshold, form)
        return jnp.where(feasible, values, -jnp.inf)

    own = jax.vmap(felt)(preferences)
    best = optimum(scenario.network, request, preferences).qoe[:, 0]
    np.testing.assert_allclose(best, own.max(axis=1), rtol=1e-5)

    # Each factor's own order of chains, best first; the dominant factor is the largest weight.
    by_factor = jnp.stack([factors.capability, -factors.information_loss, -factors.latency, -factors.outage])
    best_in_factor = jnp.argmax(jnp.where(feasible[None, :], by_factor, -jnp.inf), axis=1)
    printed = jax.vmap(lambda preference: felt(preference, "printed"))(preferences)
    everyone = jnp.arange(len(preferences))
    # A random chain of the right types may break a constraint, and is then worth failure_qoe.
    realised = jax.vmap(
        lambda preference: realised_qoe(factors, preference, request, jnp.ones_like(feasible))
    )(preferences)
    reached = {
        "objective optimum": own[:, jnp.argmax(felt(jnp.full(4, 0.25)))],
        "mean preference": own[:, jnp.argmax(felt(preferences.mean(axis=0)))],
        "dominant factor": own[everyone, best_in_factor[jnp.argmax(preferences, axis=1)]],
        "printed optimum": own[everyone, jnp.argmax(printed, axis=1)],
        "random chain": realised.mean(axis=1),
    }
    for name, values in reached.items():
        assert float(jnp.mean(values / best)) == pytest.approx(FRACTIONS[name][column], abs=0.001), name


def test_beam_search_finds_the_optimum(scenario, users):
    preferences = jnp.concatenate(list(users.values()))
    best = optimum(scenario.network, scenario.request, preferences).qoe[:, 0]
    beam = beam_search(scenario.network, scenario.request, preferences)
    np.testing.assert_allclose(beam.qoe, best, rtol=1e-5)
    assert np.all(beam.bound >= best - 1e-5)
