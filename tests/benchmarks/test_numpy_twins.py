"""What the benchmarks compare with computes the same: the environment in lock-step, QoE, the exact optimum."""

import sys
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import dead_end, four_agents, interleaved, preferences, six_agents
from reference.pages import EXPERIMENTS

from lameta_jax.composition.env import EnvConfig, make_env_params, reset, step
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.chains import enumerate_chains
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.qoe import chain_factors, meets_constraints, realised_qoe
from lameta_jax.network.scenarios import load_named

gymnasium = pytest.importorskip("gymnasium")
pytest.importorskip("scipy")
from gymnasium.utils.env_checker import check_env  # noqa: E402

PREFERENCE, TRANSLATED = preferences(12), preferences(24, seed=1).reshape(12, 2, 4)
USERS = make_users(PREFERENCE, TRANSLATED)


@pytest.fixture(scope="module")
def numpy_env():
    sys.path.insert(0, str(EXPERIMENTS / "benchmarks"))
    import numpy_env

    return numpy_env


def scenario_of(mapping, slow=None):
    """The scenario of a mapping, in which the agents named by `slow` serve at other rates per minute."""
    scenario = parse_scenario(mapping, "case")
    rate = scenario.network.service_rate
    for place, value in (slow or {}).items():
        rate = rate.at[place].set(value)
    return replace(scenario, network=replace(scenario.network, service_rate=rate))


CASES = {
    "one agent unstable, one failed": (
        scenario_of(six_agents(), {1: 3.0, 4: 0.0}),
        {"mask_types": True, "initial_elam": 1, "failure_qoe": -2.5},
    ),
    "a dead end": (scenario_of(dead_end()), {"step_reward_scale": 0.7, "functional_reward": 2.0}),
}
MORE_CASES = {
    "four agents": (scenario_of(four_agents()), {}),
    "eight hops": (scenario_of(interleaved("ABAABCBA")), {}),
    "eight hops, types masked": (scenario_of(interleaved("ABAABCBA")), {"mask_types": True}),
    "one hop, no links": (scenario_of({**four_agents(), "request": ["B"], "links": []}), {}),
}


def pair(numpy_env, scenario, options):
    """Both environments on a scenario."""
    config = EnvConfig(**options)
    kept = {name: value for name, value in asdict(config).items() if name in numpy_env.Rules._fields}
    network = numpy_env.numpy_network(scenario)
    env = numpy_env.NumpyChainEnv(network, PREFERENCE, TRANSLATED, numpy_env.Rules(**kept))
    return env, make_env_params(scenario, config)


def advancing(params):
    """The step of the JAX environment, compiled."""

    def advance(state, node, elam):
        return step(jax.random.key(0), state, Action(jnp.asarray(node), jnp.asarray(elam)), params)

    return jax.jit(advance)


def check_seen(seen, expected):
    for name, value in seen.items():
        wanted = np.asarray(getattr(expected, name), dtype=float)
        np.testing.assert_allclose(np.asarray(value, dtype=float), wanted, rtol=2e-5, atol=2e-6, err_msg=name)
    assert set(seen) == set(expected.__dataclass_fields__)


def check_episode(env, params, advance, user, generator, legal_share):
    """One episode in lock-step; actions are legal but for a share, of which some name agents that do not exist."""
    seen, info = env.reset(options={"user": user})
    observation, state = reset(jax.random.key(0), params, jax.tree.map(lambda leaf: leaf[user], USERS))
    assert info["user"] == user
    check_seen(seen, observation)
    ended = False
    while not ended:
        masks = np.split(env.action_masks(), [params.num_agents])
        action = [int(generator.choice(np.flatnonzero(mask))) for mask in masks]
        if generator.random() > legal_share:
            action = [
                int(generator.integers(-1, count + 1)) for count in (params.num_agents, params.num_elams)
            ]
        seen, reward, ended, truncated, told = env.step(np.array(action))
        observation, state, wanted, terminated, _, expected = advance(state, *action)
        assert not truncated and ended == bool(terminated)
        check_seen(seen, observation)
        assert reward == pytest.approx(float(wanted), rel=1e-4, abs=1e-5)
        for name, value in expected._asdict().items():
            assert told[name] == pytest.approx(float(value), rel=1e-4, abs=1e-5), name
    return bool(state.succeeded)


@pytest.mark.parametrize(
    "name", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE_CASES)]
)
def test_the_environments_agree_step_by_step(name, numpy_env):
    env, params = pair(numpy_env, *(CASES | MORE_CASES)[name])
    advance, generator = advancing(params), np.random.default_rng(0)
    for user in range(12):
        check_episode(env, params, advance, user, generator, legal_share=1.0)
        check_episode(env, params, advance, user, generator, legal_share=0.7)


@pytest.mark.slow
def test_the_environments_agree_on_lameta_81(numpy_env):
    env, params = pair(numpy_env, load_named("lameta-81"), {"mask_types": True})
    advance = advancing(params)
    generator = np.random.default_rng(1)
    ends = [check_episode(env, params, advance, user % 12, generator, 1.0) for user in range(36)]
    assert any(ends)


@pytest.mark.filterwarnings("ignore:.*infinity")
def test_gymnasium_finds_no_fault(numpy_env):
    env, _ = pair(numpy_env, scenario_of(six_agents()), {})
    check_env(env, skip_render_check=True)


def test_nothing_happens_after_the_end(numpy_env):
    env, _ = pair(numpy_env, scenario_of(four_agents()), {})
    env.reset(options={"user": 0})
    env.step(np.array([-1, 0]))
    chain = list(env.chain)
    _, reward, ended, _, told = env.step(np.array([1, 0]))
    assert (reward, ended, told["qoe"], env.chain) == (0.0, True, 0.0, chain)


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(scenario_of(interleaved("ABAAB"), {3: 3.0}), id="an agent unstable"),
        pytest.param(load_named("lameta-81"), id="lameta-81", marks=pytest.mark.slow),
    ],
)
def test_qoe_and_optimum_agree(scenario, numpy_env):
    import numpy_qoe

    network, request = scenario.network, scenario.request
    table, wanted = enumerate_chains(network, request), preferences(70, seed=3).astype(np.float32)
    agents, links = np.asarray(table.agents), np.asarray(table.links)
    own = numpy_qoe.numpy_network(network, request)
    found = numpy_qoe.chain_factors(own, agents, links)
    factors = jax.vmap(chain_factors, in_axes=(None, 0, 0))(network, table.agents, table.links)
    for name, values in factors._asdict().items():
        np.testing.assert_allclose(getattr(found, name), values, rtol=2e-4, atol=1e-6, err_msg=name)
    value = jax.vmap(lambda one: realised_qoe(factors, one, request, jnp.ones(len(agents), bool)))
    qoe = np.asarray(value(wanted))
    np.testing.assert_allclose(numpy_qoe.realised_qoe(own, found, wanted), qoe, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(numpy_qoe.plain_qoe(own, agents, links, wanted), qoe, rtol=2e-4, atol=2e-5)
    chains, values = numpy_qoe.optimum(own, agents, links, wanted)
    best = np.where(meets_constraints(factors, request), qoe, -np.inf)
    assert np.array_equal(chains, agents[best.argmax(axis=1)])
    np.testing.assert_allclose(values, best.max(axis=1), rtol=2e-4)
