"""QoE of all chains of lameta-81, and the exact optimum of many users, beside NumPy.

    lameta bench qoe                              # or: python experiments/benchmarks/bench_qoe.py

One call values all chains for one user, for many users, or for users in each of many slots whose conditions differ; the
optimum starts from the network, so that enumerating the chains counts, for both by the code of this package. NumPy does
it in float32 as the formulas read (everything per chain, users and chains in one array operation), and tuned by hand
(`numpy_qoe.py`). Results are compared before anything is timed.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpy_qoe
from benchmark import OURS, Contender, comparison, finish, measured, options

from lameta_jax.composition.slots import SlotConfig, draw_slots, nominal_conditions, with_conditions
from lameta_jax.network.chains import enumerate_chains
from lameta_jax.network.network import AgenticNetwork
from lameta_jax.network.optimum import optimum
from lameta_jax.network.qoe import agent_factors, chain_factors, realised_qoe
from lameta_jax.network.scenarios import load_named
from lameta_jax.scale.timing import compiled

AIM = 10
PLAIN, TUNED = "NumPy, as the formulas read", "NumPy, tuned by hand"
SLOTS = SlotConfig(arrival_rate_spread=0.1, service_rate_spread=0.1, fading_spread=0.3, redraw_outages=True)
SCENARIO = load_named("lameta-81")
TABLE = enumerate_chains(SCENARIO.network, SCENARIO.request)
CHAINS, LINKS = np.asarray(TABLE.agents), np.asarray(TABLE.links)


def main() -> None:
    given = options(__doc__)
    repeats, many = (3, 100) if given.quick else (30, 1000)
    workloads = {
        "QoE of all chains, one user": (1, 1),
        f"QoE of all chains, {many} users": (1, many),
        "QoE of all chains, 64 users in each of 64 slots": (64, 64),
    }
    rows, comparisons = {}, []
    for name, (slots, users) in workloads.items():
        rows[name] = measured(valuing(slots, users), repeats)
        for peer in (PLAIN, TUNED):
            comparisons.append(comparison(name, rows[name], OURS, peer, unit="chains valued", aim=AIM))
    name = f"exact optimum, {many} users"
    rows[name] = measured(searching(many), repeats)
    comparisons.append(comparison(name, rows[name], OURS, TUNED, unit="users", aim=AIM))
    finish("qoe", comparisons, {"chains": len(CHAINS), "contenders": rows}, given, seeds=[0])


def preferences(users: int) -> np.ndarray:
    return np.random.default_rng(0).dirichlet(np.ones(4), users).astype(np.float32)


def valuing(num_slots: int, users: int) -> dict[str, Contender]:
    """QoE [slots, users, chains] by everybody."""
    wanted, network = preferences(users), SCENARIO.network
    slots = draw_slots(jax.random.key(0), network, SLOTS, num_slots)
    if num_slots == 1:
        slots = jax.tree.map(lambda leaf: leaf[None], nominal_conditions(network))
    arguments = (network, slots, TABLE.agents, TABLE.links, jnp.asarray(wanted))
    program = compiled(jax.jit(all_qoe), *arguments)
    networks = [
        with_conditions(network, jax.tree.map(lambda leaf, place=place: leaf[place], slots))
        for place in range(num_slots)
    ]
    calls = {
        PLAIN: partial(in_slots, plain_qoe, networks, wanted),
        TUNED: partial(in_slots, tuned_qoe, networks, wanted),
    }
    expected = program.call(*arguments)
    for call in calls.values():
        np.testing.assert_allclose(call(), expected, rtol=1e-3, atol=1e-3)
    amount = num_slots * users * len(CHAINS)
    return {OURS: Contender(lambda: program.call(*arguments), amount, program)} | {
        label: Contender(call, amount) for label, call in calls.items()
    }


def all_qoe(network, slots, agents, links, wanted):
    """QoE of every chain in every slot for every user, by this package."""

    def in_slot(conditions):
        own = with_conditions(network, conditions)
        factors = jax.vmap(partial(chain_factors, own, agents=agent_factors(own)))(agents, links)
        there = jnp.ones(agents.shape[0], bool)
        return jax.vmap(lambda one: realised_qoe(factors, one, SCENARIO.request, there))(wanted)

    return jax.vmap(in_slot)(slots)


def in_slots(value: Callable, networks: list[AgenticNetwork], wanted: np.ndarray) -> np.ndarray:
    own = [numpy_qoe.numpy_network(network, SCENARIO.request) for network in networks]
    return np.stack([value(network, wanted) for network in own])


def tuned_qoe(network: numpy_qoe.NumpyNetwork, wanted: np.ndarray) -> np.ndarray:
    return numpy_qoe.realised_qoe(network, numpy_qoe.chain_factors(network, CHAINS, LINKS), wanted)


def plain_qoe(network: numpy_qoe.NumpyNetwork, wanted: np.ndarray) -> np.ndarray:
    return numpy_qoe.plain_qoe(network, CHAINS, LINKS, wanted)


def searching(users: int) -> dict[str, Contender]:
    """The best chain of every user, from the network."""
    network, request, wanted = SCENARIO.network, SCENARIO.request, preferences(users)
    given = jnp.asarray(wanted)

    def by_numpy():
        table = enumerate_chains(network, request)
        own = numpy_qoe.numpy_network(network, request)
        return numpy_qoe.optimum(own, np.asarray(table.agents), np.asarray(table.links), wanted)

    def by_us():
        return optimum(network, request, given)[:2]

    agents, qoe = by_us()
    chains, values = by_numpy()
    assert np.mean(np.all(chains == np.asarray(agents[:, 0]), axis=1)) > 0.99, "ties apart, chains must agree"
    np.testing.assert_allclose(values, qoe[:, 0], rtol=1e-4)
    return {OURS: Contender(by_us, users), TUNED: Contender(by_numpy, users)}


if __name__ == "__main__":
    main()
