"""Convolution and pooling in the layout and form that adapt fastest when every agent has weights of its own.

Arrays are channels first and samples last. A convolution is one matrix product with the patches of its input: the
copies that make the patches are long runs over samples, which compilers vectorise, and agents may be batched. How much
that gains over the convolution of XLA, on which device, is measured by experiments/benchmarks/bench_man.py.
"""

from functools import reduce
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Form = Literal["patches", "xla"]


def convolve(
    images: Float[Array, "channels height width samples"],
    kernel: Float[Array, "window_height window_width channels features"],
    form: Form = "patches",
) -> Float[Array, "features _ _ samples"]:
    """Cross-correlation without padding and with stride 1, as convolutional networks have it.

    Args:
      form: "patches" multiplies the kernel with the patches of the images; "xla" calls XLA's convolution.
    """
    if form == "xla":
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=("CHWN", "HWIO", "CHWN")
        )
    window_height, window_width, _, features = kernel.shape
    _, height, width, samples = images.shape
    height, width = height - window_height + 1, width - window_width + 1
    patches = jnp.concatenate(
        [
            images[:, row : row + height, column : column + width]
            for row in range(window_height)
            for column in range(window_width)
        ]
    )
    product = kernel.reshape(-1, features).T @ patches.reshape(-1, height * width * samples)
    return product.reshape(features, height, width, samples)


def max_pool(
    images: Float[Array, "channels height width samples"], window: int
) -> Float[Array, "channels _ _ samples"]:
    """Maxima over windows side by side; rows and columns that do not fill one are dropped.

    Taken as maxima of slices, whose derivatives of any order are cheap; where values tie, they share the gradient.
    """
    channels, height, width, samples = images.shape
    height, width = height // window, width // window
    tiles = images[:, : height * window, : width * window].reshape(
        channels, height, window, width, window, samples
    )
    for axis in (2, 3):  # the second window has moved up by one when the first is gone
        slices = [jax.lax.index_in_dim(tiles, place, axis, keepdims=False) for place in range(window)]
        tiles = reduce(jnp.maximum, slices)
    return tiles
