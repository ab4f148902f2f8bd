"""Five environments whose values are known by hand, after Andy Jones' list, and one that is cut off, as tasks.

Each isolates one thing that an algorithm must get right: a constant value, a value that depends on what is seen, a
reward that comes late, an action, an action that depends on what is seen; last, a time limit that ends nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lameta_jax.composition.task import Replayed, Task, Transition

HIDDEN = 16
MAX_STEPS = 3


class Probe(NamedTuple):
    """An episode of `num_steps` steps in which one thing is seen; `reward(seen, action, step)`."""

    num_actions: int
    num_steps: int
    sees: bool  # +1 or -1 with equal probability; else always 0
    reward: object
    truncated: bool  # the last step is a time limit, not an end


PROBES = {
    "constant value": Probe(1, 1, False, lambda seen, action, step: 1.0 + 0 * seen, False),
    "value of what is seen": Probe(1, 1, True, lambda seen, action, step: seen, False),
    "late reward": Probe(1, 2, False, lambda seen, action, step: (step == 1) + 0 * seen, False),
    "action": Probe(2, 1, False, lambda seen, action, step: 2.0 * action - 1, False),
    "action by what is seen": Probe(2, 1, True, lambda seen, action, step: seen * (2.0 * action - 1), False),
    "time limit": Probe(1, MAX_STEPS, False, lambda seen, action, step: 1.0 + 0 * seen, True),
}


def decide(params, seen, step):
    """Logits and value from one hidden layer; where the time limit is cannot be seen in a probe that has one."""
    inputs = jnp.concatenate([seen[..., None], jax.nn.one_hot(step, MAX_STEPS)], axis=-1)
    hidden = jnp.tanh(inputs @ params["in"] + params["bias"][None, None, None])
    return hidden @ params["actor"], (hidden @ params["critic"])[..., 0]


def probe_task(probe: Probe, episodes: int = 64) -> Task:
    """One slot, no pool."""

    def init(key):
        keys = jax.random.split(key, 3)
        shapes = {"in": (1 + MAX_STEPS, HIDDEN), "actor": (HIDDEN, probe.num_actions), "critic": (HIDDEN, 1)}
        drawn = {
            name: jax.random.normal(part, shape) / shape[0] ** 0.5
            for part, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        return drawn | {"bias": jnp.zeros(HIDDEN)}

    def collect(params, pool, key):
        del pool
        key_seen, key_action = jax.random.split(key)
        shape = (1, probe.num_steps, episodes)
        sign = jnp.sign(jax.random.uniform(key_seen, (1, 1, episodes)) - 0.5)
        seen = jnp.broadcast_to(sign * probe.sees, shape)
        step = jnp.broadcast_to(jnp.arange(probe.num_steps)[None, :, None], shape)
        shown = jnp.zeros_like(step) if probe.truncated else step
        logits, value = decide(params, seen, shown)
        action = jax.random.categorical(key_action, logits)
        last = step == probe.num_steps - 1
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]
        # what follows the last step of a probe with a time limit looks like every other of its states
        next_value = jnp.concatenate([value[:, 1:], value[:, -1:]], axis=1)
        reward = jnp.asarray(probe.reward(seen, action, step), dtype=float)
        nothing = jnp.zeros(shape, bool)
        batch = Transition(
            observation=(seen, shown),
            action=action,
            log_prob=log_prob,
            value=value,
            next_value=next_value,
            reward=reward,
            terminated=nothing if probe.truncated else last,
            truncated=last if probe.truncated else nothing,
            alive=~nothing,
        )
        return jnp.zeros(1), batch, {"episode/reward": reward.sum(axis=1).mean()}

    def replay(params, context, batch):
        del context
        logits, value = decide(params, *batch.observation)
        log_probs = jax.nn.log_softmax(logits)
        log_prob = jnp.take_along_axis(log_probs, batch.action[..., None], -1)[..., 0]
        return Replayed(log_prob, -(jnp.exp(log_probs) * log_probs).sum(axis=-1), value)

    return Task(init, collect, replay)
