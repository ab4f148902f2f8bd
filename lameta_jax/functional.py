"""From a flax.nnx module to a pure function and its parameters: the only place that splits a module."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx
from jaxtyping import PyTree

Params = PyTree
"""A nested dict of arrays, keyed by attribute name; items of a list are keyed by their integer position."""


def functionalize(module: nnx.Module) -> tuple[Callable[..., Any], Params]:
    """Split a module once into a pure function and its parameters.

    `apply(params, *args, method="__call__", **kwargs)` calls the module, or its method of that name, with
    `params` in place of its own parameters. It may be passed to `jit`, `vmap`, `grad` and `scan`; the module
    itself is left alone.

    Args:
      module: any module whose state is parameters (`nnx.Param`, or a subclass of it) and nothing else.

    Returns:
      `(apply, params)`.

    Raises:
      ValueError: the module holds something else (random streams, batch statistics, plain arrays), which a
        pure function would silently leave unchanged or, worse, train.

    >>> import jax.numpy as jnp
    >>> apply, params = functionalize(nnx.Linear(2, 1, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)))
    >>> apply(params, jnp.array([1.0, 2.0])).tolist()
    [3.0]
    >>> sorted(params)
    ['bias', 'kernel']
    """
    graphdef, state = nnx.split(module)
    for path, variable in nnx.to_flat_state(state):
        if not isinstance(variable, nnx.Param):
            place = ".".join(map(str, (type(module).__name__, *path)))
            raise ValueError(f"{place} is {type(variable).__name__}; only nnx.Param can be made functional")

    def apply(params: Params, *args: Any, method: str = "__call__", **kwargs: Any) -> Any:
        return getattr(nnx.merge(graphdef, params), method)(*args, **kwargs)

    return apply, nnx.to_pure_dict(state)


def named_leaves(params: Params) -> list[tuple[str, Any]]:
    """Leaves in the order of the tree, each with its path, `actor.0.kernel`: the names of tensors in files.

    >>> named_leaves({"layers": {0: {"bias": 1, "kernel": 2}}})
    [('layers.0.bias', 1), ('layers.0.kernel', 2)]
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return [(".".join(str(entry.key) for entry in path), leaf) for path, leaf in leaves]
