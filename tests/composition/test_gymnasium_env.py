"""The Gymnasium environment is the JAX one in another form: Gymnasium's own checker, and the two in lock-step."""

import importlib
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import composition_twin as twin
from reference.composition_cases import dead_end, four_agents, interleaved, preferences, six_agents

from lameta_jax.composition import env as jax_env
from lameta_jax.composition.encoder import node_features
from lameta_jax.composition.slots import SlotConfig, draw_conditions
from lameta_jax.composition.types import Action, make_users
from lameta_jax.network.files import parse_scenario

gymnasium = pytest.importorskip("gymnasium")
from gymnasium.utils.env_checker import check_env  # noqa: E402
from gymnasium.utils.seeding import np_random  # noqa: E402

from lameta_jax.composition import gymnasium_env  # noqa: E402
from lameta_jax.composition.gymnasium_env import ENVIRONMENT_ID, ChainCompositionEnv  # noqa: E402

SLOTS = SlotConfig(
    arrival_rate_spread=0.2,
    service_rate_spread=0.3,
    fading_spread=1.0,
    redraw_outages=True,
    failure_probability=0.1,
)
USERS = make_users(preferences(12), preferences(24, seed=1).reshape(12, 2, 4))
SAME = ("preference", "elam", "step", "fits", "linked", "link_benefit", "node_mask", "elam_mask")


def params_of(mapping, **options):
    return jax_env.make_env_params(parse_scenario(mapping, "test"), jax_env.EnvConfig(**options))


PARAMS = params_of(six_agents())


def play(env, generator, **how):
    """One episode of random legal actions: all that the environment returns."""
    seen, info = env.reset(**how)
    told, ended = [(seen, info)], False
    while not ended:
        masks = np.split(env.action_masks(), [env.action_space.nvec[0]])
        action = np.array([generator.choice(np.flatnonzero(mask)) for mask in masks])
        told.append(env.step(action))
        ended = told[-1][2]
    return told


@pytest.mark.parametrize(
    ("mapping", "slots"),
    [(six_agents(), SLOTS), (dead_end(), None), ({**four_agents(), "request": ["B"], "links": []}, SLOTS)],
)
def test_gymnasium_finds_no_fault(mapping, slots):
    # Warnings are errors here.
    made = gymnasium.make(ENVIRONMENT_ID, params=params_of(mapping), users=USERS, slots=slots)
    check_env(made.unwrapped)
    made.reset(seed=0)
    made.step(made.action_space.sample())


@pytest.mark.parametrize("slots", [None, SLOTS])
def test_lock_step_with_the_jax_environment(slots):
    env, generator = ChainCompositionEnv(PARAMS, USERS, slots), np.random.default_rng(0)
    reset, step, features = map(jax.jit, (jax_env.reset, jax_env.step, node_features))
    lengths, wins = [], 0
    for episode in range(30):
        # Gymnasium's generator names the user, then the key of the slot.
        drawn, _ = np_random(episode)
        index, key = int(drawn.integers(12)), jax.random.key(int(drawn.integers(2**31)))
        params = PARAMS
        if slots is not None:
            params = jax_env.slot_params(PARAMS, draw_conditions(key, PARAMS.network, slots))
        user = jax.tree.map(lambda leaf, index=index: leaf[index], USERS)

        seen, info = env.reset(seed=episode)
        observation, state = reset(key, params, user)
        nodes = features(params)
        assert info == {"user": index}
        fee, ended, length = 0.0, False, 0
        while not ended:
            agree(seen, observation, nodes)
            masks = [observation.node_mask, observation.elam_mask]
            assert env.action_masks().tolist() == np.concatenate(masks).tolist()
            if episode % 2:
                action = [generator.choice(np.flatnonzero(mask)) for mask in masks]
            else:
                action = generator.integers([-1, -1], [8, 3])  # also some outside the space
            seen, reward, ended, truncated, info = env.step(np.array(action))
            observation, state, expected, terminated, _, told = step(
                key, state, Action(*map(jnp.asarray, action)), params
            )
            fee, length = fee + float(told.fee), length + 1
            assert isinstance(reward, float) and reward == pytest.approx(float(expected), rel=1e-5, abs=1e-6)
            assert ended is bool(terminated) and truncated is False
            assert info["chain"].tolist() == state.chain.tolist()
            assert info["succeeded"] is bool(state.succeeded) and info["user"] == index
            got = [info["step_reward"], info["fee"], info["qoe"]]
            assert got == pytest.approx([float(told.step_reward), fee, float(told.qoe)], rel=1e-5, abs=1e-6)
        agree(seen, observation, nodes)
        lengths.append(length)
        wins += info["qoe"] > 0
        # After the end nothing changes and nothing is paid.
        after, reward, ended, _, again = env.step(np.array([0, 0]))
        assert reward == 0 and ended and again["fee"] == info["fee"]
        assert all(np.array_equal(after[name], seen[name]) for name in seen)
    assert set(lengths) == {1, 2, 3} and wins > 0


def agree(seen, observation, nodes):
    for name in SAME:
        assert np.asarray(seen[name], dtype=float) == pytest.approx(
            np.asarray(getattr(observation, name), dtype=float), abs=1e-6
        ), name
    assert seen["predecessor"].tolist() == (np.arange(6) == int(observation.predecessor)).tolist()
    assert 3 - seen["step"] == int(observation.hops_left)
    assert seen["nodes"] == pytest.approx(np.asarray(nodes), abs=1e-6)


def test_the_best_chain_pays_what_the_paper_says():
    env = ChainCompositionEnv(PARAMS, USERS)
    for index in range(12):
        _, info = env.reset(options={"user": index})
        assert info == {"user": index}
        for action in ([1, 1], [2, 0], [5, 0]):
            _, _, ended, _, info = env.step(np.array(action))
        felt = twin.power_qoe(six_agents(), ("a1", "b0", "c1"), preferences(12)[index])
        assert ended and info["succeeded"] and info["chain"].tolist() == [1, 2, 5]
        assert info["qoe"] == pytest.approx(felt, rel=1e-5)
        assert info["fee"] == pytest.approx(0.01 + 0.05 + 0.01)


def test_a_seed_determines_all_that_follows():
    def told(seed, **how):
        env, generator = ChainCompositionEnv(PARAMS, USERS, SLOTS), np.random.default_rng(0)
        first = play(env, generator, seed=seed, **how)
        return first, play(env, generator), play(env, generator)

    one, other, third = told(7), told(7), told(8)
    leaves = [jax.tree.leaves(episodes) for episodes in (one, other)]
    assert all(np.array_equal(*pair) for pair in zip(*leaves, strict=True))
    slots = [episode[0][0]["nodes"] for episode in (*one, *third)]
    assert len({nodes.tobytes() for nodes in slots}) == 6  # every reset draws a slot
    assert all(np.array_equal(episode[0][0]["nodes"], episode[-1][0]["nodes"]) for episode in one)
    chosen = told(7, options={"user": 3})
    assert chosen[0][0][1] == {"user": 3} and np.array_equal(chosen[0][0][0]["nodes"], slots[0])


def test_users_are_drawn_evenly_in_one_nominal_slot():
    env = ChainCompositionEnv(PARAMS, USERS)
    env.reset(seed=1)
    resets = [env.reset() for _ in range(600)]
    counts = np.bincount([info["user"] for _, info in resets], minlength=12)
    # Expected 50 each, standard deviation 6.8
    assert counts.min() > 20 and counts.max() < 85
    assert len({seen["nodes"].tobytes() for seen, _ in resets}) == 1
    heard = {info["user"]: seen["preference"].tolist() for seen, info in resets}
    assert all(heard[index] == pytest.approx(USERS.translated[index, 0].tolist()) for index in heard)


def test_nothing_is_compiled_after_the_first_episode(monkeypatch):
    traced = []
    for name in ("reset", "step"):
        own = getattr(gymnasium_env, name)
        monkeypatch.setattr(
            gymnasium_env, name, lambda *a, own=own, name=name: traced.append(name) or own(*a)
        )
    generator = np.random.default_rng(0)
    for seed in range(3):  # other environments of that size, too
        env = ChainCompositionEnv(params_of(interleaved("ABCA")), USERS, SLOTS)
        for _ in range(3):
            play(env, generator, seed=seed)
    assert sorted(traced) == ["reset", "step"]


@pytest.mark.parametrize("method", ["step", "action_masks"])
def test_an_episode_must_be_begun(method):
    env = ChainCompositionEnv(PARAMS, USERS)
    with pytest.raises(gymnasium.error.ResetNeeded, match=f"call reset before {method}"):
        getattr(env, method)(*([np.array([0, 0])] if method == "step" else []))


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="users have 3 translations each for 2 E-LAMs"):
        ChainCompositionEnv(PARAMS, make_users(preferences(4), num_elams=3))
    with pytest.raises(ValueError, match=r"options: user = 12 must be in \[0, 12\)"):
        ChainCompositionEnv(PARAMS, USERS).reset(options={"user": 12})


def test_without_gymnasium_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    monkeypatch.delitem(sys.modules, gymnasium_env.__name__)
    with pytest.raises(ImportError, match=r"gymnasium is missing: install lameta_jax\[gym\]"):
        importlib.import_module(gymnasium_env.__name__)
