"""The classification problems of the MAN paper: data, environments of agents, and the CNN (Sec. V-A)."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lameta_jax.meta.agents import Agents
from lameta_jax.meta.cnn import DIGITS_CNN, MNIST_CNN, WIDAR_CNN, CNNConfig
from lameta_jax.meta.datasets import Samples, load_digits
from lameta_jax.meta.mnist import load_mnist
from lameta_jax.meta.tasks import (
    Environments,
    Rows,
    dirichlet_proportions,
    environments,
    halves,
    split_by_group,
    split_by_proportions,
    split_train_test,
)
from lameta_jax.meta.widar import load_widar

DataName = Literal["digits", "mnist", "widar"]
MINIMUM = 10  # samples that an environment has at least, to train and to test each
TEST_FRACTION = 0.2


@dataclass(frozen=True, kw_only=True)
class ProblemConfig:
    """Which data, and how it is spread over environments."""

    data: DataName = "digits"
    seen: int = 10  # agents that train, K
    unseen: int = 5  # agents that join later
    concentration: float = 0.5  # p of the Dirichlet split; Widar3.0 has environments of its own
    tuning: bool = False  # test on held-out training samples, for choosing rates


class Group(NamedTuple):
    """Agents with their data; leaves have a leading axis of agents."""

    agents: Agents  # what they learn from, in halves
    held: Environments  # both halves together
    test: Environments  # what they are tested on


class Problem(NamedTuple):
    """All that training and testing need."""

    cnn: CNNConfig
    samples: Samples  # JAX arrays
    seen: Group
    unseen: Group


def make_problem(config: ProblemConfig, seed: int) -> Problem:
    """The environments of a seed.

    MNIST and the digits are spread by a Dirichlet split with the same proportions for training and test samples. In
    Widar3.0 an environment is a user in a room (16 of them); the seed chooses which are seen and unseen. A fifth of the
    samples of the digits and of Widar3.0 are for testing, the same ones for every seed.

    With `tuning`, test samples are not used at all: a fifth of the training samples takes their place.

    Raises:
      DatasetError: the data is missing or damaged.
    """
    rng = np.random.default_rng([seed, int(config.tuning)])
    count = config.seen + config.unseen
    if config.data == "widar":
        found = load_widar()
        samples, cnn = found.samples(), WIDAR_CNN
        parts = split_by_group(found.room, found.user)
        training, test = _train_test(parts, config.tuning)
        order = rng.permutation(len(parts))[:count]
        training, test = ([rows[place] for place in order] for rows in (training, test))
    else:
        samples, cnn, training, test = _labelled(config)
        proportions = dirichlet_proportions(rng, cnn.classes, count, config.concentration)
        training, test = (
            [rows[part] for part in split_by_proportions(samples.labels[rows], proportions, rng, MINIMUM)]
            for rows in (training, test)
        )
    arrays = jax.tree.map(jnp.asarray, samples)
    groups = (slice(0, config.seen), slice(config.seen, count))
    return Problem(cnn, arrays, *(_group(training[group], test[group], rng) for group in groups))


def _labelled(config: ProblemConfig) -> tuple[Samples, CNNConfig, Rows, Rows]:
    """Samples, and the rows to train and to test on."""
    if config.data == "mnist":
        training, test = load_mnist()
        samples, cnn = Samples(*map(np.concatenate, zip(training, test, strict=True))), MNIST_CNN
        rows, held_out = np.split(np.arange(len(samples.labels)), [len(training.labels)])
    else:
        samples, cnn = load_digits(), DIGITS_CNN
        [rows], [held_out] = split_train_test(
            [np.arange(len(samples.labels))], TEST_FRACTION, np.random.default_rng(0)
        )
    if config.tuning:
        [rows], [held_out] = split_train_test([rows], TEST_FRACTION, np.random.default_rng(1))
    return samples, cnn, rows, held_out


def _train_test(parts: list[Rows], tuning: bool) -> tuple[list[Rows], list[Rows]]:
    training, test = split_train_test(parts, TEST_FRACTION, np.random.default_rng(0))
    return split_train_test(training, TEST_FRACTION, np.random.default_rng(1)) if tuning else (training, test)


def _group(training: list[Rows], test: list[Rows], rng: np.random.Generator) -> Group:
    held, tested = (environments(parts, _capacity(parts)) for parts in (training, test))
    return Group(Agents(*halves(held, rng)), held, tested)


def _capacity(parts: list[Rows]) -> int:
    """A power of 2, so that few seeds need a program of their own."""
    return 1 << (max(map(len, parts)) - 1).bit_length()
