"""The parts of the study of MAN's Theorem 2 that are about its learning rate; theorem2.py runs them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from theorem1 import make_problem

from lameta_jax.meta.bounds import (
    derived_personalisation_bound,
    max_inner_rate,
    personalisation_bound,
    personalisation_rate,
    steps_for_both_theorems,
    steps_for_stability,
)
from lameta_jax.meta.convex_adaptation import (
    Schedule,
    measure_personalisation,
    noisy_gradient,
    only_agent,
    sampled_gradient,
)
from lameta_jax.meta.convex_training import ConvexProblem
from lameta_jax.meta.ridge import Ridge

DIMS, BATCH_SIZE, MODEL_RADIUS = 5, 4, 1.0
PAPER_RATE, PAPER_STEPS = 0.001, 30  # Sec. V-A
MU, L, DISTANCE = 1.0, 4.0, 1.0  # of the quadratic, unless they are varied


def quadratic(mu: float, smoothness: float) -> Ridge:
    """A quadratic with eigenvalues in geometric progression from mu to L; its optimum, its target, has loss 0."""
    eigenvalues = jnp.geomspace(mu, smoothness, DIMS)
    target = jnp.full((1, DIMS), DIMS**-0.5)
    return Ridge(target, jnp.diag(eigenvalues), noise=jnp.array(0.0), l2=jnp.array(0.0))


@partial(jax.jit, static_argnames=("num_runs", "batch_size", "schedule"))
def errors(
    key: jax.Array,
    problem: ConvexProblem,
    start: jax.Array,
    optimum: jax.Array,
    steps: int,
    mu: float,
    variance: float = 0.0,
    constant: float = 0.0,
    num_runs: int = 1,
    batch_size: int | None = None,
    schedule: Schedule = "printed",
) -> jax.Array:
    """Personalisation errors of runs: on fresh samples if a batch size is given, else with noise of that variance."""
    by_samples = batch_size is not None
    gradient = sampled_gradient(problem, batch_size) if by_samples else noisy_gradient(problem, variance)
    return measure_personalisation(
        key, problem, gradient, start, optimum, steps, num_runs, schedule, mu, constant
    )


def of_noise(name: str, problem: ConvexProblem) -> tuple[float, float, float]:
    """mu, L and sigma^2 of a gradient; of problems with samples those that hold in the ball."""
    if name == "quadratic":
        return MU, L, 1.0
    constants = problem.constants(MODEL_RADIUS)
    return constants.strong_convexity, constants.smoothness, constants.gradient_variance / BATCH_SIZE


def direction(seed: int) -> jax.Array:
    """A random direction from the optimum."""
    drawn = jax.random.normal(jax.random.key(seed), (DIMS,))
    return drawn / jnp.linalg.norm(drawn)


def start_against_steps(grid: tuple[int, ...]) -> dict:
    """The initial deviation against E with exact gradients, equal in all directions, by schedule of the rate."""
    problem = quadratic(MU, L)
    optimum = problem.optima()[0]
    start = optimum + DISTANCE * jnp.full(DIMS, DIMS**-0.5)
    run = partial(errors, jax.random.key(0), problem, start, optimum)
    schedules: dict[str, tuple[Schedule, float]] = {
        "2 / (mu (E + 1)), printed": ("printed", 0.0),
        "2 / (mu (e + 1)), decaying": ("decaying", 0.0),
        "1 / L": ("constant", 1 / L),
        "0.001, as in the experiments": ("constant", PAPER_RATE),
    }
    found = {
        label: [float(run(steps, MU, 0.0, constant, schedule=how)[0]) for steps in grid]
        for label, (how, constant) in schedules.items()
    }
    steps = np.array(grid, float)
    given = {"num_steps": steps, "distance": DISTANCE, "gradient_variance": 0.0, "smoothness": L}
    bound = np.asarray(personalisation_bound(**given, strong_convexity=MU, distance_constant=1 / L))
    derived = np.asarray(derived_personalisation_bound(**given, strong_convexity=MU))
    eigenvalues = np.geomspace(MU, L, DIMS)
    # (1 - 2 l / (mu (E + 1)))^{2E} tends to e^{-4 l / mu}.
    limit = float(np.mean(eigenvalues / 2 * np.exp(-4 * eigenvalues / MU)) * DISTANCE**2)
    above = {
        label: [int(step) for step, error, most in zip(steps, values, bound, strict=True) if error > most]
        for label, values in found.items()
    }
    return {
        "x": list(grid),
        "before": float(run(0, MU)[0]),
        "errors": found,
        "bound": bound.tolist(),
        "derived_bound": [float(value) if np.isfinite(value) else None for value in derived],
        "limit_of_printed": limit,
        "above_bound_at": above,
    }


def divergence(ratio: float) -> dict:
    """Where the printed rate makes the error larger than before any step, with exact gradients, and where it cannot."""
    problem = quadratic(MU, ratio * MU)
    optimum = problem.optima()[0]
    start = optimum + jnp.full(DIMS, DIMS**-0.5)
    before = float(errors(jax.random.key(0), problem, start, optimum, 0, MU)[0])
    steps = range(1, int(2 * ratio) + 1)
    growth = [float(errors(jax.random.key(0), problem, start, optimum, e, MU)[0]) / before for e in steps]
    worse = [step for step, value in zip(steps, growth, strict=True) if value > 1]
    return {
        "L/mu": ratio,
        "x": list(steps),
        "error_over_start": growth,
        "largest_growth": max(growth),
        "last_E_worse_than_start": max(worse, default=0),
        "threshold": float(steps_for_stability(ratio * MU, MU)),
    }


def paper_rate(name: str) -> dict:
    """What the experiments' constant rate leaves of an error after the experiments' E, beside Theorem 2's rate."""
    problem = quadratic(MU, L) if name == "quadratic" else only_agent(make_problem(name, 0, 1))
    optimum = problem.optima()[0]
    mu, smoothness, _ = of_noise(name, problem)
    run = partial(errors, jax.random.key(0), problem, optimum + direction(0) * DISTANCE, optimum)
    before = float(run(0, mu)[0])
    left = {
        "constant": float(run(PAPER_STEPS, mu, 0.0, PAPER_RATE, schedule="constant")[0]) / before,
        "theorem 2": float(run(PAPER_STEPS, mu)[0]) / before,
    }
    return {
        "E": PAPER_STEPS,
        "rate": PAPER_RATE,
        "rate_of_theorem_2": float(personalisation_rate(mu, PAPER_STEPS)),
        "mu_for_which_they_agree": 2 / (PAPER_RATE * (PAPER_STEPS + 1)),
        "stable_from_E": float(steps_for_stability(smoothness, mu)),
        "share_left": left,
    }


def both_theorems(name: str) -> dict:
    """From which E on Theorem 2's rate meets the condition of Theorem 1, in both meanings of rho."""
    constants = only_agent(make_problem(name, 0, 1)).constants(MODEL_RADIUS)
    size = (constants.smoothness, constants.strong_convexity)
    meanings = {"printed": constants.gradient_bound, "units": constants.hessian_lipschitz}
    return {
        meaning: {
            "largest_beta": float(max_inner_rate(*size, rho, constants.gradient_bound)),
            "from_E": float(np.ceil(steps_for_both_theorems(*size, rho, constants.gradient_bound) - 1e-9)),
        }
        for meaning, rho in meanings.items()
    }
