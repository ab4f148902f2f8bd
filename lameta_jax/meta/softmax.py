"""l2-regularised softmax regression on features that the caller brings, with its constants."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from lameta_jax.meta.adaptation import LossFn
from lameta_jax.meta.convex import Constants
from lameta_jax.meta.logistic import SIGMOID_BEND


class Labelled(NamedTuple):
    """Features, such as pixels reduced to principal components, with their classes."""

    inputs: Float[Array, "samples dims"]
    labels: Int[Array, " samples"]


def softmax_loss(l2: float) -> LossFn:
    """The loss of weights [dims classes] on labelled features, with an l2 penalty; a constant feature is the bias.

    loss(W; x, y) = log sum_c e^{w_c . x} - w_y . x + l2 |W|^2 / 2
    """

    def loss(model: Float[Array, "dims classes"], batch: Labelled) -> Float[Array, ""]:
        log_probs = jax.nn.log_softmax(batch.inputs @ model)
        chosen = jnp.take_along_axis(log_probs, batch.labels[:, None], axis=1)
        return l2 * jnp.sum(model**2) / 2 - jnp.mean(chosen)

    return loss


def softmax_constants(inputs: Float[Array, "samples dims"], l2: float, model_radius: float) -> Constants:
    """Constants for these features and models with |W| <= model_radius.

    With R the largest norm of a feature: a sample's Hessian is that of log-sum-exp, at most 1/2, times |x|^2; its
    gradient (p - e_y) x, with |p - e_y| < sqrt(2); and its third derivative a third central moment of a variable whose
    range is at most sqrt(2) R. All are bounds. sigma^2 is that of a uniformly drawn sample, at most the mean of
    2 |x|^2.
    """
    squares = jnp.sum(inputs**2, axis=1)
    reach = float(jnp.sqrt(jnp.max(squares)))
    return Constants(
        smoothness=reach**2 / 2 + l2,
        strong_convexity=l2,
        gradient_bound=2**0.5 * reach + l2 * model_radius,
        hessian_lipschitz=SIGMOID_BEND * (2**0.5 * reach) ** 3,
        gradient_variance=float(2 * jnp.mean(squares)),
    )
