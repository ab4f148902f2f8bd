"""The parts of an E-LAM as functions: frozen trunk, adapted last layer, feature scaling and percent decoder."""

from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, PyTree

from lameta_jax.elam.lora import LoRAConfig, add_lora, join_adapters, split_adapters
from lameta_jax.elam.minilm import DecoderConfig, EncoderConfig, PercentDecoder
from lameta_jax.elam.sentence_encoder import SentenceEncoder, TrunkStates
from lameta_jax.elam.weights import encoder_shapes
from lameta_jax.functional import Params, functionalize

ELAM_LAYERS = {"small": 3, "large": 6}  # encoder layers of each size
HIDDEN_SIZE = EncoderConfig().hidden_size

Levels = Float[Array | np.ndarray, "prompts levels hidden"]


class FeatureScaling(NamedTuple):
    """Constants that bring every level of the encoder to mean 0 and equal power."""

    centre: Float[Array | np.ndarray, "levels hidden"]
    scale: Float[Array | np.ndarray, " levels"]


def fit_scaling(levels: Float[np.ndarray, "prompts levels hidden"]) -> FeatureScaling:
    """Scaling that the given prompts imply. Levels differ tenfold in size, so one learning rate needs it."""
    centre = levels.mean(axis=0)
    power = np.square(levels - centre[None]).sum(axis=-1).mean(axis=0)
    return FeatureScaling(centre, np.sqrt(power * levels.shape[1]))


def scale_features(levels: Levels, scaling: FeatureScaling) -> Float[Array | np.ndarray, "prompts features"]:
    """Decoder input: all levels of a prompt in one row, of mean square length 1."""
    return ((levels - scaling.centre[None]) / scaling.scale[None, :, None]).reshape(len(levels), -1)


def decoder_config(name: str) -> DecoderConfig:
    """Decoder sizes of the E-LAM of that name (`small` or `large`)."""
    return DecoderConfig(num_features=HIDDEN_SIZE * (ELAM_LAYERS[name] + 1))


def new_decoder(key: Array, name: str):
    """`(apply, params)` of an untrained decoder, see `functionalize`."""
    return functionalize(PercentDecoder(decoder_config(name), rngs=nnx.Rngs(key)))


def trunk_depth(name: str) -> int:
    """Encoder layers that no E-LAM of that size changes: all but the last."""
    return ELAM_LAYERS[name] - 1


def lora_config(name: str) -> LoRAConfig:
    """What fine-tuning changes in the encoder: the last layer of that size, by matrices of rank 8."""
    return LoRAConfig(
        rank=8, alpha=8.0, targets=rf"layers\.{trunk_depth(name)}\.(attention\.(query|value)|up|down)"
    )


def new_adapters(key: Array, name: str, encoder: SentenceEncoder) -> PyTree:
    """Untrained adapters, which leave the encoder as it is."""
    _, params = functionalize(add_lora(key, encoder.module, lora_config(name)))
    return split_adapters(params)[0]


class Distilled(NamedTuple):
    """What distillation leaves behind for one application and size: everything but the frozen encoder."""

    name: str  # small or large
    application: str
    params: PyTree  # of the percent decoder
    adapters: PyTree  # of the encoder's last layer; empty where only the decoder was trained
    scaling: FeatureScaling
    mean_preference: Float[np.ndarray, " 4"]  # of the data set; the fallback
    centroid: Float[np.ndarray, " hidden"]  # mean direction of the application's prompts where the trunk ends


def directions(levels: Levels, scaling: FeatureScaling) -> Float[Array | np.ndarray, "prompts hidden"]:
    """Unit vectors of the last level given, seen from its centre: what tells applications apart."""
    depth = levels.shape[1] - 1
    seen = levels[:, depth] - scaling.centre[depth][None]
    return seen / jnp.maximum(jnp.linalg.norm(seen, axis=1, keepdims=True), 1e-12)


def encoder_params(encoder: SentenceEncoder, name: str) -> Params:
    """Frozen weights of the encoder layers that an E-LAM of that size uses."""
    layers = encoder.params["layers"]
    return encoder.params | {"layers": {index: layers[index] for index in range(ELAM_LAYERS[name])}}


class Frozen(NamedTuple):
    """What a fine-tuned model needs apart from what is trained."""

    encoder: Params
    scaling: FeatureScaling


@lru_cache(maxsize=len(ELAM_LAYERS))
def abstract_decoder(name: str):
    """`(apply, params)` of the decoder of that size, with shapes in place of parameters."""
    return functionalize(nnx.eval_shape(lambda: PercentDecoder(decoder_config(name), rngs=nnx.Rngs(0))))


@lru_cache(maxsize=2 * len(ELAM_LAYERS))
def abstract_encoder(name: str, adapted: bool):
    """`(apply, params)` of the encoder of that size, with shapes in place of parameters."""
    encoder = encoder_shapes(EncoderConfig(num_layers=ELAM_LAYERS[name]))
    if not adapted:
        return functionalize(encoder)
    add = partial(add_lora, config=lora_config(name))
    return functionalize(nnx.eval_shape(lambda module: add(jax.random.key(0), module), encoder))


def _adapted_levels(name: str, adapters: PyTree, frozen: Params, trunk: TrunkStates) -> Levels:
    apply, _ = abstract_encoder(name, bool(adapters))
    params = join_adapters(frozen, adapters)
    top = apply(params, trunk.states, trunk.mask, trunk_depth(name), method="top")
    return jnp.concatenate([trunk.levels, top], axis=1)


@lru_cache(maxsize=len(ELAM_LAYERS))
def log_probs_function(name: str):
    """`log_probs(params, frozen, inputs, answers)` of an E-LAM of that size; kept, so that training compiles once.

    `params["decoder"]` alone reads features, with `frozen` None; together with `params["adapters"]` the model reads
    `TrunkStates`, with `frozen` the rest of it.
    """

    def log_probs(
        params: PyTree, frozen: Frozen | None, inputs: PyTree, answers: Int[Array, "samples answers 4"]
    ) -> Float[Array, "samples answers"]:
        features = inputs
        if frozen is not None:
            levels = _adapted_levels(name, params["adapters"], frozen.encoder, inputs)
            features = scale_features(levels, frozen.scaling)
        return abstract_decoder(name)[0](params["decoder"], features[:, None], answers, method="log_prob")

    return log_probs


@lru_cache(maxsize=len(ELAM_LAYERS))
def _generator(name: str):
    """Jitted greedy decoding; kept, since every new jit would compile again."""
    return jax.jit(partial(abstract_decoder(name)[0], method="generate"))


@lru_cache(maxsize=len(ELAM_LAYERS))
def _top(name: str):
    return jax.jit(partial(_adapted_levels, name))


def adapted_levels(distilled: Distilled, encoder: SentenceEncoder, trunk: TrunkStates) -> Levels:
    """All levels of prompts whose trunk is known, the last one as the model's adapters make it."""
    return _top(distilled.name)(distilled.adapters, encoder_params(encoder, distilled.name), trunk)


def answer_percents(distilled: Distilled, levels: Levels) -> Int[np.ndarray, "prompts 4"]:
    """Greedy percents for prompts whose levels are known."""
    return np.asarray(_generator(distilled.name)(distilled.params, scale_features(levels, distilled.scaling)))
