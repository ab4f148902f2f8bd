"""Floating-point operations of the matrix products and convolutions of a function, counted from what jax traces.

Compilers count the body of a loop once, however often it runs; here a scan counts as often as it is long.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import jax
from jax.extend import core


def matmul_flops(function: Callable[..., Any], *arguments: Any) -> int:
    """Multiplications and additions of all matrix products and convolutions in a call.

    Elementwise work is not counted, nor what a compiler may add, as by rematerialising, or drop. Of branches the most
    expensive one counts.

    Args:
      function: anything that jax can trace.
      arguments: arrays, or pytrees of them or of their shapes.

    Raises:
      ValueError: a loop whose length is not known beforehand has matrix products.
    """
    return _count(jax.make_jaxpr(function)(*arguments).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation: Any) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return 2 * prod(equation.outvars[0].aval.shape) * prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        features = kernel[params["dimension_numbers"].rhs_spec[0]]
        return 2 * prod(equation.outvars[0].aval.shape) * prod(kernel) // features
    inside = [_count(one) for one in _jaxprs(params)]
    if name == "scan":
        return params["length"] * sum(inside)
    if name == "while" and any(inside):
        raise ValueError("matrix products in a loop whose length is not known beforehand cannot be counted")
    if name == "cond":
        return max(inside, default=0)
    return sum(inside)


def _jaxprs(params: dict[str, Any]) -> list[core.Jaxpr]:
    """Everything inside an equation that has equations of its own."""
    leaves = jax.tree.leaves(
        list(params.values()), is_leaf=lambda leaf: isinstance(leaf, core.Jaxpr | core.ClosedJaxpr)
    )
    return [
        leaf.jaxpr if isinstance(leaf, core.ClosedJaxpr) else leaf
        for leaf in leaves
        if isinstance(leaf, core.Jaxpr | core.ClosedJaxpr)
    ]
