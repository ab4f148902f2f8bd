"""Successive halving inside one program: many configurations begin, the better ones go on.

References: Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization, 2016; Li et
al., Hyperband, 2018.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree

from lameta_jax.scale.chunks import Block, Scores, ranked


class Staged(NamedTuple):
    """A training that can be stopped between stages."""

    init: Callable[[Mapping[str, Any], Key[Array, ""]], PyTree]  # `(settings, key)` to a state
    advance: Callable[[Mapping[str, Any], PyTree, int], tuple[PyTree, Scores]]
    """`(settings, state, stage)` to the state after that stage, counted from 0, and scores by name"""
    result: Callable[[PyTree], PyTree]  # what is worth keeping of a state, such as parameters


@dataclass(frozen=True, kw_only=True)
class HalvingConfig:
    """Who goes on."""

    configurations: int = 16  # that begin together, each with all seeds
    num_seeds: int = 1
    stages: int = 3
    eta: int = 4  # one of so many configurations goes on from stage to stage
    metric: str = "score"  # mean over seeds; the greater the better

    def __post_init__(self) -> None:
        if self.stages < 1 or self.eta < 2 or self.configurations < self.eta ** (self.stages - 1):
            raise ValueError(
                f"{self.configurations} configurations must be at least eta to the stages but one, "
                f"{self.eta}^{self.stages - 1}, with eta at least 2"
            )

    @property
    def survivors(self) -> list[int]:
        """Configurations at every stage."""
        return [self.configurations // self.eta**stage for stage in range(self.stages)]


def halve(train: Staged, config: HalvingConfig) -> Block:
    """Successive halving as a block of a sweep: `configurations * num_seeds` runs, seeds varying fastest.

    Every run has the scores of the last stage it took part in, and `stages`, how many those were.
    """

    def many(fixed: Mapping[str, Any]) -> Callable:
        def run(settings: dict[str, Array], seeds: Array) -> tuple[Scores, PyTree]:
            by_seed = lambda leaf: leaf.reshape(config.configurations, config.num_seeds, *leaf.shape[1:])
            settings, keys = jax.tree.map(by_seed, (settings, jax.vmap(jax.random.key)(seeds)))
            init = lambda own, key: train.init({**fixed, **own}, key)
            states = jax.vmap(jax.vmap(init))(settings, keys)
            kept = train.result(states)
            scores: Scores = {}
            alive = jnp.arange(config.configurations)
            for stage, count in enumerate(config.survivors):
                alive, states = alive[:count], jax.tree.map(lambda leaf, n=count: leaf[:n], states)
                own = jax.tree.map(lambda leaf, rows=alive: leaf[rows], settings)
                advance = lambda own, state, stage=stage: train.advance({**fixed, **own}, state, stage)
                states, found = jax.vmap(jax.vmap(advance))(own, states)
                found |= {"stages": jnp.full(keys[:count].shape, stage + 1)}
                kept = jax.tree.map(partial(_put, alive), kept, train.result(states))
                scores = {
                    name: _put(alive, scores.get(name, jnp.zeros(keys.shape, values.dtype)), values)
                    for name, values in found.items()
                }
                order = jnp.argsort(-jnp.mean(ranked(found[config.metric]), axis=1), stable=True)
                alive, states = alive[order], jax.tree.map(lambda leaf, rows=order: leaf[rows], states)
            flat = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])
            return jax.tree.map(flat, (scores, kept))

        return run

    return Block(many, config.configurations * config.num_seeds)


def _put(rows: Array, before: Array, values: Array) -> Array:
    return before.at[rows].set(values)
