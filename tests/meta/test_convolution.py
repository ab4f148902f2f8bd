"""Convolution, pooling and the networks against PyTorch, and against each other by derivatives of second order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.functional import named_leaves
from lameta_jax.meta.classification import classifier
from lameta_jax.meta.cnn import DIGITS_CNN, MNIST_CNN, WIDAR_CNN
from lameta_jax.meta.convolution import convolve, max_pool


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("form", ["patches", "xla"])
def test_convolution_is_that_of_torch(form):
    torch = pytest.importorskip("torch")
    images, kernel = random(3, 7, 6, 5), random(3, 2, 3, 4, seed=1)
    found = convolve(jnp.asarray(images), jnp.asarray(kernel), form)
    expected = torch.nn.functional.conv2d(
        torch.tensor(images.transpose(3, 0, 1, 2).copy()), torch.tensor(kernel.transpose(3, 2, 0, 1).copy())
    )
    np.testing.assert_allclose(np.transpose(found, (3, 0, 1, 2)), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_both_forms_have_the_same_second_derivatives():
    images, kernel, direction = random(2, 5, 5, 3), random(2, 2, 2, 3, seed=1), random(2, 2, 2, 3, seed=2)

    def twice(form):
        loss = lambda weights: jnp.sum(jnp.tanh(convolve(jnp.asarray(images), weights, form)) ** 2)
        return jax.jvp(jax.grad(loss), (jnp.asarray(kernel),), (jnp.asarray(direction),))[1]

    np.testing.assert_allclose(twice("patches"), twice("xla"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "window"), [(4, 6, 2), (7, 5, 2), (9, 7, 3)])
def test_pooling_is_the_maximum_of_each_window(height, width, window):
    images = random(2, height, width, 3)
    expected = np.array(
        [
            [
                [
                    images[channel, row : row + window, column : column + window].max((0, 1))
                    for column in columns
                ]
                for row in range(0, height - window + 1, window)
            ]
            for columns in [range(0, width - window + 1, window)]
            for channel in range(2)
        ]
    )
    np.testing.assert_array_equal(max_pool(jnp.asarray(images), window), expected)


def test_ties_share_the_gradient():
    grads = jax.grad(lambda images: jnp.sum(max_pool(images, 2)))(jnp.ones((1, 2, 2, 1)))
    np.testing.assert_allclose(grads, np.full((1, 2, 2, 1), 0.25))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "config", [DIGITS_CNN, pytest.param(MNIST_CNN, marks=SLOW), pytest.param(WIDAR_CNN, marks=SLOW)]
)
def test_the_network_is_the_one_that_torch_builds(config):
    torch = pytest.importorskip("torch")
    apply, init = classifier(config)
    params = init(jax.random.key(0))
    given = {name: np.asarray(leaf) for name, leaf in named_leaves(params)}
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(config.shape[2], config.features[0], config.window),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(config.pool),
        torch.nn.Conv2d(*config.features, config.window),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(config.pool),
        torch.nn.Flatten(),
        torch.nn.Linear(given["hidden.kernel"].shape[0], config.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(config.hidden, config.classes),
    )
    layers = {"0": "first", "3": "second", "7": "hidden", "9": "output"}
    state = {}
    for there, here in layers.items():
        kernel = given[f"{here}.kernel"]
        axes = (3, 2, 0, 1) if kernel.ndim == 4 else (1, 0)
        state[f"{there}.weight"] = torch.tensor(np.ascontiguousarray(kernel.transpose(axes)))
        state[f"{there}.bias"] = torch.tensor(given[f"{here}.bias"])
    twin.load_state_dict(state)
    images = random(4, *config.shape)
    with torch.no_grad():
        expected = twin(torch.tensor(images.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(apply(params, jnp.asarray(images)), expected, rtol=1e-3, atol=1e-4)


def test_dropout_keeps_the_mean():
    apply, init = classifier(WIDAR_CNN)
    params, images = init(jax.random.key(0)), jnp.asarray(random(1, *WIDAR_CNN.shape))
    # With a linear layer after it, and nothing but it, dropout leaves the expected input of the layer as it is.
    params["hidden"]["bias"] += 100.0  # far from the bend of the rectifier
    keys = jax.random.split(jax.random.key(1), 400)
    dropped = jax.vmap(lambda key: apply(params, images, key))(keys)
    plain = apply(params, images)
    assert float(jnp.max(jnp.std(dropped, axis=0))) > 1e-3
    error = 4 * np.std(dropped, axis=0) / 20
    assert np.all(np.abs(np.mean(dropped, axis=0) - plain) < error)
