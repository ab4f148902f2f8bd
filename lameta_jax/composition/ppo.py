"""Proximal policy optimisation of chain composition (LAMeTA eqs. (40)-(43)), as one jitted function.

    trainer = make_train(config, policy, env_params)
    state, metrics = trainer.train(PPOHyperparameters(), users, key)      # all updates in one program

A caller who wants to show progress runs `trainer.init`, then `trainer.advance` by some updates at a time, and
gets the same numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from lameta_jax.composition.advantages import generalised_advantages
from lameta_jax.composition.env import EnvParams, slot_params
from lameta_jax.composition.policy import Policy, evaluate_action
from lameta_jax.composition.rollout import Transition, collect_episodes, episode_metrics
from lameta_jax.composition.slots import Conditions, SlotConfig, draw_slots
from lameta_jax.composition.types import User
from lameta_jax.functional import Params


@dataclass(frozen=True, kw_only=True)
class PPOConfig:
    """Sizes: fixed when the program is compiled."""

    num_updates: int = 200  # policy updates in all
    num_slots: int = 1  # slots drawn for every update
    users_per_slot: int = 256  # episodes per slot and update
    num_epochs: int = 4  # passes over the data of one update
    num_minibatches: int = 4  # minibatches per pass; divides users_per_slot
    slots: SlotConfig = SlotConfig()

    def __post_init__(self):
        if self.users_per_slot % self.num_minibatches:
            raise ValueError(
                f"num_minibatches = {self.num_minibatches} must divide users_per_slot = {self.users_per_slot}"
            )


@no_type_check
@flax.struct.dataclass
class PPOHyperparameters:
    """Numbers worth sweeping: traced, so that a new value compiles nothing and an array can be vmapped."""

    learning_rate: Float[Array, ""] | float = 2e-3  # at the start; falls linearly to 0
    clip_eps: Float[Array, ""] | float = 0.2  # epsilon of (43)
    gamma: Float[Array, ""] | float = 1.0  # discount of (40)
    gae_lambda: Float[Array, ""] | float = 0.95  # lambda of (42)
    entropy_coefficient: Float[Array, ""] | float = 0.05  # at the start; falls linearly to 0
    value_coefficient: Float[Array, ""] | float = 0.5
    max_grad_norm: Float[Array, ""] | float = 0.5  # global norm


@no_type_check
@flax.struct.dataclass
class TrainState:
    params: Params
    opt_state: Any
    users: User  # the pool that episodes draw their users from
    key: Key[Array, ""]
    num_updates: Int[Array, ""]  # done so far


class Trainer(NamedTuple):
    """`train` = `init`, then `advance` by all updates."""

    init: Callable[[PPOHyperparameters, User, Key[Array, ""]], TrainState]
    advance: Callable[[PPOHyperparameters, TrainState, int], tuple[TrainState, dict[str, Array]]]
    train: Callable[[PPOHyperparameters, User, Key[Array, ""]], tuple[TrainState, dict[str, Array]]]


def clipped_surrogate(
    log_prob: Float[Array, "*batch"],
    old_log_prob: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    clip_eps: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    """Negative clipped surrogate objective of every action, to be averaged and minimised.

        - min(r A, clip(r, 1 - eps, 1 + eps) A),    r = pi(a|s) / pi_old(a|s)

    Reference: LAMeTA eq. (43); Schulman et al., Proximal Policy Optimization Algorithms, 2017,
    arXiv:1707.06347, eq. (7).
    """
    ratio = jnp.exp(log_prob - old_log_prob)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip_eps, 1 + clip_eps) * advantage)


def value_loss(value: Float[Array, "*batch"], target: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Half the squared error of the critic (39) against its target A + V."""
    return 0.5 * (value - target) ** 2


def weighted_mean(values: Float[Array, "*batch"], weights: Float[Array, "*batch"]) -> Float[Array, ""]:
    """Mean over the entries of weight 1 (0 where there are none)."""
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def make_train(config: PPOConfig, policy: Policy, env_params: EnvParams) -> Trainer:
    """Builds the training program for one scenario.

    Every update draws slots, and for every slot users from the pool (with replacement); plays one episode per
    user; then takes `num_epochs * num_minibatches` Adam steps on the clipped surrogate, the critic and the
    entropy. Learning rate and entropy coefficient fall linearly to zero over the `num_updates` of the config.

    Args:
      config: sizes.
      policy: from `make_policy`; must be able to choose among the E-LAMs of the scenario.
      env_params: the decision process; slots vary around its network.

    Returns:
      Jitted functions. `train(hyperparameters, users, key)` gives the final state and metrics with a leading
      axis of updates; it may be vmapped over keys, hyperparameters and pools. In `users`, the pool,
      `translated` is what each E-LAM makes of each user, computed beforehand; a pool of the same size
      compiles nothing anew.
    """

    def init(hyperparameters, users, key):
        key_params, key_state = jax.random.split(key)
        params = policy.init(key_params)
        return TrainState(
            params=params,
            opt_state=_optimizer(hyperparameters).init(params),
            users=users,
            key=key_state,
            num_updates=jnp.asarray(0),
        )

    def update(hyperparameters, state):
        key, key_slots, key_users, key_rollout = jax.random.split(state.key, 4)
        conditions = draw_slots(key_slots, env_params.network, config.slots, config.num_slots)
        shape = (config.num_slots, config.users_per_slot)
        chosen = jnp.floor(state.users.preference.shape[0] * jax.random.uniform(key_users, shape)).astype(int)
        batch_users = jax.tree.map(lambda leaf: leaf[chosen], state.users)
        collect = partial(collect_episodes, policy, state.params, env_params)
        slot_keys = jax.random.split(key_rollout, config.num_slots)
        batch = jax.vmap(collect)(slot_keys, conditions, batch_users)  # leaves [slots, steps, users, ...]
        advantages = jax.vmap(partial(_advantages, hyperparameters))(batch)
        left = jnp.maximum(1.0 - state.num_updates / config.num_updates, 0.0)
        annealed = replace(
            hyperparameters,
            learning_rate=hyperparameters.learning_rate * left,
            entropy_coefficient=hyperparameters.entropy_coefficient * left,
        )

        def minibatch_step(carry, minibatch):
            params, opt_state = carry
            loss = partial(ppo_loss, policy=policy, env_params=env_params, conditions=conditions)
            grads, parts = jax.grad(loss, has_aux=True)(params, *minibatch, hyperparameters=annealed)
            steps, opt_state = _optimizer(annealed).update(grads, opt_state, params)
            return (optax.apply_updates(params, steps), opt_state), parts

        # The users are drawn independently, so any partition of them is a random one: no shuffling.
        minibatches = jax.tree.map(partial(_split_users, config.num_minibatches), (batch, advantages))
        (params, opt_state), parts = jax.lax.scan(
            lambda carry, _: jax.lax.scan(minibatch_step, carry, minibatches),
            (state.params, state.opt_state),
            length=config.num_epochs,
        )
        state = replace(state, params=params, opt_state=opt_state, key=key, num_updates=state.num_updates + 1)
        return state, episode_metrics(batch) | jax.tree.map(jnp.mean, parts)

    def advance(hyperparameters, state, num_updates):
        return jax.lax.scan(lambda s, _: update(hyperparameters, s), state, length=num_updates)

    def train(hyperparameters, users, key):
        return advance(hyperparameters, init(hyperparameters, users, key), config.num_updates)

    return Trainer(
        init=jax.jit(init),
        advance=jax.jit(advance, static_argnums=2),
        train=jax.jit(train),
    )


def ppo_loss(
    params: Params,
    batch: Transition,
    advantages: tuple[Array, Array],
    *,
    hyperparameters: PPOHyperparameters,
    policy: Policy,
    env_params: EnvParams,
    conditions: Conditions,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Loss of one minibatch: surrogate (43) + value_coefficient * critic - entropy_coefficient * entropy.

    Args:
      params: of the policy.
      batch: transitions, leaves [slots, steps, users, ...].
      advantages: normalised advantages and targets of the critic, likewise.
      hyperparameters: the coefficients, annealing applied.
      policy, env_params: as in `make_train`.
      conditions: of the slots of the batch, each encoded once.

    Returns:
      The loss and its parts.
    """
    advantage, target = advantages

    def decide(slot, observation, action):
        encoding = policy.encode(params, slot_params(env_params, slot))

        decision = jax.vmap(jax.vmap(partial(policy.decode, params, encoding)))(observation)
        return *evaluate_action(decision, observation, action), decision.value

    log_prob, entropy, value = jax.vmap(decide)(conditions, batch.observation, batch.action)
    weights = batch.alive.astype(value.dtype)
    surrogate = clipped_surrogate(log_prob, batch.log_prob, advantage, hyperparameters.clip_eps)
    parts = {
        "loss/policy": weighted_mean(surrogate, weights),
        "loss/value": weighted_mean(value_loss(value, target), weights),
        "policy/entropy": weighted_mean(entropy, weights),
        "policy/kl": weighted_mean(batch.log_prob - log_prob, weights),
    }
    loss = (
        parts["loss/policy"]
        + hyperparameters.value_coefficient * parts["loss/value"]
        - hyperparameters.entropy_coefficient * parts["policy/entropy"]
    )
    return loss, parts


def _optimizer(hyperparameters: PPOHyperparameters) -> optax.GradientTransformation:
    return optax.chain(
        optax.clip_by_global_norm(hyperparameters.max_grad_norm),
        optax.adam(hyperparameters.learning_rate, eps=1e-5),
    )


def _advantages(hyperparameters: PPOHyperparameters, batch: Transition) -> tuple[Array, Array]:
    """Normalised advantages and critic targets of one slot, axes [steps, users]."""
    next_values = jnp.concatenate([batch.value[1:], jnp.zeros_like(batch.value[:1])])
    advantages = generalised_advantages(
        batch.reward,
        batch.value,
        next_values,
        batch.terminated,
        jnp.zeros_like(batch.terminated),
        hyperparameters.gamma,
        hyperparameters.gae_lambda,
    )
    weights = batch.alive.astype(advantages.dtype)
    mean = weighted_mean(advantages, weights)
    deviation = jnp.sqrt(weighted_mean((advantages - mean) ** 2, weights))
    return (advantages - mean) / (deviation + 1e-8), advantages + batch.value


def _split_users(num_minibatches: int, leaf: Array) -> Array:
    """[slots, steps, users, ...] to [minibatches, slots, steps, users / minibatches, ...]."""
    return jnp.moveaxis(leaf.reshape(*leaf.shape[:2], num_minibatches, -1, *leaf.shape[3:]), 2, 0)
