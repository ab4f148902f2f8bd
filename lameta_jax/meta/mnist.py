"""MNIST handwritten digits, from the four files of the original.

Reference: LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document recognition, 1998.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from lameta_jax.meta.datasets import Samples, find_files, read_bytes, refuse, require_digest

_DIGESTS = {  # SHA-256 of the unpacked content
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_SOURCE = "they can be had at https://ossci-datasets.s3.amazonaws.com/mnist/"
_UNSIGNED_BYTE = 8  # the code of the only type of values that is read here


def load_mnist(folder: Path | None = None) -> tuple[Samples, Samples]:
    """The 60,000 training and the 10,000 test samples of 28 x 28 pixels, values 0 to 255.

    The files may be packed (.gz) or not.

    Args:
      folder: of the files; by default they are looked for where `find_files` says, as `mnist`.

    Raises:
      DatasetError: a file is missing, damaged, or not the original.
    """
    paths = find_files("mnist", [(f"{name}.gz", name) for name in _DIGESTS], folder, _SOURCE)
    arrays = [read_idx(path, digest) for path, digest in zip(paths, _DIGESTS.values(), strict=True)]
    training, test = (
        Samples(images, labels.astype(np.int32), np.full(len(labels), 1 / 255, dtype=np.float32))
        for images, labels in (arrays[:2], arrays[2:])
    )
    return training, test


def read_idx(path: Path, sha256: str | None = None) -> UInt8[np.ndarray, "..."]:
    """The array of an IDX file of unsigned bytes, packed if its name ends in .gz.

    The file starts with two zero bytes, the code of the type, the number of axes, and for each axis its length as
    four bytes, the highest first.

    Args:
      sha256: what the unpacked content must have; None for any.

    Raises:
      DatasetError: it cannot be read, is not such a file, or has another SHA-256.
    """
    content = read_bytes(path)
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            refuse(path, f"damaged, or not packed by gzip: {error}")
    if content[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or len(content) < 4:
        refuse(path, f"not an IDX file of unsigned bytes: it starts with {content[:4].hex(' ') or 'nothing'}")
    start = 4 + 4 * content[3]
    if len(content) < start:
        refuse(path, f"damaged: it ends within the lengths of its {content[3]} axes")
    shape = tuple(int(length) for length in np.frombuffer(content[4:start], dtype=">u4"))
    if len(content) - start != math.prod(shape):
        refuse(path, f"damaged: {len(content) - start} values where its axes {shape} need {math.prod(shape)}")
    if sha256 is not None:
        require_digest(content, sha256, path)
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
