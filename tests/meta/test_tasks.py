"""Who holds which samples: every sample once, as skewed as asked for, and drawn uniformly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lameta_jax.meta.tasks import (
    dirichlet_proportions,
    environments,
    halves,
    rows_of,
    sample_rows,
    select,
    split_by_group,
    split_by_proportions,
    split_train_test,
)

SEEDS = st.integers(0, 2**32 - 1)


def counts(labels, parts, num_classes):
    """Samples of each class and agent."""
    return np.stack([np.bincount(labels[part], minlength=num_classes) for part in parts], axis=1)


def even_labels(num_classes, each):
    return np.tile(np.arange(num_classes), each)


@pytest.mark.parametrize("concentration", [0.1, 0.5, 5.0])
def test_proportions_have_the_moments_of_a_dirichlet_distribution(concentration):
    agents = 5
    drawn = dirichlet_proportions(np.random.default_rng(0), 20_000, agents, concentration)
    assert drawn.sum(1) == pytest.approx(np.ones(20_000))
    variance = (1 / agents) * (1 - 1 / agents) / (agents * concentration + 1)
    assert drawn.mean(0) == pytest.approx(np.full(agents, 1 / agents), abs=0.01)
    assert drawn.var(0) == pytest.approx(np.full(agents, variance), rel=0.05)


@given(
    st.lists(st.integers(0, 4), min_size=12, max_size=200),
    st.integers(1, 6),
    st.floats(1e-3, 1e3),
    st.integers(0, 2),
    SEEDS,
)
def test_every_sample_is_in_one_part_and_no_part_is_short(labels, agents, concentration, minimum, seed):
    labels, rng = np.array(labels), np.random.default_rng(seed)
    parts = split_by_proportions(
        labels, dirichlet_proportions(rng, 5, agents, concentration), rng, minimum=minimum
    )
    assert len(parts) == agents
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert min(map(len, parts)) >= minimum
    assert all((np.diff(part) > 0).all() for part in parts)


@given(st.integers(1, 7), st.integers(1, 40), SEEDS)
def test_great_concentration_gives_even_parts(agents, each, seed):
    labels, rng = even_labels(3, each), np.random.default_rng(seed)
    parts = split_by_proportions(labels, dirichlet_proportions(rng, 3, agents, 1e9), rng, minimum=0)
    assert np.abs(counts(labels, parts, 3) - each / agents).max() <= 1


@given(SEEDS)
def test_tiny_concentration_gives_whole_classes_to_single_agents(seed):
    labels, rng = even_labels(4, 30), np.random.default_rng(seed)
    parts = split_by_proportions(labels, dirichlet_proportions(rng, 4, 6, 1e-4), rng, minimum=0)
    assert np.array_equal(np.sort(counts(labels, parts, 4), axis=1)[:, -1], np.full(4, 30))


@given(st.floats(0.05, 10), SEEDS)
def test_training_and_test_sets_are_distributed_alike(concentration, seed):
    rng = np.random.default_rng(seed)
    proportions = dirichlet_proportions(rng, 3, 4, concentration)
    for labels, each in ((even_labels(3, 90), 90), (even_labels(3, 15), 15)):
        parts = split_by_proportions(labels, proportions, rng, minimum=0)
        assert (
            np.abs(counts(labels, parts, 3) - each * proportions).max() <= 1
        )  # two cuts, half a sample each


def test_which_samples_of_a_class_an_agent_gets_is_random():
    rng, hits = np.random.default_rng(0), np.zeros(10)
    for _ in range(2000):
        first, _ = split_by_proportions(np.zeros(10, dtype=int), np.array([[0.3, 0.7]]), rng)
        hits[first] += 1
    assert hits.sum() == 3 * 2000
    assert np.abs(hits / 2000 - 0.3).max() < 4 * (0.3 * 0.7 / 2000) ** 0.5


def test_gaps_are_filled_from_whoever_has_most():
    proportions = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    labels = np.array([0] * 20 + [1] * 10)
    parts = split_by_proportions(labels, proportions, np.random.default_rng(0), minimum=8)
    assert [len(part) for part in parts] == [12, 10, 8]
    assert counts(labels, parts, 2).tolist() == [[12, 0, 8], [0, 10, 0]]


def test_the_seed_decides():
    def split(seed):
        rng = np.random.default_rng(seed)
        labels = even_labels(3, 20)
        return [
            part.tolist() for part in split_by_proportions(labels, dirichlet_proportions(rng, 3, 4, 0.5), rng)
        ]

    assert split(1) == split(1) != split(2)


@pytest.mark.parametrize(
    ("labels", "proportions", "minimum", "words"),
    [
        ([0, 2], [[1.0], [1.0]], 1, r"labels from 0 to 2 must be in \[0, 2\)"),
        ([-1, 0], [[1.0]], 1, "labels from -1 to 0"),
        ([0, 0], [[0.5, 0.4]], 1, "sum to 1"),
        ([0, 0], [[1.5, -0.5]], 1, "negative"),
        ([0, 0], [[np.nan, 1.0]], 1, "sum to 1"),
        ([0, 0, 0], [[0.5, 0.5]], 2, "3 samples are too few for 2 agents with 2 at least"),
    ],
)
def test_a_split_that_cannot_be_is_refused(labels, proportions, minimum, words):
    with pytest.raises(ValueError, match=words):
        split_by_proportions(np.array(labels), np.array(proportions), np.random.default_rng(0), minimum)


@pytest.mark.parametrize(
    ("classes", "agents", "concentration"),
    [(0, 1, 1.0), (1, 0, 1.0), (1, 1, 0.0), (1, 1, -1.0), (1, 1, np.nan), (1, 1, np.inf)],
)
def test_proportions_that_cannot_be_are_refused(classes, agents, concentration):
    with pytest.raises(ValueError, match="must be > 0 and finite"):
        dirichlet_proportions(np.random.default_rng(0), classes, agents, concentration)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 2)), min_size=1, max_size=60))
def test_groups_are_those_that_a_dictionary_finds(pairs):
    found: dict[tuple[int, int], list[int]] = {}
    for row, pair in enumerate(pairs):
        found.setdefault(pair, []).append(row)
    user, room = np.array(pairs).T
    assert [part.tolist() for part in split_by_group(user, room)] == [found[pair] for pair in sorted(found)]


@given(st.lists(st.integers(2, 30), min_size=1, max_size=5), st.floats(0.01, 0.99), SEEDS)
def test_training_and_test_rows_are_the_part(sizes, fraction, seed):
    parts = [100 * agent + np.arange(size) for agent, size in enumerate(sizes)]
    training, test = split_train_test(parts, fraction, np.random.default_rng(seed))
    for part, train, held_out in zip(parts, training, test, strict=True):
        assert sorted([*train, *held_out]) == part.tolist()
        assert len(train) >= 1 and len(held_out) >= 1
        assert abs(len(held_out) - fraction * len(part)) <= 1


def test_train_and_test_need_two_rows_and_a_fraction():
    with pytest.raises(ValueError, match=r"parts\[1\] has 1 rows"):
        split_train_test([np.arange(2), np.arange(1)], 0.5, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"test_fraction = 1.0 must be in \(0, 1\)"):
        split_train_test([np.arange(2)], 1.0, np.random.default_rng(0))


PARTS = [np.array([3, 1, 4]), np.array([5, 9, 2, 6, 8]), np.array([7, 0])]


def test_environments_are_the_parts_padded_with_their_own_rows():
    held = environments(PARTS)
    assert held.size.tolist() == [3, 5, 2]
    assert held.index.tolist() == [[3, 1, 4, 3, 1], [5, 9, 2, 6, 8], [7, 0, 7, 0, 7]]
    assert [part.tolist() for part in rows_of(held)] == [part.tolist() for part in PARTS]
    roomy = environments(PARTS, 8)
    assert roomy.index.shape == (3, 8) and roomy.index[0].tolist() == [3, 1, 4, 3, 1, 4, 3, 1]
    assert [part.tolist() for part in rows_of(roomy)] == [part.tolist() for part in PARTS]
    with pytest.raises(ValueError, match="capacity = 4 must be at least 5"):
        environments(PARTS, 4)


@pytest.mark.parametrize("parts", [[], [np.arange(2), np.arange(0)]])
def test_an_agent_without_rows_is_refused(parts):
    with pytest.raises(ValueError, match="there must be some, and none without rows"):
        environments(parts)


def test_some_environments_are_selected():
    seen = select(environments(PARTS), [2, 0])
    assert [part.tolist() for part in rows_of(seen)] == [[7, 0], [3, 1, 4]]


@given(st.lists(st.integers(2, 15), min_size=1, max_size=5), SEEDS)
def test_halves_are_disjoint_complete_and_of_a_size(sizes, seed):
    parts = [100 * agent + np.arange(size) for agent, size in enumerate(sizes)]
    inner, outer = halves(environments(parts), np.random.default_rng(seed))
    for part, first, second in zip(parts, rows_of(inner), rows_of(outer), strict=True):
        assert sorted([*first, *second]) == part.tolist()
        assert len(second) - len(first) in (0, 1)


def test_halves_are_random():
    held, rng = environments([np.arange(6)]), np.random.default_rng(0)
    share = np.zeros(6)
    for _ in range(400):
        share[rows_of(halves(held, rng)[0])[0]] += 1 / 400
    assert np.abs(share - 0.5).max() < 4 * 0.5 / 400**0.5


def test_a_single_row_cannot_be_halved():
    with pytest.raises(ValueError, match=r"agents \[1\] have only one row"):
        halves(environments([np.arange(2), np.arange(1)]), np.random.default_rng(0))


def test_sampled_rows_are_valid_and_uniform():
    held = environments(PARTS)
    keys = jax.random.split(jax.random.key(0), 3)
    draw = jax.jit(
        jax.vmap(lambda key, index, size: sample_rows(key, index, size, (30, 200)), in_axes=(0, 0, 0))
    )
    for part, rows in zip(PARTS, np.asarray(draw(keys, held.index, held.size)), strict=True):
        assert rows.shape == (30, 200)
        found, times = np.unique(rows, return_counts=True)
        assert found.tolist() == sorted(part.tolist())  # each of its rows, and no other
        assert stats.chisquare(times).pvalue > 1e-3


def test_environments_pass_through_transformations():
    held = environments(PARTS)
    total = jax.jit(jax.vmap(lambda one: one.index[0] + one.size))(held)
    assert total.tolist() == [3 + 3, 5 + 5, 7 + 2]
    assert jax.tree.map(jnp.shape, jax.device_get(held)).index == (3, 5)
