"""The memory of the E-LAM: ring buffer (44), pattern and conditioning (45), calibration (46)."""

import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import memory_twin as twin
from reference.intents_cases import random_preferences
from reference.intents_twin import angular_distance as distance

from lameta_jax.intents.calibration import (
    calibrate,
    calibration_factor,
    condition,
    consistency,
    mean_recent_preference,
    reward_trend,
)
from lameta_jax.intents.corpus import load_history
from lameta_jax.intents.memory import (
    CONSISTENT,
    DIVERGENT,
    INVALID,
    NO_PROMPT,
    PLAIN,
    REGIME_NAMES,
    MemoryConfig,
    empty_memory,
    in_context,
    recent,
    remember,
)

SMALL = MemoryConfig(capacity=5, num_recent=3)
QUALITY, HASTE = [0.7, 0.3, 0.0, 0.0], [0.0, 0.0, 0.8, 0.2]
RISING = [(place, QUALITY, reward) for place, reward in enumerate((0.1, 0.2, 0.4))]
FALLBACK = [0.4, 0.3, 0.2, 0.1]
LONGEST = 12  # records in a history
FIRST = jnp.arange(3)[None] < jnp.arange(4)[:, None]  # masks over three records: the first 0, 1, 2, 3

IN_CONTEXT, REMEMBER, RECENT = jax.jit(in_context), jax.jit(remember), jax.jit(recent, static_argnums=1)
CALIBRATE, CONDITION = jax.jit(calibrate), jax.jit(condition)


def vector(values):
    return jnp.asarray(values, dtype=float)


@jax.jit
def fill(config, prompt, preference, reward, keep):
    """The memory after the records of the mask."""

    def unless_left_out(memory, record):
        *record, keep = record
        return jax.tree.map(partial(jnp.where, keep), remember(memory, *record), memory), None

    return jax.lax.scan(unless_left_out, empty_memory(config), (prompt, preference, reward, keep))[0]


def columns(history):
    """A history of (prompt, preference, reward), oldest first, as arrays of one length and a mask."""
    padded = history + [(99, [1.0, 0.0, 0.0, 0.0], 99.0)] * (LONGEST - len(history))
    prompt, preference, reward = zip(*padded, strict=True)
    return jnp.asarray(prompt), vector(preference), vector(reward), jnp.arange(LONGEST) < len(history)


def remembered(history, config=SMALL):
    return fill(config, *columns(history))


def asked(memory, predicted, failed=False, config=SMALL):
    """The preference, as NumPy, and the regime."""
    preference, regime = IN_CONTEXT(memory, vector(predicted), failed, vector(FALLBACK), config)
    return np.asarray(preference), int(regime)


def random_history(seed, count):
    """Preferences around two centres, and noisy rewards that rise or fall."""
    generator = np.random.default_rng(seed)
    centre = random_preferences(seed, 2)[(generator.random(count) < 0.2).astype(int)]
    preference = 0.6 * centre + 0.4 * random_preferences(seed + 1, count)
    reward = 0.1 * np.arange(count) * generator.choice([-1, 1]) + generator.normal(size=count) / 5
    return [(place, list(s), float(r)) for place, (s, r) in enumerate(zip(preference, reward, strict=True))]


# --- ring buffer ---


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 6, 12])
def test_the_most_recent_records_come_first(count):
    history = random_history(0, count)
    memory = remembered(history)
    records = RECENT(memory, 4)
    expected = twin.window(history, 5, 4)[::-1]
    held = len(expected)
    assert int(memory.count) == min(count, 5)
    assert records.valid.tolist() == [True] * held + [False] * (4 - held)
    assert records.prompt.tolist() == [prompt for prompt, _, _ in expected] + [NO_PROMPT] * (4 - held)
    for row, (_, preference, reward) in enumerate(expected):
        assert np.asarray(records.preference[row]) == pytest.approx(preference, abs=1e-7)
        assert float(records.reward[row]) == pytest.approx(reward, abs=1e-7)


def test_a_memory_of_one_record():
    memory = empty_memory(MemoryConfig(capacity=1, num_recent=1))
    for prompt, preference, reward in RISING:
        memory = REMEMBER(memory, prompt, vector(preference), reward)
    assert recent(memory, 1).prompt.tolist() == [2]
    assert (int(memory.place), int(memory.count)) == (0, 1)


def test_a_memory_keeps_the_precision_it_was_made_in():
    memory = empty_memory(SMALL)
    with jax.enable_x64(True):
        assert empty_memory(SMALL).preference.dtype == empty_memory(SMALL).reward.dtype == jnp.float64
        after = REMEMBER(memory, 1, vector(QUALITY), jnp.asarray(0.5, dtype=float))
    chex.assert_trees_all_equal_shapes_and_dtypes(memory, after)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"^num_records = 6 must be in \[1, capacity = 5\]$"):
        recent(empty_memory(SMALL), 6)
    for changes, message in (
        ({"num_recent": 33}, "num_recent = 33 must be in [1, capacity = 32]"),
        ({"num_recent": 0}, "num_recent = 0 must be in [1, capacity = 32]"),
        ({"distance_scale": 0.0}, "distance_scale = 0.0 must be > 0"),
        ({"distance_scale": math.nan}, "distance_scale = nan must be > 0"),
        ({"prediction_variance": -1}, "prediction_variance = -1 must be >= 0"),
    ):
        with pytest.raises(ValueError) as refusal:
            MemoryConfig(**changes)
        assert str(refusal.value) == message


# --- statistics ---


def test_consistency_by_hand():
    # cos(a, b) = 1 / sqrt(2), cos(a, c) = 0, cos(b, c) = 1 / sqrt(2): the mean is sqrt(2) / 3 = 0.4714.
    rows = vector([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0]])
    found = jax.jit(jax.vmap(consistency, (None, 0)))(rows, FIRST)
    assert np.asarray(found) == pytest.approx([0, 0, 1 / math.sqrt(2), math.sqrt(2) / 3], abs=1e-6)


def test_trend_by_hand():
    # In time the rewards are 1, 2, 6: sum (t - 1)(r - 3) = 2 + 0 + 3 = 5, sum (t - 1)^2 = 2. The last two: 6 - 2.
    found = jax.jit(jax.vmap(reward_trend, (None, 0)))(vector([6, 2, 1]), FIRST)
    assert np.asarray(found) == pytest.approx([0, 0, 4, 2.5], abs=1e-6)


def test_statistics_are_those_of_the_paper():
    histories = [random_history(seed, seed % 9) for seed in range(45)]
    # Behind the mask stands what must not count.
    padded = [history[::-1] + [(0, [9.0, 0.0, 0.0, 0.0], 99.0)] * (8 - len(history)) for history in histories]
    preference = vector([[s for _, s, _ in history] for history in padded])
    reward = vector([[r for _, _, r in history] for history in padded])
    valid = jnp.arange(8)[None] < jnp.array([[len(history)] for history in histories])

    @jax.jit
    @jax.vmap
    def statistics(preference, reward, valid):
        mean = mean_recent_preference(preference, valid, vector(FALLBACK))
        return (
            consistency(preference, valid),
            reward_trend(reward, valid),
            reward_trend(reward + 100.0, valid),
            mean,
        )

    similar, trend, shifted, mean = map(np.asarray, statistics(preference, reward, valid))
    assert similar == pytest.approx([twin.consistency(history) for history in histories], abs=1e-6)
    assert trend == pytest.approx([twin.trend(history) for history in histories], abs=1e-6)
    assert shifted == pytest.approx(trend, abs=3e-5)
    assert mean == pytest.approx(
        np.array([twin.mean(history) if history else FALLBACK for history in histories]), abs=1e-6
    )


# --- calibration and conditioning ---


def test_calibration_by_hand():
    # A right angle is d = 1/2; with d0 = 1/2 a share 1/e of the prediction is left.
    found = CALIBRATE(vector([1, 0, 0, 0]), vector([0, 1, 0, 0]), 0.5)
    assert np.asarray(found) == pytest.approx([math.exp(-1), 1 - math.exp(-1), 0, 0], abs=1e-6)
    assert np.asarray(CALIBRATE(vector(FALLBACK), vector(FALLBACK), 0.1)) == pytest.approx(FALLBACK, abs=1e-7)


def test_the_factor_falls_from_one():
    factor = np.asarray(calibration_factor(jnp.linspace(0.0, 0.5, 51), 0.3))
    assert factor[0] == 1.0
    assert (np.diff(factor) < 0).all() and factor[-1] > 0
    assert factor[30] == pytest.approx(math.exp(-1), abs=1e-6)


@given(st.integers(0, 1000), st.floats(0.01, 10))
def test_calibrated_vectors_stay_on_the_simplex_between_both(seed, distance_scale):
    predicted, mean = random_preferences(seed, 2)
    found = np.asarray(CALIBRATE(vector(predicted), vector(mean), distance_scale))
    assert found.sum() == pytest.approx(1.0, abs=1e-6)
    assert (found >= np.minimum(predicted, mean) - 1e-6).all()
    assert (found <= np.maximum(predicted, mean) + 1e-6).all()
    assert found == pytest.approx(twin.calibrated(predicted, mean, distance_scale), abs=1e-5)


def test_gradient_of_the_calibration():
    predicted, mean, step = np.array([0.1, 0.1, 0.2, 0.6]), np.array([0.5, 0.2, 0.2, 0.1]), 1e-4
    gradient = np.asarray(jax.jit(jax.jacobian(calibrate))(vector(predicted), vector(mean), 0.3))
    for column, direction in enumerate(np.eye(4)):
        ahead, behind = (
            np.array(twin.calibrated(predicted + sign * step * direction, mean, 0.3)) for sign in (1, -1)
        )
        assert gradient[:, column] == pytest.approx((ahead - behind) / (2 * step), abs=1e-5)


def test_conditioning_by_hand():
    # Mean [.6, .4, 0, 0]; variances .02, .02, 0, 0 (n - 1 = 1), so S^2 = .01 and S^2 (1 + 1/2) = .015.
    rows = vector([[0.7, 0.3, 0, 0], [0.5, 0.5, 0, 0], [9, 9, 9, 9]])
    predicted = vector([0.2, 0.0, 0.8, 0.0])
    # v = .005: w = .005 / .02 = 1/4.  v = .015: 1/2.
    for variance, expected in ((0.005, [0.3, 0.1, 0.6, 0.0]), (0.015, [0.4, 0.2, 0.4, 0.0])):
        found = CONDITION(predicted, rows, FIRST[2], variance)
        assert np.asarray(found) == pytest.approx(expected, abs=1e-6)
    assert CONDITION(predicted, rows, FIRST[2], 0.0).tolist() == predicted.tolist()
    # One intent says nothing of how they scatter; intents that are all the same leave no doubt.
    assert CONDITION(predicted, rows, FIRST[1], 0.005).tolist() == predicted.tolist()
    same = rows[:1].repeat(3, axis=0)
    assert np.asarray(CONDITION(predicted, same, FIRST[3], 0.005)) == pytest.approx(QUALITY, abs=1e-6)
    assert CONDITION(predicted, same, FIRST[3], 0.0).tolist() == predicted.tolist()


# --- regimes ---


def test_consistent_and_improving():
    near, memory = [0.6, 0.4, 0.0, 0.0], remembered(RISING)
    preference, regime = asked(memory, near)
    assert regime == CONSISTENT
    assert preference == pytest.approx(near, abs=1e-7)  # no variance: kept as it is
    # The recent intents are all the same: with any variance the prediction gives way to them.
    preference, _ = asked(memory, near, config=SMALL.replace(prediction_variance=0.01))
    assert preference == pytest.approx(QUALITY, abs=1e-6)


@pytest.mark.parametrize(
    ("history", "changes"),
    [
        ([], {}),
        (RISING[:1], {}),
        ([(0, QUALITY, 0.4), (1, QUALITY, 0.2), (2, QUALITY, 0.1)], {}),
        ([(0, QUALITY, 0.5)] * 3, {}),
        (RISING, {"min_trend": 0.2}),  # they grow by 0.15 per record
        ([(0, QUALITY, 0.1), (1, HASTE, 0.2), (2, QUALITY, 0.3)], {}),  # mean cosine 1/3
        ([], {"min_consistency": -1.0, "min_trend": -1.0, "max_distance": -1.0}),
        (RISING[:1], {"min_consistency": -1.0, "min_trend": -1.0}),
    ],
    ids=[
        "empty",
        "one record",
        "worse",
        "level",
        "too slowly",
        "mixed",
        "empty, all pass",
        "one record, all pass",
    ],
)
def test_plain(history, changes):
    near = [0.5, 0.2, 0.3, 0.0]
    preference, regime = asked(remembered(history), near, config=SMALL.replace(**changes))
    assert preference == pytest.approx(near, abs=1e-7)
    assert regime == PLAIN


def test_only_the_most_recent_records_count():
    # The last three are consistent and improve; the two before were neither.
    assert asked(remembered([(9, HASTE, 5.0), (9, HASTE, 5.0), *RISING]), QUALITY)[1] == CONSISTENT
    # One more has pushed all but two of the three out of sight.
    assert asked(remembered([*RISING, (9, HASTE, 5.0)]), QUALITY)[1] == PLAIN


def test_divergent():
    # Nothing in common: d = 1/2 > 0.3, and exp(-(1/2) / 0.5) = 1/e of the prediction is left. The memory is
    # consistent and improves as well, but an outlier is calibrated first of all.
    config, memory = SMALL.replace(distance_scale=0.5), remembered(RISING)
    preference, regime = asked(memory, HASTE, config=config)
    expected = math.exp(-1) * np.array(HASTE) + (1 - math.exp(-1)) * np.array(QUALITY)
    assert regime == DIVERGENT
    assert preference == pytest.approx(expected, abs=1e-6)
    # Nothing is farther than 1/2, so such a threshold switches calibration off.
    assert asked(memory, HASTE, config=SMALL.replace(max_distance=0.5))[1] == CONSISTENT


@pytest.mark.parametrize("nonsense", [[math.nan] * 4, [0.0] * 4, HASTE], ids=["nan", "zero", "divergent"])
def test_invalid(nonsense):
    preference, regime = asked(remembered([(9, HASTE, 0.0), *RISING]), nonsense, failed=True)
    assert regime == INVALID
    assert preference == pytest.approx(QUALITY, abs=1e-6)  # s-bar
    preference, regime = asked(empty_memory(SMALL), nonsense, failed=True)
    assert regime == INVALID
    assert preference == pytest.approx(FALLBACK, abs=1e-7)


# --- many at once ---


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "float64"])
def test_many_users_at_once_are_as_each_alone(wide):
    config = SMALL.replace(min_consistency=0.8, max_distance=0.2, prediction_variance=0.01)
    histories = [random_history(seed, seed % 9) for seed in range(40)]
    predictions, failures = random_preferences(0, 40), np.arange(40) % 7 == 0
    with jax.enable_x64(wide):
        arrays = [jnp.stack(leaves) for leaves in zip(*map(columns, histories), strict=True)]
        memories = jax.vmap(fill, (None, 0, 0, 0, 0))(config, *arrays)
        found = jax.vmap(IN_CONTEXT, (0, 0, 0, None, None))(
            memories, vector(predictions), jnp.asarray(failures), vector(FALLBACK), config
        )
        preference, regime = jax.tree.map(np.asarray, found)
    assert preference.dtype == (np.float64 if wide else np.float32)
    seen = set()
    for row, history in enumerate(histories):
        expected, name = twin.in_context(history, predictions[row], failures[row], FALLBACK, config)
        assert REGIME_NAMES[regime[row]] == name
        assert preference[row] == pytest.approx(expected, abs=1e-8 if wide else 1e-5)
        seen.add(name)
    assert seen == set(REGIME_NAMES)


def rollout(config, predicted, failed, reward):
    """One prompt after the other is understood and remembered, unless its answer failed."""

    def serve(memory, now):
        found = in_context(memory, *now[1:3], vector(FALLBACK), config)
        after = remember(memory, now[0], now[1], now[3])
        return jax.tree.map(partial(jnp.where, now[2]), memory, after), found

    return jax.lax.scan(serve, empty_memory(config), (jnp.arange(len(reward)), predicted, failed, reward))


def test_a_rollout_of_users_is_traced_once():
    generator = np.random.default_rng(0)
    users, steps = 3, 12
    predicted = random_preferences(0, users * steps).reshape(users, steps, 4)
    failed, reward = generator.random((users, steps)) < 0.2, generator.normal(size=(users, steps))
    program = jax.jit(jax.vmap(chex.assert_max_traces(rollout, n=1), (None, 0, 0, 0)))
    for config in (SMALL, SMALL.replace(max_distance=0.1, distance_scale=0.2, min_consistency=0.5)):
        memories, found = program(config, vector(predicted), jnp.asarray(failed), vector(reward))
        for user in range(users):
            history = []
            for step in range(steps):
                s, fails = predicted[user, step], failed[user, step]
                expected, name = twin.in_context(history, s, fails, FALLBACK, config)
                assert REGIME_NAMES[int(found.regime[user, step])] == name
                assert np.asarray(found.preference[user, step]) == pytest.approx(expected, abs=1e-5)
                history += [] if fails else [(step, list(s), reward[user, step])]
            assert sorted(memories.prompt[user].tolist()) == [prompt for prompt, _, _ in history[-5:]]


def test_a_lasting_change_is_followed():
    """Predictions are remembered as they are, so once k are of the new kind none is calibrated any more."""
    predicted = vector([QUALITY] * 4 + [HASTE] * 6)
    _, found = jax.jit(rollout)(SMALL, predicted, jnp.zeros(10, bool), jnp.zeros(10))
    # HASTE is 90, 61, 25 and 0 degrees from the means of Q Q Q, Q Q H, Q H H and H H H; 54 degrees are 0.3.
    assert found.regime.tolist() == [PLAIN] * 4 + [DIVERGENT] * 2 + [PLAIN] * 4


@jax.jit
@partial(jax.grad, argnums=(0, 1, 2, 3), allow_int=True)
def gradients(memory, predicted, fallback, config, failed):
    return in_context(memory, predicted, failed, fallback, config).preference @ vector([1, 2, 3, 4])


@pytest.mark.parametrize("count", [0, 1, 3, 7])
@pytest.mark.parametrize("variance", [0.0, 0.01])
def test_gradients_are_finite(count, variance):
    memory = remembered([(0, QUALITY, 0.1 * place) for place in range(count)])
    config = SMALL.replace(prediction_variance=variance)
    for predicted, failed in (
        (QUALITY, False),
        (HASTE, False),
        ([0.6, 0.4, 0.0, 0.0], False),
        ([0.0] * 4, True),
    ):
        found = gradients(memory, vector(predicted), vector(FALLBACK), config, failed)
        for leaf in jax.tree.leaves(found):
            assert leaf.dtype == jax.dtypes.float0 or np.isfinite(leaf).all()
        # The fallback counts for a failed answer without memory, the prediction for all that did not fail.
        assert np.any(found[2]) == (failed and count == 0)
        assert np.any(found[1]) != failed or (variance > 0 and count > 1)


def test_the_defaults_tell_applications_apart():
    """The shares that the docstring of MemoryConfig gives, drawn anew from the shipped history."""
    groups = {}
    for record in load_history():
        groups.setdefault(record.application, []).append(record.preference)
    own = [np.array(group) for group in groups.values()]
    generator, config = np.random.default_rng(0), MemoryConfig()
    k, half, draws = config.num_recent, config.num_recent // 2, 60
    counts = np.zeros(4)
    for mine in own * draws:
        stranger = generator.choice([place for place, group in enumerate(own) if group is not mine])
        (*seen, new), strange = generator.permutation(mine)[: k + 1], generator.permutation(own[stranger])
        records, mixed = ([(0, s, 0.0) for s in rows] for rows in (seen, [*seen[:half], *strange[:half]]))
        mean = twin.mean(records)
        counts += [twin.consistency(group) >= config.min_consistency for group in (records, mixed)] + [
            distance(s, mean) > config.max_distance for s in (new, strange[-1])
        ]
    assert counts / (draws * len(own)) == pytest.approx([0.60, 0.27, 0.09, 0.36], abs=0.06)
