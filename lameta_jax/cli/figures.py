"""The figures of the demo, drawn from its summary; each is None while the summary lacks what it shows.

No text of users is drawn: fonts lack most of the world's characters.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from lameta_jax.cli.network_figure import COLOURS, FAINT, INK, STYLE, network_with_chain
from lameta_jax.cli.tables import applications, is_known, method_label, records
from lameta_jax.network.network import Scenario
from lameta_jax.types import FACTOR_NAMES

SUPTITLE = {"fontweight": "bold", "x": 0.02, "ha": "left", "fontsize": 11}
Summary = Mapping[str, Any]


def draw_figures(summary: Summary, scenario: Scenario) -> dict[str, Figure]:
    """All figures that can be drawn so far, by name."""
    drawn = {
        "elam_error": elam_error_bars(summary),
        "preferences": preference_heatmaps(summary),
        "qoe": qoe_bars(summary),
        "training": training_curve(summary),
        "network": example_network(summary, scenario),
    }
    return {name: figure for name, figure in drawn.items() if figure is not None}


def png_bytes(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=150, facecolor="white")
    return buffer.getvalue()


def save_figures(figures: Mapping[str, Figure], folder: Path) -> list[Path]:
    """Write each figure to <folder>/<name>.png."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        path.write_bytes(png_bytes(figure))
    return paths


@rc_context(STYLE)
def training_curve(summary: Summary) -> Figure | None:
    """What each policy reaches while it learns: as a share of the optimum where that is known, else its QoE."""
    training = summary.get("training") or {}
    updates, curves = training.get("update") or [], training.get("curves") or {}
    if not updates or not curves:
        return None
    as_share = all(curve.get("fraction") for curve in curves.values())
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for colour, (name, curve) in zip(COLOURS, curves.items(), strict=False):
        # The curve of an interrupted training is shorter.
        values = 100 * _floats(curve["fraction"]) if as_share else _floats(curve.get("qoe"))
        axes.plot(updates[: len(values)], values[: len(updates)], color=colour, linewidth=1.6, label=name)
    if as_share:
        axes.axhline(100, color=INK, linewidth=1, linestyle="--", label="optimum (exact search)")
        axes.set_ylabel("QoE, share of the optimum (%)")
    else:
        axes.set_ylabel("mean QoE of an update's episodes (no unit)")
    axes.set_title("What the policies reach while they learn, valued by those they learn with")
    axes.set_xlabel("policy updates")
    axes.set_xlim(left=0)
    axes.grid(axis="y")
    axes.legend(loc="lower right")
    return figure


@rc_context(STYLE)
def preference_heatmaps(summary: Summary) -> Figure | None:
    """Users' own preferences beside what the E-LAM reads out of their words, as in Fig. 5 of the paper."""
    shown = summary.get("preferences") or {}
    pairs = {
        app: (np.asarray(shown[app]["users"], dtype=float), np.asarray(shown[app]["translated"], dtype=float))
        for app in applications(summary)
        if (shown.get(app) or {}).get("users") and shown[app].get("translated")
    }
    if not pairs:
        return None
    figure = Figure(figsize=(1.2 + 4.2 * len(pairs), 5.6), layout="constrained")
    panels = figure.subplots(1, 2 * len(pairs), squeeze=False)[0]
    largest = max(float(np.max(values)) for pair in pairs.values() for values in pair)
    image = None
    for index, (app, (users, translated)) in enumerate(pairs.items()):
        order = _readable_order(users)
        for panel, values, title in zip(
            panels[2 * index : 2 * index + 2],
            (users, translated),
            (f"{app}:\nwhat users want", "\nwhat the E-LAM reads"),
            strict=True,
        ):
            image = panel.imshow(values[order], aspect="auto", cmap="viridis", vmin=0, vmax=largest)
            panel.set_title(title, fontsize=10)
            panel.set_xticks(range(len(FACTOR_NAMES)), FACTOR_NAMES, rotation=40, ha="right")
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
        panels[2 * index].set_ylabel(f"{len(users)} users, one row each")
    if image is not None:
        figure.colorbar(image, ax=panels, label="weight in the preference (the four sum to 1)", aspect=35)
    return figure


@rc_context(STYLE)
def elam_error_bars(summary: Summary) -> Figure | None:
    """Mean squared error of each way to read intents, with the annotators' own disagreement as a line."""
    rows = {app: records(summary, "elam", app) for app in applications(summary)}
    is_floor = {app: ["noise floor" in row["method"] for row in rows[app]] for app in rows}
    methods = {
        app: [row for row, floor in zip(rows[app], is_floor[app], strict=True) if not floor] for app in rows
    }
    figure, panels = _bars(methods, "mse", lambda row: f"{row['mse']:.4f}")
    if figure is None:
        return None
    for app, panel in panels.items():
        for row, floor in zip(rows[app], is_floor[app], strict=True):
            if floor and is_known(row.get("mse")):
                panel.axvline(row["mse"], color=INK, linestyle="--", linewidth=1.2)
        panel.set_xlabel("mean squared error of the four weights")
    floor = Line2D([], [], color=INK, linestyle="--", linewidth=1.2)
    words = "noise floor: how far annotators differ among themselves"
    figure.legend([floor], [words], loc="outside lower center")
    figure.suptitle("Error in reading what users want, with 95% confidence intervals", **SUPTITLE)
    return figure


@rc_context(STYLE)
def qoe_bars(summary: Summary) -> Figure | None:
    """Mean QoE of each way to compose chains, and the share of the optimum it is."""
    rows = {app: records(summary, "composition", app) for app in applications(summary)}
    figure, panels = _bars(
        rows, "qoe", lambda row: f"{100 * row['fraction']:.1f}%" if is_known(row.get("fraction")) else ""
    )
    if figure is None:
        return None
    for panel in panels.values():
        panel.axvline(0, color=FAINT, linewidth=0.8)
        panel.set_xlabel("subjective QoE (no unit)")
    figure.suptitle("Mean QoE with 95% confidence intervals; in %: share of the optimum", **SUPTITLE)
    return figure


def example_network(summary: Summary, scenario: Scenario) -> Figure | None:
    """`network_with_chain` for the example of the summary, whose agents are given by id."""
    example, index = summary.get("example") or {}, {name: i for i, name in enumerate(scenario.agent_ids)}
    chain, best = (
        [index[name] for name in example.get(key) or [] if name in index]
        for key in ("chain", "optimum_chain")
    )
    return network_with_chain(scenario, chain, best) if chain else None


def _bars(
    rows: Mapping[str, Sequence[Mapping]], value: str, number: Callable[[Mapping], str]
) -> tuple[Figure | None, dict[str, Axes]]:
    """Horizontal bars with intervals and a number beside each: a panel per application, first row on top."""
    rows = {app: [row for row in rows[app] if is_known(row.get(value))] for app in rows}
    apps = [app for app in rows if rows[app]]
    if not apps:
        return None, {}
    labels = list(dict.fromkeys(method_label(row) for app in apps for row in rows[app]))
    figure = Figure(figsize=(2.2 + 3.8 * len(apps), 1.8 + 0.38 * len(labels)), layout="constrained")
    panels = figure.subplots(1, len(apps), squeeze=False, sharex=True, sharey=True)[0]
    for panel, colour, app in zip(panels, COLOURS, apps, strict=False):
        for row in rows[app]:
            height, mean = labels.index(method_label(row)), row[value]
            ends = [end for end in row.get(f"{value}_ci") or [] if is_known(end)]
            panel.barh(height, mean, color=colour, height=0.66)
            if ends:
                panel.hlines(height, min(ends), max(ends), color=INK, linewidth=1.6)
            end = (max(mean, 0, *ends), height)
            panel.annotate(
                number(row), end, xytext=(5, 0), textcoords="offset points", va="center", fontsize=9
            )
        panel.set_title(app)
        panel.margins(x=0.2)
        panel.grid(axis="x")
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].invert_yaxis()
    return figure, dict(zip(apps, panels, strict=True))


def _floats(values: Sequence[float | None] | None) -> np.ndarray:
    return np.array(values or [], dtype=float)


def _readable_order(users: np.ndarray) -> np.ndarray:
    """Users by the factor that matters most to them, then by how much it does."""
    return np.lexsort([-users.max(axis=1), users.argmax(axis=1)])
