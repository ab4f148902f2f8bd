"""MAN Theorem 2 put to the test: personalisation errors of one agent on convex problems whose constants are known.

    python experiments/theorem2.py [--seeds 5] [--out DIR]

The two terms of (9) are taken apart: an agent that starts at its optimum (c_I = 0) has the noise term alone, one that
follows exact gradients (sigma = 0) the initial deviation alone. `quadratic` has gradients with noise of exactly the
variance that is asked for; `ridge` and `logistic` draw fresh samples. The learning rate is 2 / (mu (E + 1)), as printed
the same in all E steps, unless a part says otherwise. Everything is computed in double precision.
"""

import time
from dataclasses import asdict, dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, finish, interval, report
from figures import save
from theorem1 import make_problem
from theory_figures import theorem2_figure

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
from lameta_jax.meta.power_law import slope_interval
from lameta_jax.meta.ridge import Ridge

DIMS, BATCH_SIZE, MODEL_RADIUS = 5, 4, 1.0
PAPER_RATE, PAPER_STEPS = 0.001, 30  # Sec. V-A
MU, L, DISTANCE = 1.0, 4.0, 1.0  # of the quadratic, unless they are varied


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Grids and sizes of the study."""

    seeds: int = 5
    num_runs: int = 200  # per seed
    steps: tuple[int, ...] = (16, 32, 64, 128, 256, 512)  # E of the noise term
    start_steps: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)  # E of the initial deviation
    grids: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("sigma^2", (0.01, 0.1, 1.0, 10.0)),
        ("mu", (0.5, 1.0, 2.0, 4.0)),  # with L fixed
        ("L/mu", (1.0, 2.0, 4.0, 8.0, 16.0)),  # with mu fixed
        ("c_I", (0.1, 0.3, 1.0, 3.0)),
    )
    fixed_steps: int = 128  # E while something else is varied
    ratios: tuple[float, ...] = (4.0, 16.0, 64.0)  # L / mu of the runs that diverge
    problems: tuple[str, ...] = ("quadratic", "ridge", "logistic")


QUICK = Preset(
    seeds=3,
    num_runs=60,
    steps=(16, 32, 64, 128),
    start_steps=(1, 2, 4, 8, 16, 32, 64),
    fixed_steps=64,
    ratios=(4.0, 16.0),
    problems=("quadratic",),
)


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


def study(preset: Preset) -> dict:
    """Every part of the study."""
    with jax.enable_x64(True):
        return {
            "preset": asdict(preset),
            "batch_size": BATCH_SIZE,
            "quadratic": {"mu": MU, "L": L, "c_I": DISTANCE},
            "noise": {name: noise_against_steps(name, preset) for name in preset.problems},
            "grids": {name: along(name, grid, preset) for name, grid in preset.grids},
            "start": start_against_steps(preset),
            "divergence": [divergence(ratio) for ratio in preset.ratios],
            "paper_rate": {name: paper_rate(name) for name in preset.problems},
            "both_theorems": {name: both_theorems(name) for name in ("ridge", "logistic")},
        }


def noise_against_steps(name: str, preset: Preset) -> dict:
    """The noise term against E: runs that start at the optimum."""
    rows = []
    for seed in range(preset.seeds):
        problem = quadratic(MU, L) if name == "quadratic" else only_agent(make_problem(name, seed, 1))
        constants, smoothness, variance = of_noise(name, problem)
        optimum = problem.optima()[0]
        runs = partial(errors, jax.random.key(seed), problem, optimum, optimum, num_runs=preset.num_runs)
        batch = None if name == "quadratic" else BATCH_SIZE
        rows.append(
            [float(jnp.mean(runs(steps, constants, variance, batch_size=batch))) for steps in preset.steps]
        )
        report(f"theorem2, noise, {name}, seed {seed}")
    steps = np.array(preset.steps, float)
    given = {"num_steps": steps, "distance": 0.0, "gradient_variance": variance, "smoothness": smoothness}
    bound = np.asarray(personalisation_bound(**given, strong_convexity=constants))
    derived = np.asarray(derived_personalisation_bound(**given, strong_convexity=constants))
    return {
        "mu": constants,
        "L": smoothness,
        "sigma^2": variance,
        "x": list(preset.steps),
        "errors": [interval(column) for column in np.array(rows).T],
        "slope": slope(steps, rows),
        "predicted_slope": -1.0,
        "bound": bound.tolist(),
        "derived_bound": [float(value) if np.isfinite(value) else None for value in derived],
    }


def of_noise(name: str, problem: ConvexProblem) -> tuple[float, float, float]:
    """mu, L and sigma^2 of a gradient; of problems with samples those that hold in the ball."""
    if name == "quadratic":
        return MU, L, 1.0
    constants = problem.constants(MODEL_RADIUS)
    return constants.strong_convexity, constants.smoothness, constants.gradient_variance / BATCH_SIZE


def slope(x: np.ndarray, rows: list[list[float]]) -> dict[str, float]:
    return {
        key: float(value)
        for key, value in slope_interval(jnp.asarray(x), jnp.asarray(rows))._asdict().items()
    }


def along(name: str, grid: tuple[float, ...], preset: Preset) -> dict:
    """Error of the quadratic against one constant at fixed E: c_I without noise, the others from the optimum."""
    rows = []
    for seed in range(preset.seeds):
        row = []
        for x in grid:
            mu, smoothness = (x if name == "mu" else MU), (x * MU if name == "L/mu" else L)
            problem = quadratic(mu, smoothness)
            optimum = problem.optima()[0]
            offset = jnp.full(DIMS, (x if name == "c_I" else 0.0) * DIMS**-0.5)
            variance = {"sigma^2": x, "c_I": 0.0}.get(name, 1.0)
            found = errors(
                jax.random.key(seed),
                problem,
                optimum + offset,
                optimum,
                preset.fixed_steps,
                mu,
                variance,
                num_runs=preset.num_runs,
            )
            row.append(float(jnp.mean(found)))
        rows.append(row)
    predicted = {"sigma^2": 1.0, "mu": -1.0, "L/mu": 0.0, "c_I": 2.0}[name]
    return {
        "x": list(grid),
        "E": preset.fixed_steps,
        "errors": [interval(column) for column in np.array(rows).T],
        "slope": slope(np.array(grid), rows),
        "predicted_slope": predicted,
    }


def direction(seed: int) -> jax.Array:
    """A random direction from the optimum."""
    drawn = jax.random.normal(jax.random.key(seed), (DIMS,))
    return drawn / jnp.linalg.norm(drawn)


def start_against_steps(preset: Preset) -> dict:
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
        label: [float(run(steps, MU, 0.0, constant, schedule=how)[0]) for steps in preset.start_steps]
        for label, (how, constant) in schedules.items()
    }
    steps = np.array(preset.start_steps, float)
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
        "x": list(preset.start_steps),
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


def main() -> None:
    started, options = time.time(), arguments("theorem2", Preset().seeds, __doc__)
    found = study(Preset(seeds=options.seeds))
    save(theorem2_figure(found), options.out / "theorem2.png")
    finish("theorem2", found, seeds=list(range(options.seeds)), started=started, folder=options.out)


if __name__ == "__main__":
    main()
