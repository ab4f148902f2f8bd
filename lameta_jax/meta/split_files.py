"""Splits of data sets as files, so that other software and later studies use the same ones."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from lameta_jax.meta.datasets import DatasetError, read_bytes, refuse
from lameta_jax.meta.tasks import Rows
from lameta_jax.scale.checkpoint import CheckpointError, write_whole

_FORMAT = "lameta split 1"


class Split(NamedTuple):
    """Rows of each agent, and what is known of them."""

    parts: dict[str, list[Rows]]  # by name, such as "train" and "test"
    about: dict[str, str]  # such as the seed, and the digest of the labels


def labels_digest(labels: Int[np.ndarray, " samples"]) -> str:
    """SHA-256 of labels as 32-bit integers, lowest byte first: tells data sets apart."""
    return hashlib.sha256(np.ascontiguousarray(labels, dtype="<i4").tobytes()).hexdigest()


def write_split(path: Path, splits: Mapping[str, Sequence[Rows]], about: Mapping[str, str]) -> None:
    """Write what `read_split` gives back, as JSON with its own SHA-256.

    Args:
      splits: by name, the rows of each agent.
      about: what the rows depend on, such as the seed and the `labels_digest`.

    Raises:
      DatasetError: it cannot be written.
    """
    content = {
        "about": dict(about),
        "splits": {name: [part.tolist() for part in parts] for name, parts in splits.items()},
    }
    text = json.dumps({"format": _FORMAT, "sha256": _digest(content), **content})
    try:
        write_whole(path, lambda draft: draft.write_text(text + "\n", encoding="utf-8"))
    except CheckpointError as error:
        raise DatasetError(str(error)) from None


def read_split(path: Path, about: Mapping[str, str]) -> Split:
    """The rows of a file that `write_split` made.

    Args:
      about: what the file must say of itself; it may say more.

    Raises:
      DatasetError: it cannot be read, is damaged, or is of other data or another seed, which the message names.
    """
    written = read_bytes(path)
    try:
        found: Any = json.loads(written)
    except (ValueError, RecursionError):
        refuse(path, "damaged, or not a file of splits: it is not JSON")
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        refuse(path, f'not a file of splits: it has no "format": "{_FORMAT}"')
    content: dict[str, Any] = {name: found.get(name) for name in ("about", "splits")}
    if found.get("sha256") != _digest(content):
        refuse(path, "damaged: its content has not the SHA-256 that it states")
    others = [name for name, value in about.items() if content["about"].get(name) != value]
    if others:
        refuse(
            path, f"a split with another {', '.join(others)}; split anew, or use the data that it was made of"
        )
    parts = {
        name: [np.array(part, dtype=np.int64) for part in lists] for name, lists in content["splits"].items()
    }
    return Split(parts, content["about"])


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
