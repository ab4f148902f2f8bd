"""Classification of samples by agents: the loss that they adapt by, and the accuracy that comes of it."""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Key, PyTree

from lameta_jax.functional import Params, functionalize
from lameta_jax.meta.adaptation import LossFn
from lameta_jax.meta.agents import Batch, at_rows, over_agents
from lameta_jax.meta.cnn import CNN, CNNConfig
from lameta_jax.meta.datasets import Samples, to_floats
from lameta_jax.meta.man import adapted
from lameta_jax.meta.problems import Group
from lameta_jax.meta.tasks import Environments

CHUNK = 256  # test samples at once: their activations should fit the caches


@lru_cache  # equal functions are equal programs, which are compiled once
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


def mean_over_rows(
    score: Callable[[Array, Array], Array],
    apply: Callable[..., Array],
    params: Params,
    samples: PyTree,
    held: Environments,
) -> Float[Array, ""]:
    """Mean over one agent's rows of `score(logits, labels)`, some rows at a time."""
    capacity = held.index.shape[0]
    chunks = -(-capacity // CHUNK)
    rows = jnp.resize(held.index, (chunks, CHUNK))

    def one(chunk):
        chosen = jax.tree.map(lambda leaf: leaf[chunk], samples)
        return score(apply(params, images_of(chosen)), chosen.labels)

    scores = jax.lax.map(one, rows).reshape(-1)[:capacity]
    return jnp.sum(jnp.where(jnp.arange(capacity) < held.size, scores, 0)) / held.size


def is_correct(
    logits: Float[Array, "samples classes"], labels: Int[Array, " samples"]
) -> Float[Array, " samples"]:
    """1 where the largest logit is that of the label, else 0: its mean is the accuracy."""
    return (jnp.argmax(logits, axis=-1) == labels).astype(logits.dtype)


class Errors(NamedTuple):
    """What becomes of a shared model with an agent of a group, after adaptation; leaves have an axis of agents."""

    test_loss: Float[Array, " agents"]
    accuracy: Float[Array, " agents"]  # on test rows
    training_loss: Float[Array, " agents"] | None  # on all that an agent holds; takes longer than the rest


def evaluate_group(
    apply: Callable[..., Array],
    steps: int,
    params: Params,
    group: Group,
    samples: PyTree,
    key: Key[Array, ""],
    learning_rate: float | Float[Array, ""],
    own_models: bool = False,
    training_loss: bool = False,
) -> Errors:
    """What every agent of a group gets after adapting to all that it holds.

    Args:
      steps: of adaptation; 0 takes the model as it is.
      params: the shared model, or a stack of models, one per agent, with `own_models`.
    """
    loss_fn, cross_entropy = (
        at_rows(classification_loss(apply), samples),
        optax.softmax_cross_entropy_with_integer_labels,
    )

    def one(model, held, test, key):
        personal = adapted(loss_fn, model, held, key, learning_rate, steps) if steps else model
        test_loss, accuracy = (
            mean_over_rows(score, apply, personal, samples, test) for score in (cross_entropy, is_correct)
        )
        if not training_loss:
            return Errors(test_loss, accuracy, None)
        return Errors(test_loss, accuracy, mean_over_rows(cross_entropy, apply, personal, samples, held))

    keys = jax.random.split(key, group.test.size.shape[0])
    work = one if own_models else partial(one, params)
    return over_agents("auto", work, *([params] if own_models else []), group.held, group.test, keys)
