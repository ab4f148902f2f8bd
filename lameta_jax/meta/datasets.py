"""Labelled samples that agents learn from: what all data sets share, and scikit-learn's digits."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
from jaxtyping import Array, Float, Int, UInt8


class DatasetError(ValueError):
    """Data is missing, damaged or not what it should be; the message is one line."""


class Samples(NamedTuple):
    """Inputs as whole numbers, which take a quarter of the memory of floats; `to_floats` makes floats of them."""

    inputs: UInt8[np.ndarray, "samples *shape"]
    labels: Int[np.ndarray, " samples"]  # from 0
    scale: Float[np.ndarray, " samples"]  # the value of one step of a sample's inputs


def to_floats(
    inputs: UInt8[Array | np.ndarray, "..."], scale: Float[Array | np.ndarray, "..."]
) -> Float[Array | np.ndarray, "..."]:
    """What the inputs stand for: `inputs * scale`, of the scale's type. In NumPy or in JAX, under `jit` too.

    MNIST and the digits lie in [0, 1]. Widar3.0 is not negative, and its root mean square is 1 where it is not 0.

    Args:
      inputs: of any number of samples, in any leading axes, as they are kept in `Samples`.
      scale: those of the same samples, with the same leading axes.

    >>> to_floats(np.array([[0, 51], [0, 255]], dtype=np.uint8), np.float32([1 / 255, 2 / 255])).round(3).tolist()
    [[0.0, 0.20000000298023224], [0.0, 2.0]]
    """
    return inputs * scale.reshape(*scale.shape, *(1,) * (inputs.ndim - scale.ndim))


def load_digits() -> Samples:
    """Handwritten digits of 8 x 8 pixels with values 0 to 16, 1797 of them; they come with scikit-learn.

    Reference: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.

    Raises:
      DatasetError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as bundled
    except ImportError:
        raise DatasetError(
            "digits: they come with scikit-learn, which is not installed; pip install scikit-learn"
        ) from None
    pixels, labels = (np.asarray(array) for array in bundled(return_X_y=True))
    scale = np.full(len(labels), 1 / 16, dtype=np.float32)
    return Samples(pixels.reshape(-1, 8, 8).astype(np.uint8), labels.astype(np.int32), scale)


def find_files(
    data_set: str, names: Sequence[str | tuple[str, ...]], folder: Path | None, source: str
) -> list[Path]:
    """The files of a data set: in `folder`, or else in the first place that holds all of them.

    The places are the data set's folder in the one that LAMETA_DATA_DIR names, and in the user's cache
    (`$XDG_CACHE_HOME/lameta_jax`, by default `~/.cache/lameta_jax`).

    Args:
      data_set: name of the data set and of its folder.
      names: of the files; several names of one file in order of choice.
      source: where the data can be had, as the message should say.

    Raises:
      DatasetError: a file is missing.
    """
    choices = [(name,) if isinstance(name, str) else name for name in names]
    places = [folder] if folder is not None else _places(data_set)
    missing: list[str] = []
    for place in places:
        found = [
            next((place / name for name in choice if (place / name).is_file()), None) for choice in choices
        ]
        if all(found):
            return [path for path in found if path is not None]
        missing = missing or [choice[0] for choice, path in zip(choices, found, strict=True) if path is None]
    where = " and ".join(map(str, places))
    hint = "" if folder is not None else f", or name with LAMETA_DATA_DIR the folder that holds {data_set}/"
    raise DatasetError(
        f"{data_set}: {', '.join(missing)} not found in {where}; put the files there{hint}; {source}"
    )


def _places(data_set: str) -> list[Path]:
    named = os.environ.get("LAMETA_DATA_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [*([Path(named) / data_set] if named else []), Path(cache) / "lameta_jax" / data_set]


def require_digest(content: bytes, sha256: str, path: Path) -> None:
    """Refuse content that is not the one with the given SHA-256.

    Raises:
      DatasetError: it is another one.
    """
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        refuse(path, f"damaged, or another version: its content has the SHA-256 {found} and not {sha256}")


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
      DatasetError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        refuse(path, f"cannot be read ({error.strerror})")


def refuse(path: Path, words: str) -> NoReturn:
    """Raise the one error that is raised for a file of data."""
    raise DatasetError(" ".join(f"{path}: {words}".split()))
