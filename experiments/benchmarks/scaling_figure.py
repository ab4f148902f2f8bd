"""The figure of bench_scaling.py: time per unit and memory against size, one column per thing that grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import save  # the folder above, see benchmark.py
from matplotlib import rc_context
from matplotlib.figure import Figure

from lameta_jax.cli.figures import SUPTITLE
from lameta_jax.cli.network_figure import COLOURS, STYLE

MARKS = "os^Dv"


@rc_context(STYLE)
def scaling_figure(series: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw into a file."""
    kinds = list(dict.fromkeys(one["grows with"] for one in series))
    names = list(dict.fromkeys(one["what"] for one in series))
    figure = Figure(figsize=(3.4 * len(kinds), 6.2), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex="col")
    for column, kind in enumerate(kinds):
        for one in (one for one in series if one["grows with"] == kind):
            place = names.index(one["what"])
            style = {
                "color": COLOURS[place % len(COLOURS)],
                "marker": MARKS[place % len(MARKS)],
                "markersize": 4,
            }
            sizes = [int(size) for size in one["sizes"]]
            times = [1e6 * row["seconds_per_unit"] for row in one["sizes"].values()]
            axes[0, column].plot(
                sizes, times, label=f"{one['what']}\nper {one['unit']}, {_growth(one)}", **style
            )
            memory = [row.get("temporary_bytes") for row in one["sizes"].values()]
            if all(memory):
                axes[1, column].plot(sizes, [value / 1e6 for value in memory], **style)
        for panel in axes[:, column]:
            panel.set_yscale("log")
            if kind != "agents of a chain":
                panel.set_xscale("log")
        axes[0, column].legend(frameon=False, fontsize=7)
        axes[0, column].set_title(f"more {kind}", loc="left")
        axes[1, column].set_xlabel(kind)
    axes[0, 0].set_ylabel("microseconds per unit")
    axes[1, 0].set_ylabel("memory of the program (MB)")
    figure.suptitle("What a unit of work costs as problems grow", **SUPTITLE)
    save(figure, path)


def _growth(one: dict[str, Any]) -> str:
    """How the time of a call grows."""
    ((name, found),) = one["exponent"].items()
    if name == "slope":
        return f"call ~ size^{found['mean']:.2f}"
    return f"call x {found['mean']:.2f} per agent"
