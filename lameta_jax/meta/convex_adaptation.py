"""One agent that adapts for E steps of SGD on a convex problem: personalisation errors measured, for Theorem 2."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from lameta_jax.meta.adaptation import descend
from lameta_jax.meta.bounds import personalisation_rate
from lameta_jax.meta.convex_training import ConvexProblem
from lameta_jax.meta.errors import personalisation_error

Schedule = Literal["printed", "decaying", "constant"]
"""Rate of step e = 1 ... E: 2 / (mu (E + 1)) as Theorem 2 prints it, 2 / (mu (e + 1)), or a given constant."""
Gradient = Callable[[Key[Array, ""], Float[Array, " dims"]], Float[Array, " dims"]]


def only_agent(problem: ConvexProblem, agent: int = 0) -> ConvexProblem:
    """The problem of one of the agents, as all functions here want it."""
    return replace(problem, targets=problem.targets[agent : agent + 1])


def sampled_gradient(problem: ConvexProblem, batch_size: int) -> Gradient:
    """The gradient on fresh samples."""

    def gradient(key, model):
        batch = jax.tree.map(lambda leaf: leaf[0], problem.sample(key, batch_size))
        return jax.grad(problem.loss)(model, batch)

    return gradient


def noisy_gradient(problem: ConvexProblem, variance: float | Float[Array, ""]) -> Gradient:
    """The expected gradient and noise of exactly this variance, the same at every model.

    So Assumption 2 holds with sigma^2 = `variance` on all of R^d, and L and mu of the expected loss are those of
    Assumption 1. Variance 0 is gradient descent.
    """

    def gradient(key, model):
        noise = jax.random.normal(key, model.shape, model.dtype) * jnp.sqrt(variance / model.shape[0])
        return problem.population_gradient(model[None])[0] + noise

    return gradient


def step_rate(
    schedule: Schedule,
    step: Int[Array, ""] | int,
    num_steps: Int[Array, ""] | int,
    strong_convexity: float | Float[Array, ""],
    constant: float | Float[Array, ""],
) -> Float[Array, ""]:
    """Learning rate of a step, counted from 1.

    >>> [round(float(step_rate("decaying", step, 3, 1.0, 0.0)), 4) for step in (1, 2, 3)]
    [1.0, 0.6667, 0.5]
    """
    if schedule == "constant":
        return jnp.asarray(constant, dtype=float)
    return personalisation_rate(strong_convexity, num_steps if schedule == "printed" else step)


def measure_personalisation(
    key: Key[Array, ""],
    problem: ConvexProblem,
    gradient: Gradient,
    start: Float[Array, " dims"],
    optimum: Float[Array, " dims"],
    num_steps: Int[Array, ""] | int,
    num_runs: int,
    schedule: Schedule = "printed",
    strong_convexity: float | Float[Array, ""] = 1.0,
    constant: float | Float[Array, ""] = 0.0,
) -> Float[Array, " runs"]:
    """Personalisation errors, MAN (2), of independent adaptations. Under jit one program serves all E.

    Args:
      problem: of one agent.
      gradient: what a step follows.
      start: the meta-model w_0.
      optimum: the agent's best model; both losses in (2) are exact population losses.
      num_steps: E.
      strong_convexity: mu in the learning rate.
      constant: the learning rate of the constant schedule.
    """

    def run(key):
        def step(index, model):
            rate = step_rate(schedule, index, num_steps, strong_convexity, constant)
            return descend(model, gradient(jax.random.fold_in(key, index), model), rate)

        return jax.lax.fori_loop(1, num_steps + 1, step, start)

    models = jax.vmap(run)(jax.random.split(key, num_runs))
    losses = jax.vmap(lambda model: problem.population_loss(model[None])[0])(models)
    return personalisation_error(losses, problem.population_loss(optimum[None])[0])
