"""The figures of the studies of MAN's theorems."""

from collections.abc import Mapping

import numpy as np
from figures import mean_and_error
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lameta_jax.cli.figures import SUPTITLE
from lameta_jax.cli.network_figure import COLOURS, FAINT, INK, STYLE

READINGS = {
    "adapted": "adapted on own data, (1) as printed",
    "fresh": "adapted on fresh data (Definition 3)",
    "foundation": "foundation model, not adapted",
}
VARIABLES = {
    "B": "B, inner batch size",
    "S": "S, mean over collaborators",
    "S/K": "S, sum divided by K",
    "K": "K, agents",
    "D": "D, samples per agent",
    "beta": "beta, share of the largest",
    "E": "E, steps of adaptation",
    "T": "T, rounds",
}


def points(panel: Axes, x, rows: list[dict], colour: str, label: str, marker: str = "o") -> None:
    """Means with their 95% intervals, joined; not drawn where a mean is not positive."""
    mean, error = mean_and_error(rows)
    shown = mean > 0
    error = np.minimum(error, [0.999 * np.abs(mean), np.full_like(mean, np.inf)])  # log scale: above 0
    panel.errorbar(
        np.asarray(x, float)[shown],
        mean[shown],
        error[:, shown],
        fmt=f"{marker}-",
        color=colour,
        label=label,
        markersize=4,
        linewidth=1.3,
        elinewidth=0.9,
    )


@rc_context(STYLE)
def theorem1_figure(found: Mapping, regime: str = "units", order: str = "second_order") -> Figure:
    """Measured errors along every variable and (8), moved to meet the printed reading in the grid's middle."""
    problems = found["problems"]
    variables = list(next(iter(problems.values()))["regimes"][regime][order])
    columns = min(4, len(variables))
    rows = -(-len(variables) // columns)
    figure = Figure(figsize=(3.3 * columns + 0.4, 2.75 * rows * len(problems) + 1.1), layout="constrained")
    grids = figure.subplots(rows * len(problems), columns, squeeze=False)
    for place, (name, problem) in enumerate(problems.items()):
        panels = grids[place * rows : (place + 1) * rows].ravel()
        for panel, variable in zip(panels, variables, strict=False):
            part = problem["regimes"][regime][order][variable]
            _variable(panel, part)
            panel.set_title(f"{name}: {variable}")
            panel.set_xlabel(VARIABLES[variable], fontsize=9)
        for panel in panels[len(variables) :]:
            panel.set_visible(False)
    for row in grids:
        row[0].set_ylabel("generalisation error")
    figure.legend(*grids[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=9)
    figure.suptitle(
        f"Theorem 1, {found['regimes'][regime]}: errors with 95% intervals over seeds, and the shape of (8)",
        **SUPTITLE,
    )
    return figure


def _log_errors(panel: Axes) -> None:
    """Errors on a log scale, with plain labels: those of Matplotlib need mathematical text, which is off."""
    panel.set_yscale("log")
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _variable(panel: Axes, part: Mapping) -> None:
    for (reading, label), colour in zip(READINGS.items(), (COLOURS[2], COLOURS[0], FAINT), strict=True):
        points(panel, part["x"], part["readings"][reading]["errors"], colour, label)
    middle = len(part["x"]) // 2
    bound = np.array(part["bound"])
    level = part["readings"]["adapted"]["errors"][middle]["mean"] / bound[middle]
    panel.plot(part["x"], level * bound, "--", color=INK, linewidth=1.2, label="(8), moved up or down")
    panel.set_xscale("log", base=2)
    _log_errors(panel)
    panel.set_xticks(part["x"], [f"{x:g}" if x >= 1 else f"1/{1 / x:g}" for x in part["x"]], fontsize=8)
    panel.tick_params(axis="x", which="minor", bottom=False)
    panel.grid(axis="y")


@rc_context(STYLE)
def theorem2_figure(found: Mapping) -> Figure:
    """The noise term, the initial deviation by learning rate, its growth if steps are too long, and the constants."""
    figure = Figure(figsize=(13, 8.2), layout="constrained")
    noise, start, growth, *grids = figure.subplots(2, 3).ravel()
    colours = (COLOURS[2], COLOURS[0], COLOURS[5], FAINT)
    for (name, part), colour in zip(found["noise"].items(), colours, strict=False):
        points(noise, part["x"], part["errors"], colour, f"{name}: measured")
        noise.plot(
            part["x"], part["bound"], "--", color=colour, linewidth=1.2, label=f"{name}: (9), constant 1"
        )
    noise.set_title("Noise: start at the optimum")
    noise.set_ylabel("personalisation error")
    part = found["start"]
    for (label, values), colour in zip(part["errors"].items(), colours, strict=True):
        start.plot(
            part["x"], np.maximum(values, 1e-16), "o-", color=colour, label=label, markersize=4, linewidth=1.3
        )
    start.plot(
        part["x"], part["bound"], "--", color=INK, linewidth=1.2, label="(9) with hidden constant 1 / L"
    )
    start.set_ylim(1e-13, 1e9)  # room for the legend
    start.set_title("Initial deviation, L / mu = 4")
    for part, colour in zip(found["divergence"], colours, strict=False):
        x = np.array(part["x"]) / part["L/mu"]
        growth.plot(
            x, np.clip(part["error_over_start"], 1e-4, None), color=colour, label=f"L / mu = {part['L/mu']:g}"
        )
    growth.axhline(1, color=INK, linewidth=0.8)
    growth.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    growth.set_yscale("log")
    growth.set_title("Too few steps diverge")
    growth.set_ylabel("error / error at the start")
    growth.set_xlabel("E mu / L (right of 1: rate below 2 / L)")
    growth.legend(fontsize=8)
    for panel in (noise, start):
        panel.set_xscale("log", base=2)
        panel.set_yscale("log")
        panel.set_xlabel("E, steps of adaptation")
    noise.set_ylim(bottom=noise.get_ylim()[0] / 50)  # room for the legend
    noise.legend(fontsize=8, loc="lower left")
    start.legend(fontsize=8, loc="upper right")
    _constants(grids, found["grids"])
    for panel in (noise, start, growth, *grids):
        panel.grid(axis="y")
    figure.suptitle("Theorem 2: its two terms apart, and the constants in them", **SUPTITLE)
    return figure


def _constants(panels: list[Axes], found: Mapping) -> None:
    """The error against each constant, with the line that (9) predicts."""
    names = {
        "sigma^2": "sigma^2, variance of the gradient",
        "c_I": "c_I, distance at the start",
        "mu": "mu (L fixed) and L / mu (mu fixed)",
    }
    for panel, (name, label) in zip(panels, names.items(), strict=True):
        for shown, colour in ((name, COLOURS[2]), ("L/mu", COLOURS[0]))[: 2 if name == "mu" else 1]:
            part = found[shown]
            slope, x = part["slope"], np.array(part["x"])
            points(panel, x, part["errors"], colour, f"{shown}: slope {slope['mean']:.2f}")
            line = part["errors"][0]["mean"] * (x / x[0]) ** part["predicted_slope"]
            panel.plot(
                x, line, "--", color=colour, linewidth=1.2, label=f"{shown}: {part['predicted_slope']:g}, (9)"
            )
        panel.set_xscale("log")
        _log_errors(panel)
        panel.set_title(f"quadratic, E = {found[name]['E']}")
        panel.set_xlabel(label)
        panel.legend(fontsize=8)
    panels[0].set_ylabel("personalisation error")
