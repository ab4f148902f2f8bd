"""Episodes played by a learning policy, many users of one slot at a time."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from lameta_jax.composition.env import EnvParams, reset, slot_params, step
from lameta_jax.composition.policy import Policy, sample_action
from lameta_jax.composition.slots import Conditions
from lameta_jax.composition.types import Action, Observation, User
from lameta_jax.functional import Params


class Transition(NamedTuple):
    """One step of many episodes."""

    observation: Observation
    action: Action
    log_prob: Float[Array, "*batch"]
    value: Float[Array, "*batch"]
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]
    alive: Bool[Array, "*batch"]  # the episode had not ended before this step
    qoe: Float[Array, "*batch"]
    succeeded: Bool[Array, "*batch"]
    fee: Float[Array, "*batch"]


def collect_episodes(
    policy: Policy,
    params: Params,
    env_params: EnvParams,
    key: Key[Array, ""],
    conditions: Conditions,
    users: User,
) -> Transition:
    """Plays one episode per user in one slot, sampling actions; leaves have axes [steps, users, ...]."""
    env_params = slot_params(env_params, conditions)
    encoding = policy.encode(params, env_params)
    decode = jax.vmap(partial(policy.decode, params, encoding))
    step_all = jax.vmap(lambda state, action: step(key, state, action, env_params))

    def all_users(carry, key_step):
        observation, state = carry
        decision = decode(observation)
        action, log_prob = sample_action(key_step, decision, observation)
        next_observation, next_state, reward, terminated, _, info = step_all(state, action)
        transition = Transition(
            observation=observation,
            action=action,
            log_prob=log_prob,
            value=decision.value,
            reward=reward,
            terminated=terminated,
            alive=~state.terminated,
            qoe=info.qoe,
            succeeded=next_state.succeeded,
            fee=info.fee,
        )
        return (next_observation, next_state), transition

    start = jax.vmap(lambda user: reset(key, env_params, user))(users)
    _, transitions = jax.lax.scan(all_users, start, jax.random.split(key, env_params.num_hops))
    return transitions


def episode_metrics(batch: Transition) -> dict[str, Array]:
    """Means over the episodes of an update; an episode's QoE is paid at its last step."""
    return {
        "episode/qoe": jnp.mean(jnp.sum(batch.qoe, axis=1)),
        "episode/reward": jnp.mean(jnp.sum(batch.reward, axis=1)),
        "episode/fee": jnp.mean(jnp.sum(batch.fee, axis=1)),
        "episode/success": jnp.mean(batch.succeeded[:, -1].astype(batch.qoe.dtype)),
    }
