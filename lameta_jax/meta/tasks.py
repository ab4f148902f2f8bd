"""Environments of agents: who holds which samples of a data set, drawn with label skew or as the data has it."""

from collections.abc import Sequence
from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

Rows = Int[np.ndarray, " _"]
"""Rows of an array of samples."""


def dirichlet_proportions(
    rng: np.random.Generator, num_classes: int, num_agents: int, concentration: float
) -> Float[np.ndarray, "classes agents"]:
    """Which share of each class each agent gets: for each class a draw of the symmetric Dirichlet distribution.

    Reference: Hsu, Qi and Brown, Measuring the effects of non-identical data distribution, 2019; MAN, Sec. V-A.

    Args:
      concentration: p of MAN, > 0. Small ones give whole classes to single agents, large ones even shares.

    Raises:
      ValueError: a number is not positive.
    """
    if min(num_classes, num_agents) < 1 or not 0 < concentration < np.inf:
        raise ValueError(
            f"num_classes = {num_classes}, num_agents = {num_agents} and concentration = {concentration} "
            "must be > 0 and finite"
        )
    return rng.dirichlet(np.full(num_agents, float(concentration)), size=num_classes)


def split_by_proportions(
    labels: Int[np.ndarray, " samples"],
    proportions: Float[np.ndarray, "classes agents"],
    rng: np.random.Generator,
    minimum: int = 1,
) -> list[Rows]:
    """Split samples so that every one is in exactly one agent's part, in ascending order.

    Each class is shuffled and cut where its cumulated proportions, times its size, round to. Agents that are then
    short of `minimum` samples get random ones of the agent that has most, one at a time, the shortest first. The
    same proportions can split a training and a test set, so that both are distributed alike for each agent.

    Args:
      labels: classes, from 0.
      proportions: as from `dirichlet_proportions`; each class's sum to 1.
      minimum: samples that every agent gets at least.

    Raises:
      ValueError: a label has no proportions, they do not sum to 1, or there are fewer samples than agents need.
    """
    num_classes, num_agents = proportions.shape
    if np.any(proportions < 0) or not np.allclose(proportions.sum(1), 1):
        raise ValueError("the proportions of a class must not be negative and must sum to 1")
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise ValueError(
            f"labels from {labels.min()} to {labels.max()} must be in [0, {num_classes}), the classes with proportions"
        )
    if len(labels) < minimum * num_agents:
        raise ValueError(f"{len(labels)} samples are too few for {num_agents} agents with {minimum} at least")
    pieces: list[list[np.ndarray]] = [[] for _ in range(num_agents)]
    for label in range(num_classes):
        rows = rng.permutation(np.flatnonzero(labels == label))
        cuts = np.rint(np.cumsum(proportions[label])[:-1] * len(rows)).astype(int)
        for own, piece in zip(pieces, np.split(rows, cuts), strict=True):
            own.append(piece)
    parts = [rng.permutation(np.concatenate(own)).tolist() for own in pieces]
    sizes = np.array([len(part) for part in parts])
    while sizes.min() < minimum:  # ends: someone then has more than the minimum, so each move fills a gap
        giver, taker = int(sizes.argmax()), int(sizes.argmin())
        parts[taker].append(parts[giver].pop())
        sizes[giver] -= 1
        sizes[taker] += 1
    return [np.sort(np.array(part, dtype=np.int64)) for part in parts]


def split_by_group(*groups: Int[np.ndarray, " samples"]) -> list[Rows]:
    """The rows that agree in all the given respects, such as user and room: environments as the data has them.

    Ordered by the values of the first respect, then of the second, and so on.

    >>> [part.tolist() for part in split_by_group(np.array([7, 5, 7, 5]), np.array([1, 1, 1, 2]))]
    [[1], [3], [0, 2]]
    """
    _, place = np.unique(np.stack(groups, axis=1), axis=0, return_inverse=True)
    return [np.flatnonzero(place == value) for value in range(place.max(initial=-1) + 1)]


def split_train_test(
    parts: Sequence[Rows], test_fraction: float, rng: np.random.Generator
) -> tuple[list[Rows], list[Rows]]:
    """Training and test rows of each part, drawn at random without regard to labels; each gets at least one row.

    Args:
      test_fraction: of each part, in (0, 1), rounded to whole rows.

    Raises:
      ValueError: the fraction is out of range, or a part has fewer than two rows.
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction = {test_fraction} must be in (0, 1)")
    training, test = [], []
    for agent, part in enumerate(parts):
        if len(part) < 2:
            raise ValueError(
                f"parts[{agent}] has {len(part)} rows: at least 2 are needed, to train and to test"
            )
        count = min(max(round(len(part) * test_fraction), 1), len(part) - 1)
        shuffled = rng.permutation(part)
        training.append(np.sort(shuffled[count:]))
        test.append(np.sort(shuffled[:count]))
    return training, test


# no_type_check: under vmap the same class holds one agent's rows.
@no_type_check
@flax.struct.dataclass
class Environments:
    """Who holds which rows of an array of samples that all agents share."""

    index: Int[Array, "agents capacity"]  # an agent's rows, then the same again up to the capacity
    size: Int[Array, " agents"]  # rows that the agent holds, >= 1


def environments(parts: Sequence[Rows], capacity: int | None = None) -> Environments:
    """The parts as arrays.

    Args:
      capacity: what the arrays have room for; by default the largest part. Equal ones let splits share a program.

    Raises:
      ValueError: there are none, one is empty, or one is larger than the capacity.
    """
    sizes = [len(part) for part in parts]
    if not all(sizes) or not sizes:
        raise ValueError(f"parts with {sizes} rows: there must be some, and none without rows")
    capacity = max(sizes) if capacity is None else capacity
    if max(sizes) > capacity:
        raise ValueError(f"capacity = {capacity} must be at least {max(sizes)}, the rows of the largest part")
    index = np.stack([np.resize(part, capacity) for part in parts])  # np.resize repeats
    return Environments(jnp.asarray(index, dtype=jnp.int32), jnp.asarray(sizes, dtype=jnp.int32))


def rows_of(held: Environments) -> list[Rows]:
    """The parts that `environments` made arrays of."""
    return [row[:size] for row, size in zip(np.asarray(held.index), np.asarray(held.size), strict=True)]


def halves(held: Environments, rng: np.random.Generator) -> tuple[Environments, Environments]:
    """D_in and D_out of MAN, Sec. III: a random half of each agent's rows, and the rest, which may be one more.

    Raises:
      ValueError: an agent has only one row.
    """
    shuffled = [rng.permutation(part) for part in rows_of(held)]
    lone = [agent for agent, part in enumerate(shuffled) if len(part) < 2]
    if lone:
        raise ValueError(f"agents {lone} have only one row, which cannot be halved")
    capacity = (held.index.shape[1] + 1) // 2
    inner = environments([part[: len(part) // 2] for part in shuffled], capacity)
    outer = environments([part[len(part) // 2 :] for part in shuffled], capacity)
    return inner, outer


def select(held: Environments, agents: Int[Array | np.ndarray, " chosen"] | Sequence[int]) -> Environments:
    """The environments of some agents, such as those seen in training; the capacity stays."""
    chosen = jnp.asarray(agents, dtype=jnp.int32)
    return jax.tree.map(lambda leaf: leaf[chosen], held)


def sample_rows(
    key: Array, index: Int[Array, " capacity"], size: Int[Array, ""], shape: tuple[int, ...]
) -> Int[Array, "..."]:
    """Rows of one agent, drawn uniformly with replacement; `shape` such as (steps, batch).

    Args:
      index: the agent's rows in `Environments`.
      size: how many of them are valid.
    """
    return index[jax.random.randint(key, shape, 0, size)]
