"""The convolutional networks of the MAN paper (Sec. V-A): two convolutions, two poolings, two fully connected layers.

The paper gives the kinds of layers and not their sizes; the sizes here are ours.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key

from lameta_jax.meta.convolution import Form, convolve, max_pool


@dataclass(frozen=True, kw_only=True)
class CNNConfig:
    """Sizes of the layers."""

    shape: tuple[int, int, int]  # height, width, channels of an input
    classes: int
    features: tuple[int, int] = (8, 16)  # of the two convolutions
    window: int = 5  # height and width of their kernels
    pool: int = 2  # height and width of what is pooled
    hidden: int = 64  # units of the first fully connected layer
    dropout: float = 0.0  # share of the features dropped before it, in training
    form: Form = "patches"


MNIST_CNN = CNNConfig(shape=(28, 28, 1), classes=10)
WIDAR_CNN = CNNConfig(shape=(20, 20, 20), classes=6, features=(12, 24), window=3, dropout=0.3)
DIGITS_CNN = CNNConfig(shape=(8, 8, 1), classes=10, features=(8, 16), window=2, pool=2, hidden=32)


class Convolution(nnx.Module):
    """A convolution with a bias, then a rectifier, then pooling."""

    def __init__(self, channels: int, features: int, config: CNNConfig, *, rngs: nnx.Rngs):
        shape = (config.window, config.window, channels, features)
        self.kernel = nnx.Param(nnx.initializers.he_normal()(rngs.params(), shape))
        self.bias = nnx.Param(jnp.zeros(features))
        self.pool = config.pool
        self.form: Form = config.form

    def __call__(self, images: Float[Array, "channels height width samples"]) -> Array:
        found = convolve(images, self.kernel[...], self.form)
        # A maximum commutes with the rectifier and with adding a constant, and pooling first leaves less to do.
        return jax.nn.relu(max_pool(found, self.pool) + self.bias[...][:, None, None, None])


class CNN(nnx.Module):
    """A classifier of images, or of spectra over two velocities whose frames are channels."""

    def __init__(self, config: CNNConfig, *, rngs: nnx.Rngs):
        height, width, channels = config.shape
        first, second = config.features
        shrunk = lambda size: (size - config.window + 1) // config.pool
        self.first = Convolution(channels, first, config, rngs=rngs)
        self.second = Convolution(first, second, config, rngs=rngs)
        flat = second * shrunk(shrunk(height)) * shrunk(shrunk(width))
        self.hidden = nnx.Linear(flat, config.hidden, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.output = nnx.Linear(config.hidden, config.classes, rngs=rngs)
        self.dropout = config.dropout

    def __call__(
        self, images: Float[Array, "samples height width channels"], key: Key[Array, ""] | None = None
    ) -> Float[Array, "samples classes"]:
        """Logits; with a key, features are dropped at random as in training."""
        found = self.second(self.first(jnp.transpose(images, (3, 1, 2, 0))))
        found = found.reshape(-1, images.shape[0]).T
        if key is not None and self.dropout:
            kept = jax.random.bernoulli(key, 1 - self.dropout, found.shape)
            found = jnp.where(kept, found / (1 - self.dropout), 0)
        return self.output(jax.nn.relu(self.hidden(found)))
