"""A chain for one user by a trained policy, and what the policy thought of the other agents."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from lameta_jax.composition.decisions import Decided
from lameta_jax.composition.encoder import MAX_HOPS
from lameta_jax.composition.env import (
    EnvConfig,
    EnvParams,
    chain_value,
    make_env_params,
    observe,
    reset,
    step,
)
from lameta_jax.composition.links import Candidates, predecessor
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.policy_files import PolicyError, TrainedPolicy
from lameta_jax.composition.types import Action, EnvState, User, make_users
from lameta_jax.functional import Params
from lameta_jax.network.network import Scenario
from lameta_jax.types import floats

CHAINS_AT_ONCE = 1024
"""Chains that `compose_chains` extends together; of more, less stays in caches, and memory grows with the users."""


class Composed(NamedTuple):
    """The chain of one user, and how likely the policy held every agent at every place, given those before."""

    chain: tuple[
        int, ...
    ]  # shorter than the request, or with a missing link, where the policy ran into a dead end
    probability: Float[np.ndarray, "hops agents"]  # 0 where an agent could not be picked


def compose_chain(policy: TrainedPolicy, scenario: Scenario, preference: Any, width: int = 1) -> Composed:
    """The chain that a policy composes for one user: its greedy one, or the best of `width` that it proposes.

    Every E-LAM is taken to read the intent as `preference`. The E-LAMs are those that the policy was trained
    with: it tells them apart by number, and their fees play no part in its choices, so the scenario may have
    others. Agents of the wrong type, which would fail (18d), are masked.

    Raises:
      PolicyError: the request is longer than any policy can serve.
    """
    hops = scenario.request.types.shape[0]
    if hops > MAX_HOPS:
        raise PolicyError(f"a request of {hops} agents is longer than a policy can serve, {MAX_HOPS}")
    num_elams = policy.config.num_elams
    own = replace(
        scenario,
        elam_names=tuple(f"elam-{index}" for index in range(num_elams)),
        elam_fees=floats(np.zeros(num_elams)),
    )
    env_params = make_env_params(own, EnvConfig(mask_types=True, initial_elam=policy.initial_elam))
    users = make_users(np.asarray(preference, dtype=float)[None, :], num_elams=num_elams)
    chains, probability = composer(policy.config, explained=True, width=width)(
        policy.params, env_params, of_types(env_params), users
    )
    return Composed(
        chain=tuple(int(agent) for agent in np.asarray(chains)[0] if agent >= 0),
        probability=np.asarray(probability)[0],
    )


def compose_chains(
    policy: TrainedPolicy,
    env_params: EnvParams,
    users: User,
    width: int = 1,
    fitting: "OfTypes | None" = None,
) -> Int[Array, "users hops"]:
    """The chain that a policy composes for each user: its greedy one, that of `evaluate`, or the best that it proposes.

    The network is encoded once. Only agents that fit are looked at: those of the first type, then neighbours of the
    predecessor of the type that comes next.

    Args:
      env_params: the decision process, in which wrong types are masked.
      width: chains that the policy proposes to each user: those that it holds most likely, as beam search by its
        probabilities finds them. The one is taken whose QoE is largest for what the E-LAM in force says of the user.
      fitting: `of_types(env_params)` where it is at hand, such as from another slot of the same network.

    Raises:
      ValueError: wrong types are not masked.
    """
    if not env_params.mask_types:
        raise ValueError("mask_types must be True: agents of other types are not looked at")
    fitting = of_types(env_params) if fitting is None else fitting
    return composer(policy.config, width=width)(policy.params, env_params, fitting, users)[0]


class OfTypes(NamedTuple):
    """Who has the type that is needed, without the others; padded with -1."""

    first: Int[np.ndarray, " some"]  # agents of the first type
    followers: Int[np.ndarray, "hops-1 agents few"]  # neighbours of every agent of the type that comes next
    links: Int[np.ndarray, "hops-1 agents few"]  # to these


def of_types(env_params: EnvParams) -> OfTypes:
    """Found on the host."""
    agent_type, needed = np.asarray(env_params.network.agent_type), np.asarray(env_params.request.types)
    table = jax.tree.map(np.asarray, env_params.table)
    fits = table.valid & (agent_type[table.neighbours] == needed[1:, None, None])
    few = max(1, int(fits.sum(axis=2).max(initial=0)))
    place, agent, column = np.nonzero(fits)
    to = place, agent, fits.cumsum(axis=2)[fits] - 1
    followers, links = np.full((2, *fits.shape[:2], few), -1, np.int32)
    followers[to], links[to] = table.neighbours[agent, column], table.link[agent, column]
    first = np.flatnonzero(agent_type == needed[0])
    return OfTypes(first if len(first) else np.array([-1]), followers, links)


class _Beam(NamedTuple):
    """Chains as far as they go."""

    states: EnvState  # leading axis: chains
    log_probability: Float[Array, " chains"]
    likely: Any  # Float[Array, "chains hops agents"] of every agent at every place so far, if asked for; else None


@lru_cache(maxsize=8)
def composer(
    config: PolicyConfig, *, explained: bool = False, width: int = 1
) -> Callable[..., tuple[Array, Array | None]]:
    """The program of `compose_chains`, `(params, env_params, fitting, users)` to chains, for a policy of those sizes.

    If `explained`, it also gives how likely the policy held every agent at every place, given those before. It is kept,
    since every new jit would compile again.
    """
    policy = make_policy(config)
    key = jax.random.key(0)  # nothing is drawn

    @jax.jit
    def compose(params: Params, env_params: EnvParams, fitting: OfTypes, users: User):
        first, alone = jnp.asarray(fitting.first), users.index.shape[0] == 1
        # For one user, tracing and loading takes longer than all else: the first place is none of its own.
        one_program = alone and env_params.num_hops > 1
        decisions = users.index.shape[0] * width * env_params.num_hops
        encoding = policy.encode(params, policy.look(env_params), decisions)

        def options(state, place, among):
            """What the policy holds most likely to come next."""
            view, observation = encoding.at(place, among.agents), observe(state, env_params, among)
            decision = policy.decode(params, view, observation)
            decided = Decided(policy.elam_logits, view, decision, observation)
            nodes = _largest(decided.nodes().logits, width)
            elams = jax.vmap(lambda node: decided.elams(node).mode())(nodes)
            action = Action(among.agents[nodes], elams)
            likely = _of_all(decided, among, env_params.num_agents) if explained else None
            # Of a lone chain nobody needs it, and it takes as long as a good part of the rest.
            ranks = decided.nodes().log_probabilities()[nodes] if width > 1 else jnp.zeros(1)
            return action, ranks, likely

        def extend(beam, place, among):
            actions, log_probability, likely = jax.vmap(lambda state, some: options(state, place, some))(
                beam.states, among
            )
            joint = (
                jnp.where(beam.states.terminated, -jnp.inf, beam.log_probability)[:, None] + log_probability
            )
            # While there are fewer chains than `width`, impossible ones fill up.
            ranked = jnp.pad(joint.reshape(-1), (0, max(width - joint.size, 0)), constant_values=-jnp.inf)
            best = _largest(ranked, width)
            parent, own = jnp.minimum(best // joint.shape[1], joint.shape[0] - 1), best % joint.shape[1]
            states = jax.vmap(lambda state, action: step(key, state, action, env_params)[1])(
                jax.tree.map(lambda leaf: leaf[parent], beam.states),
                jax.tree.map(lambda leaf: leaf[parent, own], actions),
            )
            note = lambda so_far, now: so_far[parent].at[:, place].set(now[parent])
            return _Beam(states, ranked[best], jax.tree.map(note, beam.likely, likely))

        def ends(beam):
            return jnp.maximum(jax.vmap(predecessor)(beam.states), 0)

        def follow(beam, now):
            place, followers, links = now
            last = ends(beam)
            return extend(beam, place, Candidates(followers[last], links[last])), None

        def begin_or_follow(beam, place):
            """Any place by the same program, which looks at as many agents at all of them."""
            most = max(first.size, fitting.followers.shape[2])
            wide = lambda row: jnp.pad(row, (0, most - row.size), constant_values=-1)
            at = jnp.maximum(place - 1, 0), ends(beam)
            followers, links = (
                jax.vmap(wide)(jnp.asarray(rows)[at]) for rows in (fitting.followers, fitting.links)
            )
            agents = jnp.where(place == 0, wide(first), followers)
            return extend(beam, place, Candidates(agents, links)), None

        def serve(user):
            _, start = reset(key, env_params, user)
            chains = width if one_program else 1
            copies = lambda leaf: jnp.broadcast_to(leaf, (chains, *leaf.shape))
            likely = copies(jnp.zeros((env_params.num_hops, env_params.num_agents))) if explained else None
            only_first = jnp.where(jnp.arange(chains) == 0, 0.0, -jnp.inf)
            beam = _Beam(jax.tree.map(copies, start), only_first, likely)
            if one_program:
                beam, _ = jax.lax.scan(begin_or_follow, beam, jnp.arange(env_params.num_hops))
            else:
                beam = extend(beam, 0, Candidates(first[None], jnp.full_like(first, -1)[None]))
                later = jnp.arange(1, env_params.num_hops), fitting.followers, fitting.links
                beam, _ = jax.lax.scan(follow, beam, later, unroll=True)
            best = 0
            if width > 1:
                told = lambda state: chain_value(state, state.user.translated[state.elam], env_params)
                best = jnp.argmax(jax.vmap(told)(beam.states))
            return jax.tree.map(lambda leaf: leaf[best], (beam.states.chain, beam.likely))

        if not alone:
            return jax.lax.map(serve, users, batch_size=max(CHAINS_AT_ONCE // width, 1))
        served = serve(jax.tree.map(lambda leaf: leaf[0], users))  # without a batch, for the same reason
        return jax.tree.map(lambda leaf: leaf[None], served)

    return compose


def _largest(values: Float[Array, " values"], count: int) -> Int[Array, " count"]:
    """Places of the largest values, or of all; the first ones of equal values."""
    if count == 1:
        return jnp.argmax(values)[None]
    return jax.lax.top_k(values, min(count, values.shape[0]))[1]


def _of_all(decided: Decided, among: Candidates, num_agents: int) -> Float[Array, " agents"]:
    """How likely every agent is picked."""
    to = jnp.where(among.agents >= 0, among.agents, num_agents)
    return jnp.zeros(num_agents).at[to].set(decided.nodes().probabilities(), mode="drop")
