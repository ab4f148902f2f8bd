"""MAN's meta-learned initialisation for LAMeTA's learners: agents are edge servers, their environments applications.

In neither paper. What is meta-learned is the decoder of an E-LAM, over applications whose prompts are labelled, or a
composition policy, over applications whose users want different things; either is then adapted to an application that
it has not met. Joint training is the case of no inner steps.
"""

from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from lameta_jax.composition.learner import Trainer
from lameta_jax.distillation.losses import negative_log_likelihood
from lameta_jax.elam.minilm import NUM_PERCENTS
from lameta_jax.elam.model import abstract_decoder, log_probs_function
from lameta_jax.functional import Params
from lameta_jax.intents.preference import SUM_TOLERANCE
from lameta_jax.meta.adaptation import LossFn, MetaGradient, meta_gradient


@dataclass(frozen=True, kw_only=True)
class MetaConfig:
    """Rounds of the meta-update (MAN 6), by AdamW with a cosine decay to 0 in place of plain descent."""

    num_rounds: int = 200
    inner_steps: int = 5  # E of (MAN 5); 0: joint training
    num_inner: int = 20  # samples of D_in of every application, the rest is D_out
    order: MetaGradient = "second_order"
    meta_learning_rate: float = 1e-2  # gamma, at the start
    weight_decay: float = 1.0
    max_gradient_norm: float = 1.0


@partial(jax.jit, static_argnames=("loss_fn", "config"))
def meta_train(
    loss_fn: LossFn,
    params: Params,
    applications: PyTree,
    learning_rate: float | Float[Array, ""],
    key: Key[Array, ""],
    config: MetaConfig,
) -> tuple[Params, Float[Array, " rounds"]]:
    """An initialisation from which a few steps of gradient descent lead far, for any of the applications.

    Every round splits the samples of each application at random into D_in and D_out, adapts to D_in by `inner_steps`
    steps that use all of it (MAN 5), and moves along the mean gradient on D_out (MAN 6). Without inner steps nothing is
    split: every step is one on all samples of all applications.

    Args:
      params: to start from.
      applications: samples of each, leading axes [applications, samples].
      learning_rate: beta, of the inner steps.

    Returns:
      The initialisation, and the mean loss of the adapted models on D_out, round by round.
    """
    count, num_samples = jax.tree.leaves(applications)[0].shape[:2]
    optimiser = optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm),
        optax.adamw(
            optax.cosine_decay_schedule(config.meta_learning_rate, config.num_rounds),
            weight_decay=config.weight_decay,
        ),
    )

    def one(params, drawn):
        samples, key = drawn
        if config.inner_steps == 0:
            return jax.value_and_grad(loss_fn)(params, samples)
        order = jax.random.permutation(key, num_samples)
        chosen, rest = order[: config.num_inner], order[config.num_inner :]
        inner = _repeated(jax.tree.map(lambda leaf: leaf[chosen], samples), config.inner_steps)
        outer = jax.tree.map(lambda leaf: leaf[rest], samples)
        return meta_gradient(loss_fn, params, inner, outer, learning_rate, config.order)

    def one_round(carry, key):
        params, state = carry
        found = jax.lax.map(partial(one, params), (applications, jax.random.split(key, count)))
        loss, gradient = jax.tree.map(lambda leaf: leaf.mean(axis=0), found)
        updates, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), loss

    keys = jax.random.split(key, config.num_rounds)
    (params, _), losses = jax.lax.scan(one_round, (params, optimiser.init(params)), keys)
    return params, losses


def fine_tune(
    loss_fn: LossFn, params: Params, batch: PyTree, optimiser: optax.GradientTransformation, num_steps: int
) -> Params:
    """`num_steps` steps of any optimiser on one batch; with `optax.sgd` those of (MAN 5)."""

    def step(carry, _):
        params, state = carry
        updates, state = optimiser.update(jax.grad(loss_fn)(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimiser.init(params)), length=num_steps)[0][0]


def _repeated(batch: PyTree, count: int) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[None], (count, *leaf.shape)), batch)


class LabelledFeatures(NamedTuple):
    """Prompts as the decoder of an E-LAM reads them, with the answers wanted; axes [samples, ...]."""

    features: Float[Array, "*samples features"]
    answers: Int[Array, "*samples 4"]  # whole percents


@lru_cache(maxsize=2)
def answer_loss(name: str) -> LossFn:
    """Mean of `-log pi(answer | prompt)` of the E-LAM of that size, over its frozen encoder.

    `loss(params, batch)` with the decoder's parameters and `LabelledFeatures`; kept, so that training compiles once.
    """
    log_probs = log_probs_function(name)

    def loss(params: Params, batch: LabelledFeatures) -> Float[Array, ""]:
        answers = batch.answers[:, None]
        return negative_log_likelihood(log_probs({"decoder": params}, None, batch.features, answers)[:, 0])

    return loss


def read_features(
    name: str, params: Params, features: Float[Array, "prompts features"], fallback: Float[Array, " 4"]
) -> Float[Array, "prompts 4"]:
    """Preferences that an E-LAM reads: its greedy answers, `fallback` where four percents do not sum to 100 ± 2.

    Follows `intents.preference.parse_answer`, on arrays.
    """
    percents = abstract_decoder(name)[0](params, features, method="generate")
    total = percents.sum(axis=-1, keepdims=True)
    readable = jnp.abs(total - (NUM_PERCENTS - 1)) <= SUM_TOLERANCE
    return jnp.where(readable, percents / jnp.maximum(total, 1), fallback[None])


@dataclass(frozen=True, kw_only=True)
class PolicyMetaConfig:
    """Sizes of the meta-training of a policy."""

    num_rounds: int = 40
    inner_updates: int = 2  # of the algorithm, before the last one of a round
    applications_per_round: int = 3  # S of Algorithm 1


@partial(jax.jit, static_argnames=("trainer", "config"))
def meta_train_policy(
    trainer: Trainer,
    hyperparameters: Any,
    params: Params,
    applications: PyTree,
    key: Key[Array, ""],
    config: PolicyMetaConfig,
    *,
    since: int | Int[Array, ""],
    step: float | Float[Array, ""] = 1.0,
) -> Params:
    """An initialisation from which a few updates of an algorithm such as PPO lead far, for any application.

    Every round draws applications; in each the policy learns by itself for `inner_updates` updates and one more, and
    the initialisation moves along the mean of what the updates after the first `since` did. With `since` =
    `inner_updates` that is the first-order (MAN 6), with an update of the algorithm on episodes of its own in place of
    the gradient on D_out. With 0 it is Reptile (Nichol et al., On First-Order Meta-Learning Algorithms, 2018,
    arXiv:1803.02999).

    Args:
      trainer: of the algorithm; a policy adapts by the first of its updates, with a fresh optimiser.
      params: to start from.
      applications: pools of the algorithm's task, such as `User`s; leading axes [applications, users].
      since: in 0 ... `inner_updates`.
      step: of the initialisation, as a share of the mean move.
    """
    count = jax.tree.leaves(applications)[0].shape[0]

    def move(params: Params, drawn: tuple[Array, Array]) -> Params:
        index, key = drawn
        pool = jax.tree.map(lambda leaf: leaf[index], applications)

        def update(state, _):
            return trainer.advance(hyperparameters, state, 1)[0], state.params

        state = started(trainer, hyperparameters, params, pool, key)
        state, before = jax.lax.scan(update, state, length=config.inner_updates + 1)
        return jax.tree.map(lambda new, old: new - old[since], state.params, before)

    def one_round(params: Params, key: Array) -> tuple[Params, None]:
        key_who, key_play = jax.random.split(key)
        size = config.applications_per_round
        who = jax.random.choice(key_who, count, (size,), replace=False)
        moves = jax.lax.map(partial(move, params), (who, jax.random.split(key_play, size)))
        return jax.tree.map(lambda value, moved: value + step * moved.mean(axis=0), params, moves), None

    return jax.lax.scan(one_round, params, jax.random.split(key, config.num_rounds))[0]


def started(trainer: Trainer, hyperparameters: Any, params: Params, pool: PyTree, key: Key[Array, ""]) -> Any:
    """The state of a training that begins with given parameters."""
    return replace(trainer.init(hyperparameters, pool, key), params=params, best_params=params)
