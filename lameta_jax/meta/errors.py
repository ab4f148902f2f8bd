"""Generalisation and personalisation errors of adapted agents, MAN eqs. (1) and (2), and the optima they refer to."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from lameta_jax.functional import Params
from lameta_jax.meta.adaptation import LossFn


def generalisation_error(
    population_loss: Float[Array, "*batch agents"], empirical_loss: Float[Array, "*batch agents"]
) -> Float[Array, "*batch"]:
    """What the agents' models lose on average beyond their own data, MAN (1).

        E_gen = 1/K sum_k (L_k(w_k) - L_k(w_k, D_k))

    (1) has the expectation over data sets as well: that is the mean of this value over independent data sets. It is
    negative where the models do worse on their own data.

    Args:
      population_loss: of each agent's model on its environment: exact, or on data that no model was made from.
      empirical_loss: of the same model on the agent's own data.

    >>> float(generalisation_error(jnp.array([0.75, 0.5]), jnp.array([0.25, 0.5])))
    0.25
    """
    return jnp.mean(population_loss - empirical_loss, axis=-1)


def personalisation_error(
    adapted_loss: Float[Array, "*#batch"], optimal_loss: Float[Array, "*#batch"]
) -> Float[Array, "..."]:
    """How far the loss of an adapted model is from that of the agent's optimal model, MAN (2).

        E_per = |L_k(w_k*) - L_k(g_k(w_0, D_k))|

    Both losses on the same data. The absolute value is as printed: on data that the "optimal" model was not trained on,
    the adapted one may be better, and (2) counts that as an error too.

    >>> float(personalisation_error(jnp.array(0.75), jnp.array(0.5)))
    0.25
    """
    return jnp.abs(optimal_loss - adapted_loss)


class LocalOptimum(NamedTuple):
    """A model trained to the end, and how near the end it came."""

    params: Params
    loss: Float[Array, ""]
    gradient_norm: Float[Array, ""]  # of the objective at `params`
    steps: Int[Array, ""]
    reached: Bool[Array, ""]  # whether the norm is within the tolerance


class _Search(NamedTuple):
    """The best model so far, and where L-BFGS is."""

    params: Params
    state: optax.OptState
    best: LocalOptimum


@partial(jax.jit, static_argnames=("loss_fn", "max_steps", "memory_size"))
def local_optimum(
    loss_fn: LossFn,
    params: Params,
    batch: PyTree,
    tolerance: float | Float[Array, ""],
    max_steps: int = 500,
    memory_size: int = 10,
) -> LocalOptimum:
    """The minimum of an agent's loss on all its data, the w_k* of MAN (2), by L-BFGS with a line search.

    Ends when the gradient norm is within the tolerance, after `max_steps` steps, or when a value is not finite. What is
    returned is the model of the smallest gradient norm met, so look at `reached`: single precision seldom
    gets below 1e-6 of the gradient's size at the start. On a loss that is not convex the point is stationary only.

    Args:
      params: where to start.
      batch: all the data; the loss must not draw anything at random.
      tolerance: gradient norm to reach, in units of loss per unit of parameter.
      memory_size: steps that L-BFGS remembers.

    Reference: Liu and Nocedal, On the limited memory BFGS method for large scale optimization, 1989.
    """
    optimiser = optax.lbfgs(memory_size=memory_size)
    objective = partial(_on_batch, loss_fn, batch)
    value_and_grad = jax.value_and_grad(objective)

    def point(params, steps):
        loss, grads = value_and_grad(params)
        norm = optax.tree.norm(grads)
        return LocalOptimum(params, loss, norm, steps, norm <= tolerance), grads

    def going(carry):
        search, current = carry
        finite = jnp.isfinite(current.loss) & jnp.isfinite(current.gradient_norm)
        return ~search.best.reached & finite & (current.steps < max_steps)

    def step(carry):
        search, current = carry
        loss, grads = value_and_grad(search.params)
        updates, state = optimiser.update(
            grads, search.state, search.params, value=loss, grad=grads, value_fn=objective
        )
        moved = optax.apply_updates(search.params, updates)
        reached, _ = point(moved, current.steps + 1)
        better = reached.gradient_norm < search.best.gradient_norm
        best = jax.tree.map(partial(jnp.where, better), reached, search.best)
        return _Search(moved, state, best), reached

    start, _ = point(params, jnp.array(0))
    search, last = jax.lax.while_loop(going, step, (_Search(params, optimiser.init(params), start), start))
    return search.best._replace(steps=last.steps)


def _on_batch(loss_fn: LossFn, batch: PyTree, params: Params) -> Float[Array, ""]:
    return loss_fn(params, batch)
