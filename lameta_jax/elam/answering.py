"""E-LAMs at work: prompts in, answers as text out, each prompt encoded once whoever answers it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from lameta_jax.elam.lora import join_adapters
from lameta_jax.elam.model import (
    ELAM_LAYERS,
    Distilled,
    FeatureScaling,
    abstract_decoder,
    abstract_encoder,
    directions,
    encoder_params,
    scale_features,
    trunk_depth,
)
from lameta_jax.elam.sentence_encoder import Batch, SentenceEncoder, TrunkStates, batches, on_all_cores
from lameta_jax.functional import Params

_NEAREST = -1  # in place of the index of an E-LAM: whichever resembles the prompt most


class Answer(NamedTuple):
    """What one prompt was answered, and for which application."""

    application: str
    text: str  # four whole percents, or "" where the prompt has no readable word


class _Elams(NamedTuple):
    """E-LAMs of one size, stacked along a leading axis."""

    params: PyTree
    adapters: PyTree
    scaling: FeatureScaling
    centroids: Float[Array | np.ndarray, "elams hidden"]  # of length 1


def answer_prompts(
    encoder: SentenceEncoder,
    elams: Sequence[Distilled],
    prompts: Sequence[str],
    wanted: Sequence[str | None] | None = None,
) -> list[Answer]:
    """Greedy answers to prompts, in the order given.

    Args:
      encoder: shared by all E-LAMs.
      elams: of one size, at most one per application; all of them with adapters or none.
      wanted: the application of every prompt; where it is None, the one whose training prompts it resembles most.
    """
    index_of = {elam.application: index for index, elam in enumerate(elams)} | {None: _NEAREST}
    asked = np.array([index_of[application] for application in wanted or [None] * len(prompts)], int)
    tokens, name = encoder.tokenize(prompts), elams[0].name
    answer, stacked, frozen = _answerer(name), _stacked(elams), encoder_params(encoder, name)

    def answer_batch(batch: Batch) -> tuple[list[int], np.ndarray, np.ndarray]:
        trunk = encoder.trunk(batch.tokens, batch.mask, trunk_depth(name))
        own = np.full(len(batch.mask), _NEAREST)
        own[: len(batch.places)] = asked[batch.places]
        indices, percents = answer(frozen, stacked, trunk, own)
        return batch.places, np.asarray(indices), np.asarray(percents)

    answers = [Answer("", "")] * len(prompts)
    for places, indices, percents in on_all_cores(answer_batch, batches(tokens)):
        # rows beyond the last prompt are padding
        for place, index, row in zip(places, indices, percents, strict=False):
            text = " ".join(map(str, row)) if tokens[place].readable else ""
            answers[place] = Answer(elams[index].application, text)
    return answers


def _stacked(elams: Sequence[Distilled]) -> _Elams:
    lengths = [max(float(np.linalg.norm(elam.centroid)), 1e-12) for elam in elams]
    parts = [
        _Elams(elam.params, elam.adapters, elam.scaling, elam.centroid / length)
        for elam, length in zip(elams, lengths, strict=True)
    ]
    return jax.tree.map(lambda *values: np.stack(values), *parts)


@lru_cache(maxsize=len(ELAM_LAYERS))
def _answerer(name: str):
    """Jitted answers to the prompts of a batch; kept, since every new jit would compile again.

    Every row passes the encoder's last layer once, with the adapters of the E-LAM that answers it. Decoders are small:
    all of them answer, and the answer of the right one is kept.
    """
    generate = partial(abstract_decoder(name)[0], method="generate")

    @jax.jit
    def answer(
        frozen: Params, elams: _Elams, trunk: TrunkStates, wanted: Int[Array, " prompts"]
    ) -> tuple[Int[Array, " prompts"], Int[Array, "prompts 4"]]:
        apply, _ = abstract_encoder(name, bool(elams.adapters))
        index = jnp.where(wanted == _NEAREST, _nearest(elams, trunk), wanted)

        def top(adapters: PyTree, states: Array, mask: Array) -> Array:
            params = join_adapters(frozen, adapters)
            return apply(params, states[None], mask[None], trunk_depth(name), method="top")[0]

        own = jax.tree.map(lambda value: value[index], elams.adapters)
        levels = jnp.concatenate([trunk.levels, jax.vmap(top)(own, trunk.states, trunk.mask)], axis=1)
        every = jax.vmap(lambda params, scaling: generate(params, scale_features(levels, scaling)))
        return index, every(elams.params, elams.scaling)[index, jnp.arange(len(index))]

    return answer


def _nearest(elams: _Elams, trunk: TrunkStates) -> Int[Array, " prompts"]:
    """For each prompt the E-LAM to whose centroid its direction is nearest."""
    seen = jax.vmap(partial(directions, trunk.levels))(elams.scaling)
    return jnp.einsum("eph,eh->pe", seen, elams.centroids).argmax(axis=1)


@dataclass(frozen=True)
class MiniLMElam:
    """A distilled model together with the encoder it reads through."""

    distilled: Distilled
    encoder: SentenceEncoder

    @property
    def name(self) -> str:
        return self.distilled.name

    @property
    def application(self) -> str:
        return self.distilled.application

    @property
    def mean_preference(self) -> Float[np.ndarray, " 4"]:
        return self.distilled.mean_preference

    def answer(self, prompts: Sequence[str]) -> list[str]:
        """Greedy answer to every prompt: four whole percents, or "" where the prompt has no readable word."""
        return [answer.text for answer in answer_prompts(self.encoder, [self.distilled], prompts)]
