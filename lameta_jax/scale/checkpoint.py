"""Unfinished work as one file, which the next process takes up.

The file holds the SHA-256 of its content and what the work is of; a damaged or a foreign one is refused. It is written
beside its place and moved there at once, so that an interruption leaves the one before.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax.serialization import from_state_dict, msgpack_restore, msgpack_serialize, to_state_dict
from jaxtyping import PyTree

_MAGIC = b"lameta checkpoint 1 "
_DIGEST_SIZE = 64
_HINT = "delete it to start anew"


class CheckpointError(ValueError):
    """A checkpoint cannot be used or written; the message is one line."""


def write_checkpoint(path: Path, purpose: Mapping[str, str], content: Mapping[str, Any]) -> None:
    """Write what `read_checkpoint` gives back.

    Args:
      purpose: what the results depend on, by name, such as the SHA-256 of the data.
      content: nested dicts and lists of arrays, see `packed`.

    Raises:
      CheckpointError: it cannot be written.
    """
    payload = msgpack_serialize({"purpose": _with_precision(purpose), "content": dict(content)})
    digest = hashlib.sha256(payload).hexdigest().encode()
    write_whole(path, lambda draft: draft.write_bytes(_MAGIC + digest + b"\n" + payload))


def read_checkpoint(path: Path, purpose: Mapping[str, str]) -> dict[str, Any] | None:
    """The content of a checkpoint; None where there is no file.

    Raises:
      CheckpointError: it cannot be read, is damaged, or is of work with another purpose, which the message names.
    """
    if not os.path.lexists(path):
        return None
    try:
        found = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {_HINT}") from None
    head, payload = found[: len(_MAGIC) + _DIGEST_SIZE + 1], found[len(_MAGIC) + _DIGEST_SIZE + 1 :]
    if head != _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise CheckpointError(f"{path}: damaged, or not an unfinished run; {_HINT}")
    kept: dict[str, Any] = dict(msgpack_restore(payload))
    wanted = _with_precision(purpose)
    names = dict.fromkeys([*wanted, *kept["purpose"]])
    others = [name for name in names if kept["purpose"].get(name) != wanted.get(name)]
    if others:
        raise CheckpointError(f"{path}: an unfinished run with another {', '.join(others)}; {_HINT}")
    return dict(kept["content"])


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file written beside `path` and put in its place at once, so that no reader ever sees half of it.

    Raises:
      CheckpointError: it cannot be written; the file that was there before is as it was.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        write(draft)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"{path}: cannot be written ({error.strerror})") from None


def digest(value: Any) -> str:
    """SHA-256 of what a value looks like as JSON, for purposes; what JSON does not know counts by its `repr`."""
    return hashlib.sha256(json.dumps(value, default=repr, sort_keys=True).encode()).hexdigest()


def packed(tree: PyTree) -> Any:
    """A pytree as nested dicts of arrays; random keys become their bits."""
    return to_state_dict(
        jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)
    )


def unpacked(like: PyTree, kept: Any) -> PyTree:
    """The pytree of the structure of `like` that `packed` made `kept` of."""
    bits = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, like)
    restored = jax.tree.map(jnp.asarray, from_state_dict(bits, kept))
    return jax.tree.map(
        lambda old, new: jax.random.wrap_key_data(new) if _is_key(old) else new, like, restored
    )


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _with_precision(purpose: Mapping[str, str]) -> dict[str, str]:
    return dict(purpose) | {"float type": jnp.result_type(float).name}
