"""The order of the four factors of a preference vector, and the array types that files share."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

# s = [w_C, w_B, w_L, w_P], LAMeTA eq. (17); always in this order.
CAPABILITY, INFORMATION, LATENCY, OUTAGE = 0, 1, 2, 3
FACTOR_NAMES = ("capability", "information", "latency", "outage")

# A number as an argument: Python's, or a traced one.
Scalar = float | Float[Array, ""]
# Link ends as the host holds them (NumPy) or as the network holds them (JAX).
LinkEnds = Int[Array, "links 2"] | Int[np.ndarray, "links 2"]


def floats(values: Any) -> Float[Array, "..."]:
    """Numbers of the host in the default float type, converted there: on the device, every shape would be a program."""
    with np.errstate(over="ignore"):
        return jax.device_put(np.asarray(values, dtype=jnp.result_type(float)))
