"""MAN Theorem 1 put to the test: generalisation errors on ridge and logistic regression whose constants are known.

    lameta reproduce theorem1           # or python experiments/theorem1.py [--seeds 5] [--out DIR]

Each variable of (8) is changed alone around a base point. Slopes in log-log coordinates, with intervals over seeds
(each draws the agents and all data sets), are compared with the slope of (8) itself over the same grid. Three readings
of (1) are measured, see `lameta_jax.meta.convex_training.GeneralisationGaps`: the models as (1) prints it; adaptation
on fresh samples, which is what Definition 3 bounds; the foundation model alone.
"""

import time
from dataclasses import asdict, dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, finish, interval, report
from figures import save
from theory_figures import theorem1_figure

from lameta_jax.meta.bounds import (
    generalisation_bound,
    max_inner_rate,
    max_meta_rate,
    meta_contraction,
    rates_allowed,
)
from lameta_jax.meta.convex import Constants, spread_targets
from lameta_jax.meta.convex_training import (
    ConvexProblem,
    GeneralisationGaps,
    Rates,
    TrainingConfig,
    draw_runs,
    measure_generalisation,
)
from lameta_jax.meta.logistic import Logistic
from lameta_jax.meta.power_law import log_log_slope, slope_interval, slope_verdict
from lameta_jax.meta.ridge import Ridge

DIMS, HETEROGENEITY, MODEL_RADIUS = 5, 0.5, 1.0
BASE = TrainingConfig(num_collaborators=4, num_agents=10, num_samples=32, batch_size=4, num_steps=2)
SIZES = {  # what the variables of (8) are called in a configuration
    "B": "batch_size",
    "S": "num_collaborators",
    "K": "num_agents",
    "D": "num_samples",
    "E": "num_steps",
}
REGIMES = {
    "printed": "within the conditions, rho the Lipschitz constant of the loss (rho = G)",
    "units": "within the conditions, rho the Lipschitz constant of the Hessian",
    "larger": "beta = gamma = 1 / L, beyond the conditions",
}
ORDERS = {"second_order": tuple(REGIMES), "first_order": ("units", "larger")}


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Grids and sizes of the study."""

    seeds: int = 5
    num_datasets: int = 200  # per seed
    grids: tuple[tuple[str, tuple[float, ...]], ...] = (
        ("B", (1, 2, 4, 8, 16)),
        ("S", (1, 2, 4, 6, 10)),
        ("K", (5, 10, 20, 40, 80)),
        ("D", (8, 16, 32, 64, 128)),
        ("beta", (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)),  # shares of the regime's rate
        ("E", (1, 2, 4, 8, 16)),
        ("T", (4, 8, 16, 64, 256)),
    )
    orders: tuple[str, ...] = tuple(ORDERS)
    problems: tuple[str, ...] = ("ridge", "logistic")


QUICK = Preset(
    seeds=3,
    num_datasets=60,
    grids=(("K", (5, 10, 20)), ("beta", (1 / 4, 1 / 2, 1)), ("T", (4, 16, 64))),
    orders=("second_order",),
    problems=("ridge",),
)


def make_problem(name: str, seed: int, num_agents: int) -> ConvexProblem:
    """Agents around a common target of length 1; inputs from the unit-covariance sphere law, so norms are bounded."""
    targets = spread_targets(jax.random.key(seed), num_agents, DIMS, HETEROGENEITY)
    if name == "ridge":
        return Ridge(targets, jnp.eye(DIMS), noise=jnp.array(0.5), l2=jnp.array(1.0))
    return Logistic(targets, jnp.eye(DIMS), l2=jnp.array(0.2))


def regime_rates(regime: str, constants: Constants) -> tuple[Rates, float]:
    """Learning rates of a regime, the largest that it allows, and the rho that (8) is evaluated with."""
    L, mu, G = constants.smoothness, constants.strong_convexity, constants.gradient_bound
    if regime == "larger":
        return Rates(jnp.array(1 / L), jnp.array(1 / L)), constants.hessian_lipschitz
    rho = G if regime == "printed" else constants.hessian_lipschitz
    beta = max_inner_rate(L, mu, rho, G)
    return Rates(beta, max_meta_rate(L, rho, G, beta)), rho


def points(variable: str, grid: tuple[float, ...], rates: Rates) -> list[tuple[TrainingConfig, Rates]]:
    """The runs of one variable; that of T is a single one, measured on the way."""
    if variable == "T":
        return [(replace(BASE, rounds=tuple(int(x) for x in grid)), rates)]
    if variable == "beta":
        return [(BASE, rates._replace(inner=share * rates.inner)) for share in grid]
    if variable == "S/K":
        return [(replace(BASE, num_collaborators=int(x), divide_by="agents"), rates) for x in grid]
    return [(replace(BASE, **{SIZES[variable]: int(x)}), rates) for x in grid]


def study(preset: Preset) -> dict:
    """All problems, regimes and orders of the meta-gradient."""
    found = {name: of_problem(name, preset) for name in preset.problems}
    return {
        "preset": asdict(preset),
        "base": {key: getattr(BASE, key) for key in (*SIZES.values(), "outer_batch_size", "rounds")},
        "dims": DIMS,
        "heterogeneity": HETEROGENEITY,
        "model_radius": MODEL_RADIUS,
        "regimes": REGIMES,
        "problems": found,
    }


def of_problem(name: str, preset: Preset) -> dict:
    """One problem: constants, then slopes by regime, order and variable."""
    grids = dict(preset.grids)
    if "S" in grids:
        grids["S/K"] = grids["S"]  # the sum over S agents divided by K, as (6) is printed
    any_rates = Rates(jnp.array(0.0), jnp.array(0.0))
    configs = tuple({config for v, grid in grids.items() for config, _ in points(v, grid, any_rates)})
    most = max(config.num_agents for config in configs)
    problems = [make_problem(name, seed, most) for seed in range(preset.seeds)]
    # The worst of the seeds' constants: G depends on the targets.
    constants = Constants(
        *(max(column) for column in zip(*(p.constants(MODEL_RADIUS) for p in problems), strict=True))
    )
    largest = max(problem.largest_loss(MODEL_RADIUS) for problem in problems)
    measured: dict = {}
    for seed, problem in enumerate(problems):
        draws = draw_runs(jax.random.key(seed, impl="rbg"), problem, preset.num_datasets, configs)
        for order, regime in ((o, r) for o in preset.orders for r in ORDERS[o]):
            rates, _ = regime_rates(regime, constants)
            for variable, grid in grids.items():
                runs = [
                    measure_generalisation(draws, problem, rate, replace(config, order=order))
                    for config, rate in points(variable, grid, rates)
                ]
                measured.setdefault((regime, order, variable), []).append(along_grid(runs))
            report(f"theorem1, {name}, seed {seed}, {order}, {regime}")
    regimes = {
        regime: described(regime, constants)
        | {
            order: {
                variable: compared(variable, grid, measured[regime, order, variable], regime, constants)
                for variable, grid in grids.items()
            }
            for order in preset.orders
            if regime in ORDERS[order]
        }
        for regime in REGIMES
    }
    return {"constants": constants._asdict(), "largest_loss": largest, "regimes": regimes}


def along_grid(runs: list[GeneralisationGaps]) -> dict[str, np.ndarray]:
    """Mean over data sets of each reading at each point of the grid."""
    return {
        reading: np.concatenate([np.asarray(getattr(run, reading).mean(axis=0)) for run in runs])
        for reading in GeneralisationGaps._fields
    }


def described(regime: str, constants: Constants) -> dict:
    """Rates of a regime, what (8) makes of them, and whether the conditions hold in either meaning of rho."""
    rates, rho = regime_rates(regime, constants)
    L, mu, G = constants.smoothness, constants.strong_convexity, constants.gradient_bound
    holds = {
        meaning: bool(rates_allowed(L, mu, value, G, *rates))
        for meaning, value in (("printed", G), ("units", constants.hessian_lipschitz))
    }
    contraction = float(meta_contraction(L, mu, rho, G, rates.inner))
    return {
        "beta": float(rates.inner),
        "gamma": float(rates.meta),
        "rho": rho,
        "c_g": contraction,
        "conditions": holds,
    }


def bound_along(variable: str, grid: tuple[float, ...], regime: str, constants: Constants) -> np.ndarray:
    """(8) with hidden constant 1 over the grid of one variable."""
    rates, rho = regime_rates(regime, constants)
    values = {name: float(getattr(BASE, field)) for name, field in SIZES.items()} | {
        "T": float(BASE.rounds[-1]),
        "beta": float(rates.inner),
    }
    values |= {
        "S" if variable == "S/K" else variable: np.asarray(grid, float)
        * (values["beta"] if variable == "beta" else 1)
    }
    bound = generalisation_bound(
        num_collaborators=values["S"],
        num_agents=values["K"],
        num_samples=values["D"],
        batch_size=values["B"],
        num_steps=values["E"],
        num_rounds=values["T"],
        smoothness=constants.smoothness,
        strong_convexity=constants.strong_convexity,
        lipschitz=rho,
        gradient_bound=constants.gradient_bound,
        inner_rate=values["beta"],
        meta_rate=rates.meta,
    )
    return np.asarray(bound)


def compared(
    variable: str, grid: tuple[float, ...], seeds: list[dict], regime: str, constants: Constants
) -> dict:
    """Measured errors along a variable beside (8): slopes, verdict, and how far the bound is above."""
    bound = bound_along(variable, grid, regime, constants)
    x = jnp.asarray(grid, float)
    predicted = float(log_log_slope(x, jnp.asarray(bound)))
    readings = {}
    for reading in GeneralisationGaps._fields:
        values = np.stack([seed[reading] for seed in seeds])
        slope = slope_interval(x, jnp.asarray(values))
        readings[reading] = {
            "errors": [interval(column) for column in values.T],
            # None: an error is not positive, so it has no slope.
            "slope": {key: float(v) if jnp.isfinite(v) else None for key, v in slope._asdict().items()},
            "verdict": slope_verdict(slope, predicted),
            # The error falls less, or grows more, than the bound: no constant would do for ever.
            "outgrows_bound": bool(slope.low > predicted),
            "bound_over_error": [float(value) for value in bound / values.mean(axis=0)],
        }
    return {"x": list(grid), "bound": bound.tolist(), "predicted_slope": predicted, "readings": readings}


def main() -> None:
    started, options = time.time(), arguments("theorem1", Preset().seeds, __doc__)
    found = study(Preset(seeds=options.seeds))
    save(theorem1_figure(found), options.out / "theorem1.png")
    finish("theorem1", found, seeds=list(range(options.seeds)), started=started, folder=options.out)


if __name__ == "__main__":
    main()
