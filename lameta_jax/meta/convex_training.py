"""MAN on convex problems whose population losses are known, on many data sets at once: generalisation errors measured.

Plain (5) and (6): no thresholds, and S of K agents drawn anew in every round.
"""

from dataclasses import dataclass, replace
from functools import partial
from math import prod
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key, PyTree

from lameta_jax.meta.adaptation import MetaGradient, adapt, descend, meta_gradient
from lameta_jax.meta.convex import Batch
from lameta_jax.meta.errors import generalisation_error
from lameta_jax.meta.logistic import Logistic
from lameta_jax.meta.ridge import Ridge

ConvexProblem = Ridge | Logistic


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Sizes of a run, which Theorem 1 depends on."""

    num_collaborators: int  # S, at most K
    num_agents: int  # K, at most the problem's: the first ones are used
    num_samples: int  # D of each agent, even: halves are D_in and D_out
    batch_size: int  # B, samples of a step of adaptation, drawn from D_in with replacement
    outer_batch_size: int = 8  # of a meta-gradient, drawn from D_out with replacement
    num_steps: int = 1  # E
    rounds: tuple[int, ...] = (64,)  # T at which errors are measured, ascending; 0 is before any training
    order: MetaGradient = "second_order"
    # What the sum of the S gradients is divided by: S, or K as printed in (6).
    divide_by: Literal["collaborators", "agents"] = "collaborators"


class Rates(NamedTuple):
    """Learning rates, which may be traced."""

    inner: Float[Array, ""]  # beta
    meta: Float[Array, ""]  # gamma


class Draws(NamedTuple):
    """Everything random of runs up to some size; smaller runs use the first part, so that sizes compare in pairs."""

    data: Batch  # [datasets agents samples ...]
    turns: Float[Array, "datasets rounds agents"]  # uniform, as all below: the S lowest take part
    inner: Float[Array, "datasets rounds inner_draws"]  # at least S E B
    outer: Float[Array, "datasets rounds outer_draws"]  # at least S outer batches
    test: Float[Array, "datasets agents test_draws"]  # at least E B


class GeneralisationGaps(NamedTuple):
    """Population less empirical loss, mean over all K agents, in three readings of MAN (1).

    adapted: (1) as printed. Models adapted on batches of D_in; empirical loss on all of D_k.
    fresh: what Theorem 1's stability argument bounds. Population: the expected loss after adaptation on fresh samples,
      from a fresh D_in; empirical: the loss on D_out after adaptation on D_in.
    foundation: the meta-model itself without adaptation; empirical loss on all of D_k.
    """

    adapted: Float[Array, "*batch"]
    fresh: Float[Array, "*batch"]
    foundation: Float[Array, "*batch"]


class _Halves(NamedTuple):
    """The data of all agents: D_in and D_out."""

    inner: Batch
    outer: Batch


@partial(jax.jit, static_argnames=("num_datasets", "configs"))
def draw_runs(
    key: Key[Array, ""], problem: ConvexProblem, num_datasets: int, configs: tuple[TrainingConfig, ...]
) -> Draws:
    """What all these runs need, for independent data sets."""
    for_data, for_turns, for_inner, for_outer, for_test = jax.random.split(key, 5)
    agents = problem.targets.shape[0]
    samples, rounds = max(c.num_samples for c in configs), max(max(c.rounds) for c in configs)
    steps = max(c.num_steps * c.batch_size for c in configs)
    inner = max(c.num_collaborators * c.num_steps * c.batch_size for c in configs)
    outer = max(c.num_collaborators * c.outer_batch_size for c in configs)
    data = jax.tree.map(
        lambda leaf: leaf.reshape(agents, num_datasets, samples, *leaf.shape[2:]).swapaxes(0, 1),
        problem.sample(for_data, num_datasets * samples),
    )
    return Draws(
        data,
        jax.random.uniform(for_turns, (num_datasets, rounds, agents)),
        jax.random.uniform(for_inner, (num_datasets, rounds, inner)),
        jax.random.uniform(for_outer, (num_datasets, rounds, outer)),
        jax.random.uniform(for_test, (num_datasets, agents, steps)),
    )


@partial(jax.jit, static_argnames="config")
def measure_generalisation(
    draws: Draws, problem: ConvexProblem, rates: Rates, config: TrainingConfig
) -> GeneralisationGaps:
    """Train a meta-model on each data set and measure its generalisation errors, [datasets rounds].

    The population loss is exact. What remains is the luck of each data set, of which most is taken away without bias:
    from the gap of a data set's own models, that of models which were made from another data set is subtracted, on the
    same samples. Its expectation is 0, and it is nearly as lucky.

    Raises:
      ValueError: fewer than 3 data sets, an odd D, or more collaborators than agents.
    """
    num_datasets, half = draws.turns.shape[0], config.num_samples // 2
    if num_datasets < 3 or config.num_samples % 2 or config.num_collaborators > config.num_agents:
        raise ValueError(f"{num_datasets} data sets do not fit {config}")
    problem = replace(problem, targets=problem.targets[: config.num_agents])
    inner, outer = (
        jax.tree.map(lambda leaf, part=part: leaf[:, : config.num_agents, part], draws.data)
        for part in (slice(half), slice(half, 2 * half))
    )
    data = _Halves(inner, outer)
    models = jax.vmap(partial(_train, problem, rates, config))(data, draws.turns, draws.inner, draws.outer)
    shape = (config.num_steps, config.batch_size)
    places = _places(draws.test[:, : config.num_agents], shape, half)
    return _gaps(problem, rates, models, data, places)


def _next(tree: PyTree) -> PyTree:
    """What belongs to the next data set."""
    return jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), tree)


def _places(uniform: Float[Array, "*batch draws"], shape: tuple[int, ...], bound: int) -> Int[Array, "..."]:
    """Uniform numbers in [0, 1) as places below the bound, the last axis in this shape; later numbers are not used."""
    used = uniform[..., : prod(shape)]
    return jnp.floor(used * bound).astype(int).reshape(*used.shape[:-1], *shape)


def _train(
    problem: ConvexProblem,
    rates: Rates,
    config: TrainingConfig,
    data: _Halves,
    turns: Float[Array, "rounds agents"],
    inner: Float[Array, "rounds inner_draws"],
    outer: Float[Array, "rounds outer_draws"],
) -> Float[Array, "times dims"]:
    """The meta-model after the rounds that are asked for; it starts at 0."""
    half, chosen = config.num_samples // 2, config.num_collaborators
    divisor = chosen if config.divide_by == "collaborators" else config.num_agents

    def gradient(model, agent, inner, outer):
        batches = jax.tree.map(lambda leaf: leaf[agent, inner], data.inner)
        batch = jax.tree.map(lambda leaf: leaf[agent, outer], data.outer)
        return meta_gradient(problem.loss, model, batches, batch, rates.inner, config.order)[1]

    def play(model, places):
        grads = jax.vmap(partial(gradient, model))(*places)
        model = descend(model, jnp.sum(grads, axis=0) / divisor, rates.meta)
        return model, model

    length = max(config.rounds)
    places = (
        jnp.argsort(turns[:length, : config.num_agents], axis=1)[:, :chosen],
        _places(inner[:length], (chosen, config.num_steps, config.batch_size), half),
        _places(outer[:length], (chosen, config.outer_batch_size), half),
    )
    start = jnp.zeros(problem.targets.shape[1], problem.targets.dtype)
    _, models = jax.lax.scan(play, start, places)
    return jnp.concatenate([start[None], models])[jnp.array(config.rounds)]


def _gaps(
    problem: ConvexProblem,
    rates: Rates,
    models: Float[Array, "datasets times dims"],
    data: _Halves,
    places: Int[Array, "datasets agents steps samples"],
) -> GeneralisationGaps:
    """The three gaps of every meta-model, less those of models that another data set made."""

    def adapted_on(models, source):
        def agent(model, source, places):
            batches = jax.tree.map(lambda leaf: leaf[places], source)
            return adapt(problem.loss, model, batches, rates.inner)

        agents = jax.vmap(agent, (None, 0, 0))
        return jax.vmap(jax.vmap(agents, (0, None, None)))(models, source, places)

    def losses(models, half):
        return jax.vmap(jax.vmap(jax.vmap(problem.loss), (0, None)))(models, half)

    def gap(models):
        everywhere = (losses(models, data.inner) + losses(models, data.outer)) / 2
        return generalisation_error(expected(models), everywhere)

    expected = jax.vmap(jax.vmap(problem.population_loss))
    times, num_agents = models.shape[1], problem.targets.shape[0]
    both = jnp.concatenate([models, _next(models)], axis=1)  # the others' meta-models as further times
    here, fresh = (adapted_on(both, source) for source in (data.inner, _next(_next(data)).inner))
    same = jnp.broadcast_to(both[:, :, None], (*both.shape[:2], num_agents, both.shape[2]))
    stability = generalisation_error(expected(fresh), losses(here, data.outer))
    others = _next(here[:, :times])  # these must not have seen this data when they adapted either
    return GeneralisationGaps(
        adapted=gap(here[:, :times]) - gap(others),
        fresh=stability[:, :times] - stability[:, times:],
        foundation=gap(same[:, :times]) - gap(same[:, times:]),
    )
