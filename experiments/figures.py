"""The figures of the studies of intent understanding."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from lameta_jax.cli.figures import SUPTITLE, png_bytes
from lameta_jax.cli.network_figure import COLOURS, FAINT, INK, STYLE
from lameta_jax.types import FACTOR_NAMES

SHARES = np.linspace(0.0, 1.0, 21)  # bins of a weight


def save(figure: Figure, path: Path) -> None:
    path.write_bytes(png_bytes(figure))


def mean_and_error(rows: Sequence[Mapping[str, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Means of intervals, and how far their bounds are off, as Matplotlib takes them."""
    mean, low, high = (np.array([row[field] for row in rows]) for field in ("mean", "low", "high"))
    return mean, np.stack([mean - low, high - mean])


@rc_context(STYLE)
def preference_heatmaps(path: Path, preferences: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Per application and source, how often each weight takes each value; the mean is a line."""
    sources = list(next(iter(preferences.values())))
    figure = Figure(figsize=(3.2 * len(sources) + 1, 2.7 * len(preferences) + 0.8), layout="constrained")
    axes = figure.subplots(len(preferences), len(sources), squeeze=False, sharex=True)
    image = None
    for row, (title, groups) in zip(axes, preferences.items(), strict=True):
        for panel, (source, values) in zip(row, groups.items(), strict=True):
            share = np.stack([np.histogram(values[:, place], SHARES)[0] / len(values) for place in range(4)])
            image = panel.imshow(
                share, aspect="auto", extent=(0, 1, 3.5, -0.5), cmap="Blues", vmin=0, vmax=0.4
            )
            means = values.mean(axis=0)
            panel.scatter(means, range(4), marker="|", s=260, color=COLOURS[5], linewidth=2)
            for place, mean in enumerate(means):
                panel.annotate(f"{mean:.2f}", (0.97, place), ha="right", va="center", fontsize=8, color=INK)
            panel.set_yticks(range(4), FACTOR_NAMES if panel is row[0] else [""] * 4)
            panel.set_title(f"{title}\n{source}, {len(values)}", fontsize=9)
    for panel in axes[-1]:
        panel.set_xlabel("weight")
    figure.colorbar(image, ax=axes, label="share of users", shrink=0.7)
    figure.suptitle("What users want: how often each weight takes each value (red: mean)", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def error_bars(path: Path, methods: dict, yardsticks: dict, titles: Mapping[str, str]) -> None:
    """Test MSE of every method: one panel per application and size, 95% intervals over seeds."""
    sizes = list(next(iter(methods.values())))
    labels = list(dict.fromkeys(label for app in methods.values() for size in app.values() for label in size))
    figure = Figure(figsize=(11, 0.32 * len(labels) * len(sizes) + 2.2), layout="constrained")
    axes = figure.subplots(len(sizes), len(methods), squeeze=False, sharex=True, sharey=True)
    for row, size in zip(axes, sizes, strict=True):
        for panel, (name, found) in zip(row, methods.items(), strict=True):
            rows = [found[size].get(label) for label in labels]
            colours = [COLOURS[2] if label.startswith("iokd") else COLOURS[0] for label in labels]
            colours = [
                FAINT if label.startswith("raw") else c for label, c in zip(labels, colours, strict=True)
            ]
            for place, (cell, colour) in enumerate(zip(rows, colours, strict=True)):
                if cell is not None:
                    mse = cell["mse"]
                    error = [[mse["mean"] - mse["low"]], [mse["high"] - mse["mean"]]]
                    panel.barh(
                        place, mse["mean"], xerr=error, color=colour, height=0.7, error_kw={"linewidth": 1}
                    )
                    panel.annotate(
                        f" {mse['mean']:.4f}",
                        (mse["high"], place),
                        va="center",
                        fontsize=7,
                        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
                    )
            for yardstick, style in (("linear probe", ":"), ("teacher", "--")):
                [value] = [line["mse"] for line in yardsticks[name] if line["method"] == yardstick]
                panel.axvline(value, color=INK, linestyle=style, linewidth=1, label=yardstick)
            panel.set_yticks(range(len(labels)), labels, fontsize=8)
            panel.set_title(f"{titles[name]}, {size} E-LAM", fontsize=9)
    for panel in axes[-1]:
        panel.set_xlabel("test MSE of the four weights")
    axes[0, 0].invert_yaxis()
    axes[0, -1].legend(loc="lower right", fontsize=8)
    figure.suptitle("Fig. 6: error in reading intents, mean over seeds with 95% intervals", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def learning_curves(path: Path, curves: dict, titles: Mapping[str, str]) -> None:
    """Test MSE against the number of samples; one panel per application, one line per size."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(curves), squeeze=False, sharey=True)[0]
    for panel, (name, sizes) in zip(axes, curves.items(), strict=True):
        for colour, (size, points) in zip(COLOURS, sizes.items(), strict=False):
            count = [point["samples"] for point in points]
            mean, low, high = (
                np.array([p["mse"][field] for p in points]) for field in ("mean", "low", "high")
            )
            panel.plot(count, mean, "o-", color=colour, label=f"{size} E-LAM", markersize=4)
            panel.fill_between(count, low, high, color=colour, alpha=0.2, linewidth=0)
        panel.set_title(titles[name])
        panel.set_xlabel("samples of D_IoKD (0: raw)")
        panel.grid(axis="y")
    axes[0].set_ylabel("test MSE")
    axes[-1].legend()
    figure.suptitle("Fig. 7: more samples, better reading; bands are 95% intervals over seeds", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def ablation_bars(path: Path, studies: Mapping[str, Mapping[str, dict]], names: Sequence[str]) -> None:
    """Change of the test MSE against the default, one panel per ablation, paired by seed."""
    figure = Figure(figsize=(11, 2.4 * ((len(studies) + 2) // 3) + 0.6), layout="constrained")
    panels = figure.subplots((len(studies) + 2) // 3, 3, squeeze=False).ravel()
    for panel, (study, options) in zip(panels, studies.items(), strict=False):
        for offset, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
            rows = [option[name]["difference"] for option in options.values()]
            mean, error = mean_and_error(rows)
            places = np.arange(len(rows)) + 0.2 * (2 * offset - 1)
            panel.errorbar(mean, places, xerr=error, fmt="o", color=colour, markersize=4, label=name)
        panel.axvline(0.0, color=FAINT, linewidth=0.8)
        panel.set_yticks(range(len(options)), list(options), fontsize=8)
        panel.set_title(study, fontsize=9)
        panel.ticklabel_format(axis="x", scilimits=(-3, -3))
    for panel in panels[len(studies) :]:
        panel.set_visible(False)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
    figure.suptitle("Change of the test MSE against the default (right: worse), 95% intervals", **SUPTITLE)
    save(figure, path)
