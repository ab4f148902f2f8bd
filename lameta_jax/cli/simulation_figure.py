"""The figure of `lameta simulate`: latency by formula and by simulation, agent by agent and end to end."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from lameta_jax.cli.network_figure import COLOURS, INK, STYLE, save_figure


def save_latency_figure(result: dict[str, Any], path: Path) -> None:
    """Draw the result of `lameta simulate` into a file; its suffix says the format.

    Raises:
      BadInputError: the file cannot be written.
    """
    save_figure(latency_figure(result), path, "--figure")


@rc_context(STYLE)
def latency_figure(result: dict[str, Any]) -> Figure:
    """Bars in seconds; whiskers are the simulation's confidence intervals."""
    places = [(row["id"], row["latency"]) for row in result["agents"]] + [("the chain", result["end_to_end"])]
    figure = Figure(figsize=(1.6 + 1.3 * len(places), 3.6), layout="constrained")
    axes, at = figure.subplots(), np.arange(len(places))
    values = {
        name: 60 * np.array([value[name] for _, value in places])
        for name in ("analytic", "simulated", "low", "high")
    }
    axes.bar(at - 0.2, values["analytic"], 0.38, label="formula", color=COLOURS[0])
    whiskers = [values["simulated"] - values["low"], values["high"] - values["simulated"]]
    axes.bar(
        at + 0.2, values["simulated"], 0.38, yerr=whiskers, capsize=3, label="simulated", color=COLOURS[1]
    )
    for x, (_, value) in zip(at, places, strict=True):
        top = 60 * max(value["analytic"], value["high"])
        axes.annotate(
            f"{value['relative_error']:+.1%}",
            (x, top),
            (0, 4),
            textcoords="offset points",
            ha="center",
            color=INK,
        )
    labels = [f"{name if name.isascii() else f'agent {hop + 1}'}" for hop, (name, _) in enumerate(places)]
    axes.set_xticks(at, [label if len(label) <= 16 else label[:15] + "…" for label in labels])
    axes.set_ylabel("mean latency (s)")
    axes.margins(y=0.15)
    axes.set_title("Latency, and how far the formula is off", loc="left")
    axes.legend(frameon=False)
    return figure
