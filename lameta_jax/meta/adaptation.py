"""An agent's adaptation by a few steps of SGD, and gradients through it (MAN eqs. (5) and (6))."""

from collections.abc import Callable
from typing import Literal

import jax
from jaxtyping import Array, Float, PyTree

from lameta_jax.functional import Params

LossFn = Callable[[Params, PyTree], Float[Array, ""]]
"""`(params, batch)` to a scalar to be minimised; whatever else a loss needs, such as a random key, is in the batch."""

MetaGradient = Literal["second_order", "first_order"]


def sgd_step(
    loss_fn: LossFn, params: Params, batch: PyTree, learning_rate: float | Float[Array, ""]
) -> Params:
    """One step of stochastic gradient descent."""
    return descend(params, jax.grad(loss_fn)(params, batch), learning_rate)


def descend(params: Params, grads: Params, learning_rate: float | Float[Array, ""]) -> Params:
    """`params - learning_rate * grads`, leaf by leaf."""
    return jax.tree.map(lambda value, grad: value - learning_rate * grad, params, grads)


def adapt(
    loss_fn: LossFn, params: Params, batches: PyTree, learning_rate: float | Float[Array, ""]
) -> Params:
    """The model of an agent, MAN (5) for any number of steps E.

        w_k <- w_k - beta grad L_k(w_k, D_in[e])    for e = 1 ... E, from w_k = w_0

    Differentiable with memory for E copies of the parameters and the activations of one step: steps are computed
    again when gradients pass through them.

    Args:
      params: the meta-model w_0.
      batches: pytree whose leaves have a leading axis of E steps; 0 steps give `params`.
      learning_rate: beta.
    """

    @jax.checkpoint
    def step(current, batch):
        return sgd_step(loss_fn, current, batch, learning_rate), None

    return jax.lax.scan(step, params, batches)[0]


def meta_gradient(
    loss_fn: LossFn,
    params: Params,
    inner: PyTree,
    outer: PyTree,
    learning_rate: float | Float[Array, ""],
    order: MetaGradient = "second_order",
) -> tuple[Float[Array, ""], Params]:
    """Loss of the adapted model on the outer batch, and its gradient for the meta-update, MAN (6).

    "first_order" is (6) to the letter, the gradient at the adapted model, grad L_k(w_k, D_out). "second_order" is that
    of the meta-objective L_k(w_k(w_0), D_out) with respect to w_0: through the steps of the adaptation.

    Args:
      inner: batches of D_in with a leading axis of E steps.
      outer: a batch of D_out.
      learning_rate: beta, of the inner steps.
    """
    if order == "first_order":
        adapted = adapt(loss_fn, params, inner, learning_rate)
        return jax.value_and_grad(loss_fn)(adapted, outer)
    return jax.value_and_grad(lambda initial: loss_fn(adapt(loss_fn, initial, inner, learning_rate), outer))(
        params
    )
