"""The figure of `lameta sweep`: every configuration as a line over what was varied, ending at what it reached."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps, rc_context
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from lameta_jax.cli.network_figure import FAINT, INK, STYLE, save_figure

SPREAD = 20  # the largest over the smallest value from which on an axis is logarithmic
MOST_NAMES = 12  # values of an axis that are written out


def save_sweep_figure(
    ranking: Mapping[str, Sequence[Any]], settings: Sequence[str], metric: str, path: Path
) -> None:
    """Draw a table of `configurations` into a file.

    Raises:
      BadInputError: the file cannot be written.
    """
    save_figure(sweep_figure(ranking, settings, metric), path, "--out")


@rc_context(STYLE)
def sweep_figure(ranking: Mapping[str, Sequence[Any]], settings: Sequence[str], metric: str) -> Figure:
    """Parallel coordinates of the settings that differ; the best configuration is drawn on top, failed ones not."""
    reached = np.asarray(ranking[f"{metric}_iqm"], float)
    good = np.flatnonzero(np.isfinite(reached)).tolist()
    names = [name for name in settings if len(set(ranking[name])) > 1]
    axes_of = [_axis([ranking[name][place] for place in good]) for name in names]
    heights = [*(heights for heights, _ in axes_of), *([_scaled(reached[good])] if len(good) else [])]
    figure = Figure(figsize=(2.6 + 1.7 * len(names), 4.2), layout="constrained")
    axes = figure.subplots()
    low, high = (reached[good].min(), reached[good].max()) if len(good) else (0.0, 1.0)
    colours = ScalarMappable(Normalize(low, high), colormaps["viridis"])
    order = np.argsort(reached[good])
    lines = [np.column_stack([np.arange(len(heights)), [height[one] for height in heights]]) for one in order]
    widths = [1.0] * max(len(lines) - 1, 0) + [3.0] * min(len(lines), 1)
    axes.add_collection(
        LineCollection(lines, colors=colours.to_rgba(reached[good][order]), linewidths=widths, alpha=0.8)
    )
    for place, (_, ticks) in enumerate([*axes_of, ([], [(0.0, f"{low:.4g}"), (1.0, f"{high:.4g}")])]):
        axes.axvline(place, color=FAINT, linewidth=0.8, zorder=0)
        for height, text in ticks:
            axes.annotate(text, (place, height), (4, 0), textcoords="offset points", va="center", color=INK)
    axes.set_xticks(range(len(names) + 1), [*names, f"{metric}\n(IQM over seeds)"])
    axes.set(xlim=(-0.2, len(names) + 0.5), ylim=(-0.05, 1.05), yticks=[])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.set_title(f"{len(good)} configurations, the best one drawn thick", loc="left")
    figure.colorbar(colours, ax=axes, label=metric, pad=0.01)
    return figure


def _axis(values: Sequence[Any]) -> tuple[np.ndarray, list[tuple[float, str]]]:
    """Heights between 0 and 1, and labelled ticks; names and infinities have places like ranks."""
    numbers = [value for value in values if not isinstance(value, str) and np.isfinite(value)]
    if len(numbers) < len(values) or len(set(values)) <= MOST_NAMES:
        known = sorted(set(values), key=lambda value: (isinstance(value, str), value))
        places = np.linspace(0, 1, len(known)) if len(known) > 1 else np.array([0.5])
        height = dict(zip(known, places, strict=True))
        ticks = [(float(height[one]), _text(one)) for one in known[:: max(1, len(known) // MOST_NAMES)]]
        return np.array([height[value] for value in values]), ticks
    scale = np.asarray(values, float)
    wide = scale.min() > 0 and scale.max() / scale.min() >= SPREAD
    return _scaled(np.log(scale) if wide else scale), [
        (0.0, _text(float(scale.min()))),
        (1.0, _text(float(scale.max()))),
    ]


def _scaled(values: np.ndarray) -> np.ndarray:
    spread = values.max() - values.min()
    return (values - values.min()) / spread if spread else np.full(len(values), 0.5)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
