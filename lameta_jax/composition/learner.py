"""The training loop that the policy-gradient algorithms share, as one jitted function (LAMeTA Sec. V-C).

    trainer = make_trainer(config, task, surrogate)
    state, metrics = trainer.train(hyperparameters, pool, key)      # all updates in one program

A caller who wants to show progress runs `trainer.init`, then `trainer.advance` by some updates at a time, and gets the
same numbers. An algorithm is a surrogate of the objective (`ppo.py`, `reinforce.py`); what is learned is a `Task`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from lameta_jax.composition.advantages import generalised_advantages, standardised, weighted_mean
from lameta_jax.composition.task import Task, Transition
from lameta_jax.functional import Params


@dataclass(frozen=True, kw_only=True)
class LearnerConfig:
    """Sizes: fixed when the program is compiled."""

    num_updates: int = 200  # policy updates in all
    num_epochs: int = 4  # passes over the data of one update
    num_minibatches: int = 4  # minibatches per pass; divides the episodes per slot


@no_type_check
@flax.struct.dataclass(kw_only=True)
class Hyperparameters:
    """Numbers worth sweeping: traced, so that a new value compiles nothing and an array can be vmapped."""

    learning_rate: Float[Array, ""] | float = 2e-3  # at the start; falls linearly to 0
    gamma: Float[Array, ""] | float = 1.0  # discount of (40)
    gae_lambda: Float[Array, ""] | float = 0.95  # lambda of (42)
    entropy_coefficient: Float[Array, ""] | float = 0.05  # at the start; falls linearly to 0
    value_coefficient: Float[Array, ""] | float = 0.5
    value_clip: Float[Array, ""] | float = float("inf")  # how far a value may move from the old one; inf: any
    max_grad_norm: Float[Array, ""] | float = 0.5  # global norm


@no_type_check
@flax.struct.dataclass
class TrainState:
    """Everything that training carries from update to update, so that it can be cut between them."""

    params: Params
    opt_state: Any
    best_params: Params  # those whose episodes had the greatest mean return so far
    best_reward: Float[Array, ""]
    pool: PyTree  # what episodes are drawn from, such as users
    key: Key[Array, ""]
    num_updates: Int[Array, ""]  # done so far


class Trainer(NamedTuple):
    """`train` = `init`, then `advance` by all updates."""

    init: Callable[[Any, PyTree, Key[Array, ""]], TrainState]
    advance: Callable[[Any, TrainState, int], tuple[TrainState, dict[str, Array]]]
    train: Callable[[Any, PyTree, Key[Array, ""]], tuple[TrainState, dict[str, Array]]]


Surrogate = Callable[[Any, Array, Array, Array], Array]
"""`(hyperparameters, log_prob, old_log_prob, advantage)` to a loss per action, to be averaged and minimised."""


def value_loss(
    value: Float[Array, "*batch"],
    old_value: Float[Array, "*batch"],
    target: Float[Array, "*batch"],
    value_clip: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    """Half the squared error of the critic (39) against its target A + V.

    The larger one of the value as it is and of the value held within `value_clip` of the old one, so that an update
    gains nothing by moving farther; infinity leaves the plain error.
    """
    held = old_value + jnp.clip(value - old_value, -value_clip, value_clip)
    return 0.5 * jnp.maximum((value - target) ** 2, (held - target) ** 2)


def make_trainer(config: LearnerConfig, task: Task, surrogate: Surrogate) -> Trainer:
    """Builds the training program of a task.

    Every update plays episodes, then takes `num_epochs * num_minibatches` Adam steps on the surrogate, the critic and
    the entropy. Learning rate and entropy coefficient fall linearly to zero over the `num_updates` of the config.

    Returns:
      Jitted functions. `train(hyperparameters, pool, key)` gives the final state and metrics with a leading axis of
      updates; it may be vmapped over keys, hyperparameters and pools. A pool of the same shapes compiles nothing anew.
    """

    def init(hyperparameters, pool, key):
        key_params, key_state = jax.random.split(key)
        params = task.init(key_params)
        return TrainState(
            params=params,
            opt_state=_optimizer(hyperparameters).init(params),
            best_params=params,
            best_reward=jnp.asarray(-jnp.inf),
            pool=pool,
            key=key_state,
            num_updates=jnp.asarray(0),
        )

    def update(hyperparameters, state):
        key, key_collect = jax.random.split(state.key)
        context, batch, metrics = task.collect(state.params, state.pool, key_collect)
        better = metrics["episode/reward"] > state.best_reward
        keep_better = partial(jax.tree.map, lambda new, old: jnp.where(better, new, old))
        advantages = jax.vmap(partial(normalised_advantages, hyperparameters))(batch)
        left = jnp.maximum(1.0 - state.num_updates / config.num_updates, 0.0)
        annealed = replace(
            hyperparameters,
            learning_rate=hyperparameters.learning_rate * left,
            entropy_coefficient=hyperparameters.entropy_coefficient * left,
        )

        def minibatch_step(carry, minibatch):
            params, opt_state = carry
            loss = partial(actor_critic_loss, task, surrogate, annealed)
            grads, parts = jax.grad(loss, has_aux=True)(params, context, *minibatch)
            steps, opt_state = _optimizer(annealed).update(grads, opt_state, params)
            return (optax.apply_updates(params, steps), opt_state), parts

        # The episodes are drawn independently, so any partition of them is a random one: no shuffling.
        minibatches = jax.tree.map(partial(_split_episodes, config.num_minibatches), (batch, advantages))
        (params, opt_state), parts = jax.lax.scan(
            lambda carry, _: jax.lax.scan(minibatch_step, carry, minibatches),
            (state.params, state.opt_state),
            length=config.num_epochs,
        )
        state = replace(
            state,
            params=params,
            opt_state=opt_state,
            best_params=keep_better(state.params, state.best_params),
            best_reward=jnp.maximum(metrics["episode/reward"], state.best_reward),
            key=key,
            num_updates=state.num_updates + 1,
        )
        return state, metrics | jax.tree.map(jnp.mean, parts)

    def advance(hyperparameters, state, num_updates):
        return jax.lax.scan(lambda s, _: update(hyperparameters, s), state, length=num_updates)

    def train(hyperparameters, pool, key):
        return advance(hyperparameters, init(hyperparameters, pool, key), config.num_updates)

    return Trainer(
        init=jax.jit(init),
        advance=jax.jit(advance, static_argnums=2),
        train=jax.jit(train),
    )


def actor_critic_loss(
    task: Task,
    surrogate: Surrogate,
    hyperparameters: Hyperparameters,
    params: Params,
    context: PyTree,
    batch: Transition,
    advantages: tuple[Array, Array],
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Loss of one minibatch: surrogate + value_coefficient * critic - entropy_coefficient * entropy.

    Args:
      hyperparameters: the coefficients, annealing applied.
      context: what `Task.collect` gave beside the transitions.
      advantages: normalised advantages and targets of the critic, axes [slots, steps, episodes].

    Returns:
      The loss and its parts.
    """
    advantage, target = advantages
    log_prob, entropy, value = task.replay(params, context, batch)
    weights = batch.alive.astype(value.dtype)
    parts = {
        "loss/policy": weighted_mean(
            surrogate(hyperparameters, log_prob, batch.log_prob, advantage), weights
        ),
        "loss/value": weighted_mean(
            value_loss(value, batch.value, target, hyperparameters.value_clip), weights
        ),
        "policy/entropy": weighted_mean(entropy, weights),
        "policy/kl": weighted_mean(batch.log_prob - log_prob, weights),
    }
    loss = (
        parts["loss/policy"]
        + hyperparameters.value_coefficient * parts["loss/value"]
        - hyperparameters.entropy_coefficient * parts["policy/entropy"]
    )
    return loss, parts


def normalised_advantages(hyperparameters: Hyperparameters, batch: Transition) -> tuple[Array, Array]:
    """Advantages (42) of one slot at mean 0 and deviation 1, and critic targets; axes [steps, episodes]."""
    advantages = generalised_advantages(
        batch.reward,
        batch.value,
        batch.next_value,
        batch.terminated,
        batch.truncated,
        hyperparameters.gamma,
        hyperparameters.gae_lambda,
    )
    return standardised(advantages, batch.alive.astype(advantages.dtype)), advantages + batch.value


def _optimizer(hyperparameters: Hyperparameters) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(hyperparameters.max_grad_norm),
        optax.adam(hyperparameters.learning_rate, eps=1e-5),
    )


def _split_episodes(num_minibatches: int, leaf: Array) -> Array:
    """[slots, steps, episodes, ...] to [minibatches, slots, steps, episodes / minibatches, ...]."""
    if leaf.shape[2] % num_minibatches:
        raise ValueError(
            f"num_minibatches = {num_minibatches} must divide the {leaf.shape[2]} episodes per slot"
        )
    return jnp.moveaxis(leaf.reshape(*leaf.shape[:2], num_minibatches, -1, *leaf.shape[3:]), 2, 0)
