"""Trained policies as files: weights in safetensors, sizes in the header.

A file holds everything needed to rebuild the policy: no code that trained it, and no pickled object.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.functional import Params, named_leaves
from lameta_jax.types import floats

FORMAT = "lameta-pointer-policy-1"
MAX_SIZE = 65536  # of any layer; far above sensible ones
LOOKAHEADS = (0, 8)  # from none to 165 anchors


class PolicyError(ValueError):
    """A policy that cannot be used. The message is one line."""


@dataclass(frozen=True, kw_only=True)
class TrainedPolicy:
    """A pointer policy and what must be known to use it."""

    config: PolicyConfig
    params: Params
    initial_elam: int = 0  # kappa in force at the first step, as in training


def save_policy(path: str | Path, policy: TrainedPolicy) -> None:
    """Write a policy file: one tensor per parameter, named by its attribute path, `actor.0.kernel`."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(leaf) for name, leaf in named_leaves(policy.params)}
    header = {
        "format": FORMAT,
        "config": json.dumps(asdict(policy.config)),
        "initial_elam": json.dumps(policy.initial_elam),
    }
    save_file(tensors, path, metadata=header)


def load_policy(path: str | Path) -> TrainedPolicy:
    """Read a policy file; weights come in JAX's default float type.

    Raises:
      PolicyError: the file cannot be read, is none of `save_policy`, or its weights do not fit its sizes.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            config, initial_elam = _read_header(header, path)
            shapes = jax.eval_shape(lambda: make_policy(config).init(jax.random.key(0)))
            expected = dict(named_leaves(shapes))
            if set(file.keys()) != set(expected):
                odd = sorted(set(file.keys()) ^ set(expected))
                raise PolicyError(f"{path}: tensor {odd[0]} is {_where(odd[0], expected)}")
            leaves = [_read_tensor(file, name, shape.shape, path) for name, shape in expected.items()]
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read: {error.strerror or error}") from error
    except SafetensorError as error:
        raise PolicyError(f"{path}: not readable as safetensors: {' '.join(str(error).split())}") from error
    params = jax.tree.unflatten(jax.tree.structure(shapes), leaves)
    return TrainedPolicy(config=config, params=params, initial_elam=initial_elam)


def _read_header(header: dict[str, str], path: str | Path) -> tuple[PolicyConfig, int]:
    if header.get("format") != FORMAT:
        raise PolicyError(f"{path}: format = {header.get('format')!r} must be {FORMAT!r}")
    try:
        sizes, initial_elam = json.loads(header["config"]), json.loads(header["initial_elam"])
    except (KeyError, ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: header without readable config and initial_elam") from error
    known = {field.name for field in fields(PolicyConfig)}
    if not isinstance(sizes, dict) or set(sizes) != known:
        raise PolicyError(f"{path}: config must have the keys {', '.join(sorted(known))}")
    for name, size in sizes.items():
        least, most = LOOKAHEADS if name == "lookahead" else (1, MAX_SIZE)
        if type(size) is not int or not least <= size <= most:
            raise PolicyError(
                f"{path}: config: {name} = {size!r} must be a whole number from {least} to {most}"
            )
    if type(initial_elam) is not int or not 0 <= initial_elam < sizes["num_elams"]:
        raise PolicyError(
            f"{path}: initial_elam = {initial_elam!r} must be below num_elams = {sizes['num_elams']}"
        )
    return PolicyConfig(**sizes), initial_elam


def _read_tensor(file: Any, name: str, shape: tuple[int, ...], path: str | Path) -> jax.Array:
    part = file.get_slice(name)
    if part.get_dtype() not in ("F32", "F64"):
        raise PolicyError(f"{path}: tensor {name}: dtype = {part.get_dtype()} must be F32 or F64")
    if tuple(part.get_shape()) != shape:
        raise PolicyError(f"{path}: tensor {name}: shape = {tuple(part.get_shape())} must be {shape}")
    values = file.get_tensor(name)
    if not np.all(np.isfinite(values)):
        raise PolicyError(f"{path}: tensor {name} must be finite")
    return floats(values)


def _where(name: str, expected: dict[str, Any]) -> str:
    return "missing" if name in expected else "unknown: no parameter of the policy has that name"
