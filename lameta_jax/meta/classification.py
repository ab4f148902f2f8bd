"""Classification of samples by agents: the loss that they adapt by, and the accuracy that comes of it."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Key, PyTree

from lameta_jax.functional import Params, functionalize
from lameta_jax.meta.adaptation import LossFn
from lameta_jax.meta.agents import Batch, at_rows, over_agents
from lameta_jax.meta.cnn import CNN, CNNConfig
from lameta_jax.meta.datasets import Samples, to_floats
from lameta_jax.meta.man import adapted
from lameta_jax.meta.problems import Group
from lameta_jax.meta.tasks import Environments

CHUNK = 256  # test samples at once: their activations should fit the caches


def classifier(config: CNNConfig) -> tuple[Callable[..., Array], Callable[[Key[Array, ""]], Params]]:
    """A CNN as `(apply, init)`: `apply(params, images, key=None)` gives logits, `init(key)` parameters."""
    apply, _ = functionalize(CNN(config, rngs=nnx.Rngs(0)))

    def init(key: Key[Array, ""]) -> Params:
        return functionalize(CNN(config, rngs=nnx.Rngs(params=key)))[1]

    return apply, init


def images_of(samples: Samples) -> Float[Array, "samples height width channels"]:
    """Inputs as the CNN takes them: a channel is added to those that have none."""
    found = jnp.asarray(to_floats(samples.inputs, samples.scale))
    return found[..., None] if found.ndim == 3 else found


def classification_loss(apply: Callable[..., Array]) -> LossFn:
    """Mean cross-entropy of a `Batch` of `Samples`, features dropped at random."""

    def loss(params: Params, batch: Batch) -> Float[Array, ""]:
        logits = apply(params, images_of(batch.samples), batch.key)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch.samples.labels))

    return loss


def correct(
    apply: Callable[..., Array], params: Params, samples: PyTree, held: Environments
) -> Bool[Array, " capacity"]:
    """Whether each row of one agent is classified correctly; rows beyond its size repeat others."""
    capacity = held.index.shape[0]
    chunks = -(-capacity // CHUNK)
    rows = jnp.resize(held.index, (chunks, CHUNK))

    def one(chunk):
        chosen = jax.tree.map(lambda leaf: leaf[chunk], samples)
        return jnp.argmax(apply(params, images_of(chosen)), axis=-1) == chosen.labels

    return jax.lax.map(one, rows).reshape(-1)[:capacity]


def accuracy(
    apply: Callable[..., Array], params: Params, samples: PyTree, held: Environments
) -> Float[Array, ""]:
    """Share of one agent's rows that are classified correctly."""
    valid = jnp.arange(held.index.shape[0]) < held.size
    return jnp.sum(correct(apply, params, samples, held) & valid) / held.size


def accuracies(
    apply: Callable[..., Array],
    steps: int,
    params: Params,
    group: Group,
    samples: PyTree,
    key: Key[Array, ""],
    learning_rate: float | Float[Array, ""],
    own_models: bool = False,
) -> Float[Array, " agents"]:
    """Accuracy of every agent on its own test rows, after adapting to its training rows.

    Args:
      steps: of adaptation on batches of all that an agent holds; 0 tests the model as it is.
      params: the shared model, or a stack of models, one per agent, with `own_models`.
    """
    loss_fn = at_rows(classification_loss(apply), samples)

    def one(model, held, test, key):
        personal = adapted(loss_fn, model, held, key, learning_rate, steps) if steps else model
        return accuracy(apply, personal, samples, test)

    keys = jax.random.split(key, group.test.size.shape[0])
    if own_models:
        return over_agents("auto", one, params, group.held, group.test, keys)
    return over_agents("auto", partial(one, params), group.held, group.test, keys)
