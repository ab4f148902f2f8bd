"""The tables of the sections on MAN's theorems."""

from pages import shown, table
from theory_figures import READINGS

UNBOUNDED = ("B", "K", "D")  # what may be made as large as one likes without (8) levelling off


def rates_table(problems: dict) -> str:
    rows = []
    for name, problem in problems.items():
        constants = problem["constants"]
        for regime, part in problem["regimes"].items():
            holds = [meaning for meaning, kept in part["conditions"].items() if kept]
            rows.append(
                [
                    name,
                    f"{constants['smoothness']:.3g}",
                    f"{constants['strong_convexity']:.3g}",
                    f"{constants['gradient_bound']:.3g}",
                    f"{constants['hessian_lipschitz']:.3g}",
                    regime,
                    f"{part['beta']:.2g}",
                    f"{part['gamma']:.2g}",
                    f"{part['c_g']:.3g}",
                    ", ".join(holds) or "neither",
                ]
            )
    head = [
        "problem",
        "L",
        "mu",
        "G",
        "rho of the Hessian",
        "rates",
        "beta",
        "gamma",
        "c_g",
        "conditions hold with rho",
    ]
    return table(head, rows)


def slopes_table(variables: dict) -> str:
    rows = []
    for variable, part in variables.items():
        row = [variable, f"{part['predicted_slope']:.2f}"]
        for found in part["readings"].values():
            text = found["verdict"]
            if not text.startswith("undecided"):
                outgrows = found["outgrows_bound"] and not text.startswith("supported")
                mark = " +" if outgrows and variable in UNBOUNDED else ""
                text = f"{shown(found['slope'], 2)}{mark}: {text}"
            row.append(text)
        rows.append(row)
    return table(["variable", "(8)", *READINGS.values()], rows)


def vacuity_table(problems: dict) -> str:
    """(8) over the measured error at the base point, with constant 1 and 1 / c_g, beside the largest loss."""
    rows = []
    for name, problem in problems.items():
        for regime, part in problem["regimes"].items():
            point = part["second_order"]["D"]
            place = 2  # the base point of the grid
            bound = point["bound"][place]
            error = point["readings"]["fresh"]["errors"][place]["mean"]
            largest = problem["largest_loss"]
            rows.append(
                [
                    name,
                    regime,
                    f"{error:.2g}",
                    f"{bound:.2g}",
                    f"{bound / error:.0f}",
                    f"{bound / part['c_g']:.3g}",
                    f"{bound / part['c_g'] / error:.0f}",
                    f"{largest:.3g}",
                    _above(bound, bound / part["c_g"], largest),
                ]
            )
    head = [
        "problem",
        "rates",
        "error (Definition 3)",
        "(8), constant 1",
        "ratio",
        "(8), constant 1 / c_g",
        "ratio",
        "largest loss of a sample",
        "above it",
    ]
    return table(head, rows)


def _above(with_one: float, with_curvature: float, largest: float) -> str:
    above = [label for label, value in (("1", with_one), ("1 / c_g", with_curvature)) if value > largest]
    return f"with {' and '.join(above)}" if above else "no"


def noise_table(found: dict) -> str:
    rows = []
    for name, part in found.items():
        errors = [row["high"] for row in part["errors"]]
        derived = [
            value is None or error <= value
            for error, value in zip(errors, part["derived_bound"], strict=True)
        ]
        ratios = [bound / row["mean"] for bound, row in zip(part["bound"], part["errors"], strict=True)]
        rows.append(
            [
                name,
                f"{part['x'][0]} to {part['x'][-1]}",
                shown(part["slope"], 2),
                f"{part['predicted_slope']:g}",
                f"{min(ratios):.1f} to {max(ratios):.1f}",
                "yes" if all(derived) else "no",
            ]
        )
    head = ["problem", "E", "slope", "(9)", "(9) with constant 1 / error", "derived bound holds"]
    return table(head, rows)


def constants_table(found: dict) -> str:
    rows = [
        [
            name,
            f"{part['x'][0]:g} to {part['x'][-1]:g}",
            shown(part["slope"], 2),
            f"{part['predicted_slope']:g}",
        ]
        for name, part in found.items()
    ]
    return table(["constant", "values", "slope", "(9)"], rows)


def start_table(found: dict) -> str:
    rows = []
    for label, values in found["errors"].items():
        above = found["above_bound_at"][label]
        rows.append([label, *(f"{value:.1e}" for value in values), ", ".join(map(str, above)) or "nowhere"])
    rows.append(["(9), constant 1 / L", *(f"{value:.1e}" for value in found["bound"]), ""])
    head = ["rate", *(f"E = {steps}" for steps in found["x"]), "above (9) at E"]
    words = f"""Before any step the error is {found["before"]:.3g}. With the printed rate it tends to
{found["limit_of_printed"]:.2e}, as (1 - 2 l / (mu (E + 1)))^(2E) tends to e^(-4 l / mu) for an eigenvalue l; (9) tends
to 0, so no hidden constant makes (9) hold for all E. Gradient descent with rate 1 / L decays as fast as (9) says."""
    return f"{words}\n\n{table(head, rows)}"


def divergence_table(found: list[dict]) -> str:
    rows = [
        [
            f"{part['L/mu']:g}",
            f"{part['largest_growth']:.1e}",
            str(part["last_E_worse_than_start"]),
            f"{part['threshold']:g}",
        ]
        for part in found
    ]
    words = (
        "The rate is below 2 / L only for E > L / mu - 1. With fewer steps adaptation makes the model worse:"
    )
    head = ["L / mu", "largest error / error at the start", "last E that is worse than no step", "L / mu - 1"]
    return f"{words}\n\n{table(head, rows)}"


def paper_rate_table(found: dict) -> str:
    rows = [
        [
            name,
            f"{part['rate_of_theorem_2']:.3g}",
            f"{part['share_left']['theorem 2']:.2e}",
            f"{part['share_left']['constant']:.3f}",
        ]
        for name, part in found.items()
    ]
    one = next(iter(found.values()))
    words = f"""Sec. V adapts with rate {one["rate"]:g} for E = {one["E"]} steps. That is Theorem 2's rate only if
mu = {one["mu_for_which_they_agree"]:.1f}. Share of the initial error that is left, with exact gradients:"""
    head = ["problem", "rate of Theorem 2", "left by it", f"left by {one['rate']:g}"]
    return f"{words}\n\n{table(head, rows)}"


def both_table(found: dict) -> str:
    rows = [
        [name, meaning, f"{part['largest_beta']:.2g}", f"{part['from_E']:.0f}"]
        for name, meanings in found.items()
        for meaning, part in meanings.items()
    ]
    words = "Theorem 2's rate meets the condition of Theorem 1 only from some E on, max{4L / mu, 16 rho G / mu^2} - 1:"
    return f"{words}\n\n{table(['problem', 'rho', 'largest beta of Theorem 1', 'E from'], rows)}"
