"""Answers of a causal language model, token by token, in one compiled program: prompt first, then a loop."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.elam.qwen2 import causal_mask, token_positions
from lameta_jax.elam.qwen2_config import Qwen2Config
from lameta_jax.elam.qwen2_layers import Cache
from lameta_jax.functional import Params


@partial(jax.jit, static_argnames=("apply", "config", "max_new_tokens"))
def generate(
    apply: Callable[..., Any],
    config: Qwen2Config,
    params: Params,
    prompts: Int[Array, "batch prompt"],
    mask: Bool[Array, "batch prompt"],
    max_new_tokens: int,
    key: Array | None = None,
    temperature: float | Float[Array, ""] = 1.0,
) -> tuple[Int[Array, "batch answer"], Int[Array, " batch"]]:
    """Continue every prompt until a token of `config.eos_tokens`, or for `max_new_tokens`.

    Args:
      apply: of the model, see `functionalize`.
      config: its sizes.
      params: its parameters.
      prompts: padded on the left, where `mask` is False.
      mask: see `prompts`.
      max_new_tokens: greatest length of an answer.
      key: draws tokens from the softmax of logits / temperature; without it, the likeliest token is taken.
      temperature: see `key`.

    Returns:
      The answers, 0 after their ends, and their lengths, which count the token that ended them.
    """
    batch, prompt = prompts.shape
    slots = prompt + max_new_tokens
    readable = jnp.concatenate([mask, jnp.ones((batch, max_new_tokens), bool)], axis=1)
    lengths = mask.sum(axis=1, dtype=jnp.int32)
    eos = jnp.array(config.eos_tokens, jnp.int32)

    def choose(states, step):
        logits = apply(params, states[:, -1], method="logits")
        if key is None:
            return logits.argmax(axis=-1).astype(jnp.int32)
        drawn = jax.random.categorical(jax.random.fold_in(key, step), logits / temperature)
        return drawn.astype(jnp.int32)

    def unfinished(carry):
        step, _, done, *_ = carry
        return (step < max_new_tokens) & ~done.all()

    def next_token(carry):
        """Read the token chosen last and choose the next."""
        step, token, done, answers, count, cache = carry
        slot = prompt + step - 1
        seen = readable & (jnp.arange(slots) <= slot)[None]
        states, cache = apply(
            params,
            token[:, None],
            (lengths + step - 1)[:, None],
            seen[:, None],
            cache=cache,
            slot=slot,
            method="states",
        )
        token = jnp.where(done, 0, choose(states, step))
        answers = answers.at[:, step].set(token)
        return step + 1, token, done | jnp.isin(token, eos), answers, count + ~done, cache

    shape = (config.num_layers, batch, slots, config.num_kv_heads, config.head_size)
    dtype = params["embedding"]["embedding"].dtype
    cache = Cache(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))
    seen = jnp.concatenate([causal_mask(mask), jnp.zeros((batch, prompt, max_new_tokens), bool)], axis=2)
    states, cache = apply(params, prompts, token_positions(mask), seen, cache=cache, method="states")
    token = choose(states, 0)
    answers = jnp.zeros((batch, max_new_tokens), jnp.int32).at[:, 0].set(token)
    start = (jnp.array(1), token, jnp.isin(token, eos), answers, jnp.ones(batch, jnp.int32), cache)
    _, _, _, answers, count, _ = jax.lax.while_loop(unfinished, next_token, start)
    return answers, count
