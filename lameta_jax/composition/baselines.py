"""Composers that learn nothing: random, greedy and replayed chains; and the pool that makes a learner deaf.

Searches over whole chains (`optimum`, `beam_search`, `annealing.anneal`) and language models that compose by themselves
(`pipeline.zero_shot`) give chains, which `replay_actor` plays.

All are actors: `act(key, observation, state, params) -> Action`, like a trained policy (`policy_actor`). As
they do not use what an E-LAM could tell them next, they always call the cheapest one.
"""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lameta_jax.composition.distributions import MaskedCategorical
from lameta_jax.composition.env import EnvParams
from lameta_jax.composition.types import Action, Actor, EnvState, Observation, User
from lameta_jax.types import INFORMATION


def random_actor(*, respect_types: bool = False) -> Actor:
    """Any legal node with equal probability; with `respect_types`, any legal node of the required type.

    Reference: "Random" of LAMeTA Sec. VI-C, which does not say whether types are respected.
    """
    return Actor(_random_typed if respect_types else _random)


def greedy_actor() -> Actor:
    """The legal node of the required type that is best in the dominant factor of the translated preference.

    Assumption: ties (all first nodes tie in information loss, for want of a link) go to the node with the
    larger s . I of (34). The choice looks one step ahead only, so it may lead to a node without suitable
    neighbours.

    Reference: "Greedy" of LAMeTA Sec. VI-C.
    """
    return Actor(_greedy)


def greedy_reward_actor() -> Actor:
    """The legal node of the required type with the largest s . I of (34), for the translated preference.

    Beyond the paper, whose "Greedy" looks at the dominant factor alone: this one maximises the step reward itself, as
    far as the type can be had (with delta >= 1/2 no node of another type is ever worth more). It too looks one step
    ahead only, and takes no account of the fee.
    """
    return Actor(_greedy_reward)


def replay_actor(chains: Int[Array, "users hops"]) -> Actor:
    """Composes given chains, for user i (`User.index`) that of row i: a way to replay exact optima.

    A row with a -1 stands for no chain: that agent does not exist, so the episode fails, with its `failure_qoe`.
    """
    return Actor(_replay, chains)


def even_users(users: User) -> User:
    """The same users with every preference replaced by [1/4, 1/4, 1/4, 1/4].

    PPO trained on them is "DRL (Even)" of LAMeTA Sec. VI-C. To measure it, hide only what the E-LAMs say
    (`hide_intents`): the user goes on feeling by the true preference.
    """
    return replace(hide_intents(users), preference=jnp.full_like(users.preference, 0.25))


def hide_intents(users: User) -> User:
    """The same users, of whom the E-LAMs say that all four factors matter alike."""
    return replace(users, translated=jnp.full_like(users.translated, 0.25))


def _random(key: Key[Array, ""], observation: Observation, state: EnvState, params: EnvParams) -> Action:
    del state
    return Action(_uniform(key, observation.node_mask), _cheapest(observation, params))


def _random_typed(
    key: Key[Array, ""], observation: Observation, state: EnvState, params: EnvParams
) -> Action:
    del state
    return Action(_uniform(key, _suitable(observation)), _cheapest(observation, params))


def _greedy(key: Key[Array, ""], observation: Observation, state: EnvState, params: EnvParams) -> Action:
    del key, state
    benefits = _benefits(observation, params)
    dominant = benefits[:, jnp.argmax(observation.preference)]
    suitable = _suitable(observation)
    best = suitable & (dominant >= jnp.max(jnp.where(suitable, dominant, -jnp.inf)))
    node = jnp.argmax(jnp.where(best, benefits @ observation.preference, -jnp.inf))
    return Action(node, _cheapest(observation, params))


def _greedy_reward(
    key: Key[Array, ""], observation: Observation, state: EnvState, params: EnvParams
) -> Action:
    del key, state
    worth = _benefits(observation, params) @ observation.preference
    node = jnp.argmax(jnp.where(_suitable(observation), worth, -jnp.inf))
    return Action(node, _cheapest(observation, params))


def _replay(
    chains: Int[Array, "users hops"],
    key: Key[Array, ""],
    observation: Observation,
    state: EnvState,
    params: EnvParams,
) -> Action:
    del key
    return Action(chains[state.user.index, observation.step], _cheapest(observation, params))


def _benefits(observation: Observation, params: EnvParams) -> Float[Array, "agents 4"]:
    """I(.) of (34) of every agent and of the link to it."""
    return params.node_benefits.at[:, INFORMATION].set(observation.link_benefit)


def _suitable(observation: Observation) -> Bool[Array, " agents"]:
    """Legal nodes of the required type; all legal ones where there is none."""
    suitable = observation.node_mask & observation.fits
    return jnp.where(jnp.any(suitable), suitable, observation.node_mask)


def _uniform(key: Key[Array, ""], mask: Bool[Array, " agents"]) -> Int[Array, ""]:
    return MaskedCategorical(jnp.zeros(mask.shape), mask).sample(key)


def _cheapest(observation: Observation, params: EnvParams) -> Int[Array, ""]:
    return jnp.argmin(jnp.where(observation.elam_mask, params.elam_fees, jnp.inf))
