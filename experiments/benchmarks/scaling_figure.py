"""The figure of bench_scaling.py: time per unit and memory against size, one column per thing that grows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from figures import save  # the folder above, see benchmark.py
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from lameta_jax.cli.figures import SUPTITLE
from lameta_jax.cli.network_figure import COLOURS, STYLE

MARKS = "os^Dv"


@rc_context(STYLE)
def scaling_figure(series: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw into a file."""
    kinds = list(dict.fromkeys(one["grows with"] for one in series))
    names = list(dict.fromkeys(one["what"] for one in series))
    figure = Figure(figsize=(3.3 * len(kinds), 6.6), layout="constrained")
    axes = figure.subplots(2, len(kinds), squeeze=False, sharex="col")
    for column, kind in enumerate(kinds):
        for one in (one for one in series if one["grows with"] == kind):
            place = names.index(one["what"])
            style = {"color": COLOURS[place], "marker": MARKS[place], "markersize": 4}
            sizes = [int(size) for size in one["sizes"]]
            times = [1e6 * row["seconds_per_unit"] for row in one["sizes"].values()]
            axes[0, column].plot(
                sizes, times, label=f"{one['what']}, per {one['unit']}: {_growth(one)}", **style
            )
            memory = [row.get("temporary_bytes") for row in one["sizes"].values()]
            if all(memory):
                axes[1, column].plot(sizes, [value / 1e6 for value in memory], **style)
        for panel in axes[:, column]:
            _scaled(panel, kind)
        axes[0, column].set_title(f"more {kind}", loc="left")
        axes[0, column].legend(frameon=False, fontsize=6.5, loc="upper left", bbox_to_anchor=(-0.15, -0.03))
        axes[1, column].set_xlabel(kind)
    axes[0, 0].set_ylabel("microseconds per unit")
    axes[1, 0].set_ylabel("memory of the program (MB)")
    figure.suptitle("What a unit of work costs as problems grow", **SUPTITLE)
    save(figure, path)


def _scaled(panel: Axes, kind: str) -> None:
    """Logarithmic axes with plain numbers at their decades."""
    panel.set_yscale("log")
    logarithmic = [panel.yaxis]
    if kind != "agents of a chain":
        panel.set_xscale("log")
        logarithmic.append(panel.xaxis)
    for axis in logarithmic:
        axis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{value:g}" if value < 1000 else f"{value / 1000:g}k")
        )
        axis.set_minor_formatter(NullFormatter())
    low, high = panel.get_ylim()
    if high < 10 * low:  # no decade inside
        panel.set_ylim(low / 2, high * 2)


def _growth(one: dict[str, Any]) -> str:
    """How the time of a call grows."""
    ((name, found),) = one["exponent"].items()
    if name == "slope":
        return f"call ~ size^{found['mean']:.2f}"
    return f"call x {found['mean']:.2f} per agent"
