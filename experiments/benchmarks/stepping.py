"""Environments stepped under random legal actions, for bench_env.py: ours, a gymnax classic, and those of Gymnasium."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy_env import NumpyChainEnv

from lameta_jax.composition.env import observe, reset, step
from lameta_jax.composition.types import Action, EnvParams, User

MULTIPLIER = 0x9E3779B1  # odd, so that multiplying permutes the words of 32 bits
LANES = 16  # maxima are taken over so many columns side by side, in vector instructions


def draw_legal(word: jax.Array, mask: jax.Array) -> jax.Array:
    """One of the allowed actions, all about equally likely: that with the largest hash of its index and a random word.

    The index is in the lowest bits of the hash, so that a plain maximum finds it: `argmax` would take most of the time
    of a step on CPUs, and a maximum along whole rows a good part of it.
    """
    count = mask.shape[0]
    index = jnp.arange(count, dtype=jnp.uint32)
    low = (1 << (count - 1).bit_length()) - 1
    mixed = (word ^ (index * jnp.uint32(0x85EBCA6B))) * jnp.uint32(MULTIPLIER)
    score = ((mixed >> 1) & jnp.uint32(0x7FFFFFFF - low) | index).astype(jnp.int32)
    score = jnp.where(mask, score, -1)
    full = count - count % LANES
    if full:  # the barrier keeps both maxima from becoming one again
        first = jax.lax.optimization_barrier(score[:full].reshape(-1, LANES).max(axis=0))
        score = jnp.concatenate([first, score[full:]])
    return jnp.max(score) & low


def scrambled(counter: jax.Array) -> jax.Array:
    """Random words of 32 bits from a counter, by two rounds of multiplying and folding; enough for random actions.

    The default generator of jax would take a good part of a step.
    """
    for factor, shift in ((0x7FEB352D, 15), (0x846CA68B, 16)):
        counter = (counter ^ (counter >> 16)) * jnp.uint32(factor)
        counter = counter ^ (counter >> shift)
    return counter


def chain_steps(batch: int, steps: int) -> Callable[[EnvParams, User, jax.Array], Any]:
    """`(params, pool, key)` to the last observations and states and the sums of rewards of `batch` environments.

    Whoever ends is served no more: a user drawn from the pool comes next. Every observation is written to memory, as
    it is part of what one step hands to the next.
    """

    def drawn(word, pool):
        index = (word % jnp.uint32(pool.index.shape[0])).astype(int)
        return jax.tree.map(lambda leaf: leaf[index], pool)

    def one_step(params, pool, key, carry, start):
        observation, state, total = carry
        words = scrambled(start + jnp.arange(3 * batch, dtype=jnp.uint32)).reshape(batch, 3)

        def advance(observation, state, word):
            action = Action(
                draw_legal(word[0], observation.node_mask), draw_legal(word[1], observation.elam_mask)
            )
            _, moved, reward, ended, _, _ = step(key, state, action, params)
            _, fresh = reset(key, params, drawn(word[2], pool))
            state = jax.tree.map(lambda new, old: jnp.where(ended, new, old), fresh, moved)
            return observe(state, params), state, reward

        observation, state, reward = jax.vmap(advance)(observation, state, words)
        return (observation, state, total + reward), None

    def run(params, pool, key):
        users = jax.vmap(partial(drawn, pool=pool))(jax.random.bits(key, (batch,)))
        observation, state = jax.vmap(partial(reset, key, params))(users)
        carry = (observation, state, jnp.zeros(batch))
        starts = jax.random.bits(key) + jnp.uint32(3 * batch) * jnp.arange(steps, dtype=jnp.uint32)
        return jax.lax.scan(partial(one_step, params, pool, key), carry, starts)[0]

    return run


def gymnax_steps(name: str, batch: int, steps: int) -> Callable[[jax.Array], Any]:
    """The same of an environment of gymnax, which starts anew by itself; all of its actions are legal."""
    import gymnax

    env, params = gymnax.make(name)

    def one_step(carry, key):
        _, state, total = carry
        key_action, key_step = jax.random.split(key)
        actions = jax.random.randint(key_action, (batch,), 0, env.num_actions)
        keys = jax.random.split(key_step, batch)
        observation, state, reward, *_ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            keys, state, actions, params
        )
        return (observation, state, total + reward), None

    def run(key):
        key_start, key_steps = jax.random.split(key)
        start = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key_start, batch), params)
        return jax.lax.scan(one_step, (*start, jnp.zeros(batch)), jax.random.split(key_steps, steps))[0]

    return run


def numpy_steps(env: NumpyChainEnv, steps: int, seed: int = 0) -> float:
    """Steps one environment, and gives the sum of rewards."""
    random, total = np.random.default_rng(seed).random, 0.0
    observation, _ = env.reset(seed=seed)
    for _ in range(steps):
        nodes, elams = observation["node_mask"].nonzero()[0], observation["elam_mask"].nonzero()[0]
        action = (nodes[int(random() * len(nodes))], elams[int(random() * len(elams))])
        observation, reward, ended, _, _ = env.step(action)
        total += reward
        if ended:
            observation, _ = env.reset()
    return total


def vector_steps(envs: Any, steps: int, seed: int = 0) -> float:
    """The same of a vector environment of Gymnasium, in which all environments step at once; `steps` of each."""
    random, total = np.random.default_rng(seed), 0.0
    observation, _ = envs.reset(seed=seed)

    def drawn(masks):
        return (random.random(masks.shape, np.float32) * masks).argmax(axis=1)

    for _ in range(steps):
        actions = np.stack([drawn(observation["node_mask"]), drawn(observation["elam_mask"])], axis=1)
        observation, rewards, *_ = envs.step(actions)
        total += float(rewards.sum())
    return total
