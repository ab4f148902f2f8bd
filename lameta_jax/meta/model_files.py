"""Meta-learned initialisations as files: weights in safetensors, sizes of the network in the header."""

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lameta_jax.functional import Params, named_leaves
from lameta_jax.meta.classification import classifier
from lameta_jax.meta.cnn import CNNConfig

FORMAT = "lameta-initialisation-1"


class InitialisationError(ValueError):
    """An initialisation that cannot be used; the message is one line."""


class Initialisation(NamedTuple):
    """A meta-model w_0 and the network that it is of."""

    cnn: CNNConfig
    params: Params


def save_initialisation(path: str | Path, cnn: CNNConfig, params: Params) -> None:
    """Write a file with one tensor per parameter, named by its attribute path, `first.kernel`."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in named_leaves(params)}
    save_file(tensors, path, metadata={"format": FORMAT, "cnn": json.dumps(asdict(cnn))})


def load_initialisation(path: str | Path) -> Initialisation:
    """Read what `save_initialisation` wrote.

    Raises:
      InitialisationError: the file cannot be read, is of another kind, or its weights do not fit its sizes.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            cnn = _network(file.metadata() or {}, path)
            shapes = jax.eval_shape(classifier(cnn)[1], jax.random.key(0))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 not a mapping
    except OSError as error:
        raise InitialisationError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise InitialisationError(
            f"{path}: not readable as safetensors: {' '.join(str(error).split())}"
        ) from error
    expected = {name: leaf.shape for name, leaf in named_leaves(shapes)}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != expected:
        odd = sorted(dict(found.items() ^ expected.items()))[0]
        raise InitialisationError(
            f"{path}: tensor {odd}: shape = {found.get(odd)} must be {expected.get(odd)}, as its network says"
        )
    leaves = [jnp.asarray(tensors[name], dtype=float) for name in expected]
    return Initialisation(cnn, jax.tree.unflatten(jax.tree.structure(shapes), leaves))


def _network(header: dict[str, str], path: str | Path) -> CNNConfig:
    if header.get("format") != FORMAT:
        raise InitialisationError(f"{path}: format = {header.get('format')!r} must be {FORMAT!r}")
    try:
        sizes = json.loads(header["cnn"])
        if set(sizes) != {field.name for field in fields(CNNConfig)}:
            raise ValueError
        lists = {name: tuple(value) for name, value in sizes.items() if isinstance(value, list)}
        return CNNConfig(**{**sizes, **lists})
    except (KeyError, ValueError, TypeError, RecursionError):
        raise InitialisationError(f"{path}: header without readable sizes of the network") from None
