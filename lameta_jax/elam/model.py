"""An E-LAM ready to answer: frozen encoder, feature scaling and a distilled percent decoder, with its file format."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float, Int, PyTree

from lameta_jax.elam.minilm import DecoderConfig, EncoderConfig, PercentDecoder
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.elam.weights import WeightsError, check_tensors, read_tensors
from lameta_jax.functional import functionalize

ELAM_LAYERS = {"small": 3, "large": 6}  # encoder layers of each size
HIDDEN_SIZE = EncoderConfig().hidden_size


class FeatureScaling(NamedTuple):
    """Constants that bring every level of the encoder to mean 0 and equal power."""

    centre: Float[np.ndarray, "levels hidden"]
    scale: Float[np.ndarray, " levels"]


def fit_scaling(levels: Float[np.ndarray, "prompts levels hidden"]) -> FeatureScaling:
    """Scaling that the given prompts imply. Levels differ tenfold in size, so one learning rate needs it."""
    centre = levels.mean(axis=0)
    power = np.square(levels - centre[None]).sum(axis=-1).mean(axis=0)
    return FeatureScaling(centre, np.sqrt(power * levels.shape[1]))


def scale_features(
    levels: Float[np.ndarray, "prompts levels hidden"], scaling: FeatureScaling
) -> Float[np.ndarray, "prompts features"]:
    """Decoder input: all levels of a prompt in one row, of mean square length 1."""
    return ((levels - scaling.centre[None]) / scaling.scale[None, :, None]).reshape(len(levels), -1)


def decoder_config(name: str) -> DecoderConfig:
    """Decoder sizes of the E-LAM of that name (`small` or `large`)."""
    return DecoderConfig(num_features=HIDDEN_SIZE * (ELAM_LAYERS[name] + 1))


def new_decoder(key: Array, name: str):
    """`(apply, params)` of an untrained decoder, see `functionalize`."""
    return functionalize(PercentDecoder(decoder_config(name), rngs=nnx.Rngs(key)))


class Distilled(NamedTuple):
    """What distillation leaves behind for one application and size: everything but the encoder."""

    name: str  # small or large
    application: str
    params: PyTree  # of the percent decoder
    scaling: FeatureScaling
    mean_preference: Float[np.ndarray, " 4"]  # of the data set; the fallback
    centroid: Float[np.ndarray, " hidden"]  # mean sentence embedding of the application's prompts


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
        if not prompts:
            return []
        levels = self.encoder.levels(prompts)[:, : len(self.distilled.scaling.scale)]
        percents = answer_percents(self.distilled, levels)
        readable = [tokens.readable for tokens in self.encoder.tokenize(prompts)]
        return [" ".join(map(str, row)) if fine else "" for row, fine in zip(percents, readable, strict=True)]


def _abstract_decoder(name: str):
    """`(apply, params)` of the decoder of that size, with shapes in place of parameters."""
    return functionalize(nnx.eval_shape(lambda: PercentDecoder(decoder_config(name), rngs=nnx.Rngs(0))))


@lru_cache(maxsize=len(ELAM_LAYERS))
def log_prob_function(name: str):
    """`log_prob(params, features, answer)` of the decoder of that size; kept, so that training compiles once."""
    return partial(_abstract_decoder(name)[0], method="log_prob")


@lru_cache(maxsize=len(ELAM_LAYERS))
def _generator(name: str):
    """Jitted greedy decoding; kept, since every new jit would compile again."""
    return jax.jit(partial(_abstract_decoder(name)[0], method="generate"))


def answer_percents(
    distilled: Distilled, levels: Float[np.ndarray, "prompts levels hidden"]
) -> Int[np.ndarray, "prompts 4"]:
    """Greedy percents for prompts whose levels are known."""
    return np.asarray(_generator(distilled.name)(distilled.params, scale_features(levels, distilled.scaling)))


def save_distilled(path: str | Path, distilled: Distilled, notes: dict[str, str]) -> None:
    """Write a distilled model as safetensors; `notes` say how it was made."""
    from safetensors.numpy import save_file

    tensors = {
        f"decoder.{name}": np.asarray(value)
        for name, value in flatten_dict(distilled.params, sep=".").items()
    }
    tensors |= {"scaling.centre": distilled.scaling.centre, "scaling.scale": distilled.scaling.scale}
    tensors |= {"mean_preference": distilled.mean_preference, "centroid": distilled.centroid}
    header = {"name": distilled.name, "application": distilled.application, "notes": json.dumps(notes)}
    save_file(
        {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in tensors.items()}, path, header
    )


def load_distilled(path: str | Path) -> Distilled:
    """Read what `save_distilled` wrote.

    Raises:
      WeightsError: the file is missing, damaged or of another shape; one line.
    """
    header, tensors = read_tensors(path)
    try:
        shapes, application = _tensor_shapes(header["name"]), header["application"]
    except KeyError as error:
        raise WeightsError(f"{path}: not a distilled E-LAM (no {error})") from None
    check_tensors(path, tensors, shapes)
    mean = tensors["mean_preference"]
    if mean.min() < 0 or abs(mean.sum() - 1) > 1e-3:
        raise WeightsError(f"{path}: mean_preference must lie on the simplex")
    decoder = {name: value for name, value in tensors.items() if name.startswith("decoder.")}
    return Distilled(
        name=header["name"],
        application=application,
        params=unflatten_dict(decoder, sep=".")["decoder"],
        scaling=FeatureScaling(tensors["scaling.centre"], tensors["scaling.scale"]),
        mean_preference=mean,
        centroid=tensors["centroid"],
    )


def _tensor_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors in the file of a distilled model of that size."""
    _, params = _abstract_decoder(name)
    levels = ELAM_LAYERS[name] + 1
    decoder: dict[str, Any] = flatten_dict(params, sep=".")
    shapes = {f"decoder.{path}": value.shape for path, value in decoder.items()}
    shapes |= {"scaling.centre": (levels, HIDDEN_SIZE), "scaling.scale": (levels,)}
    return shapes | {"mean_preference": (4,), "centroid": (HIDDEN_SIZE,)}
