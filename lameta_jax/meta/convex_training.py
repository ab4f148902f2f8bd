"""MAN on convex problems whose population losses are known, on many data sets at once: generalisation errors measured.

Plain (5) and (6): no thresholds, and S of K agents drawn anew in every round.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from lameta_jax.meta.adaptation import MetaGradient, adapt, descend, meta_gradient
from lameta_jax.meta.convex import Batch
from lameta_jax.meta.errors import generalisation_error
from lameta_jax.meta.logistic import Logistic
from lameta_jax.meta.ridge import Ridge

ConvexProblem = Ridge | Logistic


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Sizes of a run, which Theorem 1 depends on."""

    num_collaborators: int  # S, at most the problem's agents
    num_samples: int  # D of each agent, even: halves are D_in and D_out
    batch_size: int  # B, samples of a step of adaptation, drawn from D_in with replacement
    outer_batch_size: int = 8  # of a meta-gradient, drawn from D_out with replacement
    num_steps: int = 1  # E
    rounds: tuple[int, ...] = (100,)  # T at which errors are measured, ascending; 0 is before any training
    order: MetaGradient = "second_order"
    # What the sum of the S gradients is divided by: S, or K as printed in (6).
    divide_by: Literal["collaborators", "agents"] = "collaborators"


class Rates(NamedTuple):
    """Learning rates, which may be traced."""

    inner: Float[Array, ""]  # beta
    meta: Float[Array, ""]  # gamma


class GeneralisationGaps(NamedTuple):
    """Population less empirical loss, mean over all K agents, in three readings of MAN (1); [datasets rounds].

    adapted: (1) as printed. Models adapted on batches of D_in; empirical loss on all of D_k.
    fresh: what Theorem 1's stability argument bounds. Population: the expected loss after adaptation on fresh samples, from
      a fresh D_in; empirical: the loss on D_out after adaptation on D_in.
    foundation: the meta-model itself without adaptation; empirical loss on all of D_k.
    """

    adapted: Float[Array, "datasets rounds"]
    fresh: Float[Array, "datasets rounds"]
    foundation: Float[Array, "datasets rounds"]


class _Halves(NamedTuple):
    """The data of all agents."""

    inner: Batch  # D_in, [agents samples/2 ...]
    outer: Batch


@partial(jax.jit, static_argnames=("num_datasets", "config"))
def measure_generalisation(
    key: Key[Array, ""], problem: ConvexProblem, rates: Rates, num_datasets: int, config: TrainingConfig
) -> GeneralisationGaps:
    """Train a meta-model on each of many independent data sets and measure its generalisation errors.

    The population loss is exact. What remains is the luck of each data set, of which most is taken away without bias:
    from the gap of a data set's own models, that of models which were made from another data set is subtracted, on the
    same samples. Its expectation is 0, and it is nearly as lucky.

    Args:
      key: of data, batches and collaborators.
      num_datasets: at least 3.

    Raises:
      ValueError: sizes that do not fit each other.
    """
    num_agents, dims = problem.targets.shape
    if num_datasets < 3 or config.num_samples % 2 or config.num_collaborators > num_agents:
        raise ValueError(f"{num_datasets} data sets and {config} do not fit {num_agents} agents")
    for_data, for_training, for_batches = jax.random.split(key, 3)
    data = jax.vmap(lambda key: _halves(key, problem, config))(jax.random.split(for_data, num_datasets))
    keys = jax.random.split(for_training, num_datasets)
    models = jax.vmap(lambda key, data: _train(key, problem, data, rates, config))(keys, data)
    before = jnp.zeros((num_datasets, 1, dims))
    models = jnp.concatenate([before, models], axis=1)[:, jnp.asarray(config.rounds)]
    indices = jax.random.randint(
        for_batches,
        (num_datasets, num_agents, config.num_steps, config.batch_size),
        0,
        config.num_samples // 2,
    )

    def gaps(models):
        measure = partial(_gaps, problem, rates)
        return jax.vmap(
            lambda models, *rest: jax.vmap(lambda model: measure(model, *rest))(models),
        )(models, data, _next(_next(data)).inner, indices)

    return jax.tree.map(jnp.subtract, gaps(models), gaps(_next(models)))


def _next(tree: PyTree) -> PyTree:
    """What belongs to the next data set."""
    return jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), tree)


def _halves(key: Key[Array, ""], problem: ConvexProblem, config: TrainingConfig) -> _Halves:
    data, half = problem.sample(key, config.num_samples), config.num_samples // 2
    return _Halves(
        jax.tree.map(lambda leaf: leaf[:, :half], data), jax.tree.map(lambda leaf: leaf[:, half:], data)
    )


def _train(
    key: Key[Array, ""], problem: ConvexProblem, data: _Halves, rates: Rates, config: TrainingConfig
) -> Float[Array, "rounds dims"]:
    """The meta-model after every round, from 0."""
    num_agents, dims = problem.targets.shape
    half, chosen = config.num_samples // 2, config.num_collaborators
    divisor = chosen if config.divide_by == "collaborators" else num_agents

    def play(model, key):
        for_agents, for_inner, for_outer = jax.random.split(key, 3)
        agents = jax.random.choice(for_agents, num_agents, (chosen,), replace=False)
        inner = jax.random.randint(for_inner, (chosen, config.num_steps, config.batch_size), 0, half)
        outer = jax.random.randint(for_outer, (chosen, config.outer_batch_size), 0, half)

        def gradient(agent, inner, outer):
            batches = jax.tree.map(lambda leaf: leaf[agent, inner], data.inner)
            batch = jax.tree.map(lambda leaf: leaf[agent, outer], data.outer)
            return meta_gradient(problem.loss, model, batches, batch, rates.inner, config.order)[1]

        total = jnp.sum(jax.vmap(gradient)(agents, inner, outer), axis=0)
        model = descend(model, total / divisor, rates.meta)
        return model, model

    return jax.lax.scan(play, jnp.zeros(dims), jax.random.split(key, max(config.rounds)))[1]


def _gaps(
    problem: ConvexProblem, rates: Rates, model: Array, data: _Halves, fresh: Batch, indices: Array
) -> GeneralisationGaps:
    """The three gaps of one meta-model on one data set."""

    def adapted_on(source):
        batches = jax.vmap(lambda agent, index: jax.tree.map(lambda leaf: leaf[index], agent))(
            source, indices
        )
        return jax.vmap(lambda batches: adapt(problem.loss, model, batches, rates.inner))(batches)

    def losses(models, half):
        return jax.vmap(problem.loss)(models, half)

    def everywhere(models):
        return (losses(models, data.inner) + losses(models, data.outer)) / 2

    adapted, same = adapted_on(data.inner), jnp.broadcast_to(model, problem.targets.shape)
    return GeneralisationGaps(
        adapted=generalisation_error(problem.population_loss(adapted), everywhere(adapted)),
        fresh=generalisation_error(
            problem.population_loss(adapted_on(fresh)), losses(adapted, data.outer)
        ),
        foundation=generalisation_error(problem.population_loss(same), everywhere(same)),
    )
