"""MAN Theorem 2 put to the test: personalisation errors of one agent on convex problems whose constants are known.

    lameta reproduce theorem2           # or python experiments/theorem2.py [--seeds 5] [--out DIR]

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
from theorem2_rates import (
    BATCH_SIZE,
    DIMS,
    DISTANCE,
    MU,
    L,
    both_theorems,
    divergence,
    errors,
    of_noise,
    paper_rate,
    quadratic,
    start_against_steps,
)
from theory_figures import theorem2_figure

from lameta_jax.meta.bounds import derived_personalisation_bound, personalisation_bound
from lameta_jax.meta.convex_adaptation import only_agent
from lameta_jax.meta.power_law import slope_interval


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


def study(preset: Preset) -> dict:
    """Every part of the study."""
    with jax.enable_x64(True):
        return {
            "preset": asdict(preset),
            "batch_size": BATCH_SIZE,
            "quadratic": {"mu": MU, "L": L, "c_I": DISTANCE},
            "noise": {name: noise_against_steps(name, preset) for name in preset.problems},
            "grids": {name: along(name, grid, preset) for name, grid in preset.grids},
            "start": start_against_steps(preset.start_steps),
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


def main() -> None:
    started, options = time.time(), arguments("theorem2", Preset().seeds, __doc__)
    found = study(Preset(seeds=options.seeds))
    save(theorem2_figure(found), options.out / "theorem2.png")
    finish("theorem2", found, seeds=list(range(options.seeds)), started=started, folder=options.out)


if __name__ == "__main__":
    main()
