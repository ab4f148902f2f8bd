"""The file of a distilled E-LAM: decoder, adapters, scaling and what the translator needs, as safetensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float, PyTree

from lameta_jax.elam.lora import split_adapters
from lameta_jax.elam.model import (
    ELAM_LAYERS,
    HIDDEN_SIZE,
    Distilled,
    FeatureScaling,
    abstract_decoder,
    abstract_encoder,
)
from lameta_jax.elam.weights import WeightsError, check_tensors, read_tensors

_DECODER, _ADAPTERS = "decoder.", "adapters."


def save_distilled(path: str | Path, distilled: Distilled, notes: dict[str, str]) -> None:
    """Write a distilled model as safetensors; `notes` say how it was made."""
    from safetensors.numpy import save_file

    tensors = _named(_DECODER, distilled.params) | _named(_ADAPTERS, distilled.adapters)
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
    adapted = any(name.startswith(_ADAPTERS) for name in tensors)
    try:
        size, application = header["name"], header["application"]
        if size not in ELAM_LAYERS:
            raise KeyError(size)
    except KeyError as error:
        raise WeightsError(f"{path}: not a distilled E-LAM (no {error})") from None
    decoder = _named(_DECODER, abstract_decoder(size)[1])
    adapters = _named(_ADAPTERS, split_adapters(abstract_encoder(size, True)[1])[0] if adapted else {})
    levels = ELAM_LAYERS[size] + 1
    shapes = {name: value.shape for name, value in (decoder | adapters).items()}
    shapes |= {"scaling.centre": (levels, HIDDEN_SIZE), "scaling.scale": (levels,)}
    shapes |= {"mean_preference": (4,), "centroid": (HIDDEN_SIZE,)}
    check_tensors(path, tensors, shapes)
    check_mean_preference(path, tensors["mean_preference"])
    return Distilled(
        name=size,
        application=application,
        params=_nested(_DECODER, tensors),
        adapters=_nested(_ADAPTERS, tensors),
        scaling=FeatureScaling(tensors["scaling.centre"], tensors["scaling.scale"]),
        mean_preference=tensors["mean_preference"],
        centroid=tensors["centroid"],
    )


def check_mean_preference(path: str | Path, mean: Float[np.ndarray, " 4"]) -> None:
    """Refuse a mean preference that is none.

    Raises:
      WeightsError: naming the file.
    """
    if not (mean.min() >= 0 and abs(mean.sum() - 1) <= 1e-3):  # false where a number is nan
        raise WeightsError(f"{path}: mean_preference must lie on the simplex")


def _named(prefix: str, params: PyTree) -> dict[str, Any]:
    """Leaves by dotted path; the positions of layers become text."""
    return {prefix + ".".join(map(str, path)): value for path, value in flatten_dict(params).items()}


def _nested(prefix: str, tensors: dict[str, np.ndarray]) -> PyTree:
    """The inverse of `_named`."""
    paths = {name: name.removeprefix(prefix).split(".") for name in tensors if name.startswith(prefix)}
    places = {
        name: tuple(int(part) if part.isdigit() else part for part in path) for name, path in paths.items()
    }
    return unflatten_dict({place: tensors[name] for name, place in places.items()})
