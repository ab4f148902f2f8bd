"""Composers that learn nothing: random, greedy and replayed chains; and the pool that makes a learner deaf.

All are actors: `act(key, observation, state, params) -> Action`, like a trained policy (`policy_actor`). As
they do not use what an E-LAM could tell them next, they always call the cheapest one.
"""

from dataclasses import replace

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

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


def replay_actor(chains: Int[Array, "users hops"]) -> Actor:
    """Composes given chains, for user i (`User.index`) that of row i: a way to replay exact optima."""
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
    benefits = params.node_benefits.at[:, INFORMATION].set(observation.link_benefit)
    dominant = benefits[:, jnp.argmax(observation.preference)]
    suitable = _suitable(observation)
    best = suitable & (dominant >= jnp.max(jnp.where(suitable, dominant, -jnp.inf)))
    node = jnp.argmax(jnp.where(best, benefits @ observation.preference, -jnp.inf))
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


def _suitable(observation: Observation) -> Bool[Array, " agents"]:
    """Legal nodes of the required type; all legal ones where there is none."""
    suitable = observation.node_mask & observation.fits
    return jnp.where(jnp.any(suitable), suitable, observation.node_mask)


def _uniform(key: Key[Array, ""], mask: Bool[Array, " agents"]) -> Int[Array, ""]:
    return MaskedCategorical(jnp.zeros(mask.shape), mask).sample(key)


def _cheapest(observation: Observation, params: EnvParams) -> Int[Array, ""]:
    return jnp.argmin(jnp.where(observation.elam_mask, params.elam_fees, jnp.inf))
