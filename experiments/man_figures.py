"""The figures of the studies of MAN."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from figures import mean_and_error, save
from man_study import TITLES
from matplotlib import rc_context
from matplotlib.figure import Figure

from lameta_jax.cli.figures import SUPTITLE
from lameta_jax.cli.network_figure import COLOURS, FAINT, INK, STYLE


@rc_context(STYLE)
def accuracy_bars(path: Path, tables: Mapping[str, dict], paper: Mapping[str, dict]) -> None:
    """Worst and best agent by method, seen and unseen, one column of panels per data set; crosses are the paper's."""
    figure = Figure(figsize=(5.2 * len(tables) + 1, 6.4), layout="constrained")
    panels = figure.subplots(2, len(tables), squeeze=False)
    for column, (data, rows) in zip(panels.T, tables.items(), strict=True):
        for panel, group in zip(column, ("seen", "unseen"), strict=True):
            labels = [label for label in rows if f"{group} (worst)" in rows[label]]
            for part, colour, shift in (("worst", COLOURS[5], -0.18), ("best", COLOURS[0], 0.18)):
                mean, error = mean_and_error([rows[label][f"{group} ({part})"] for label in labels])
                places = np.arange(len(labels)) + shift
                panel.errorbar(
                    100 * mean, places, xerr=100 * error, fmt="o", color=colour, markersize=5, label=part
                )
            for label, groups in paper.get(data, {}).items():
                if group in groups and label in labels:
                    place = labels.index(label)
                    panel.plot(
                        groups[group],
                        [place - 0.18, place + 0.18],
                        "x",
                        color=INK,
                        label="the paper" if label == "MAN" else None,
                    )
            panel.set_yticks(range(len(labels)), labels, fontsize=8)
            panel.set_ylim(len(labels) - 0.5, -0.5)
            panel.set_title(f"{TITLES[data]}, {group} environments", fontsize=9)
            panel.grid(axis="x")
    for panel in panels[-1]:
        panel.set_xlabel("accuracy (%)")
    figure.legend(*panels[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle("Table I: worst and best agent, mean over seeds with 95% intervals", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def errors_while_training(path: Path, curves: Mapping[str, dict]) -> None:
    """Personalisation and generalisation error by round, one panel per data set."""
    figure = Figure(figsize=(4.6 * len(curves), 3.6), layout="constrained")
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for panel, (data, found) in zip(panels, curves.items(), strict=True):
        for name, colour in (("personalisation", COLOURS[0]), ("generalisation", COLOURS[5])):
            mean, error = mean_and_error(found[name]["points"])
            panel.plot(found["rounds"], mean, "o-", color=colour, markersize=3, label=f"{name} error")
            panel.fill_between(
                found["rounds"], mean - error[0], mean + error[1], color=colour, alpha=0.2, linewidth=0
            )
        panel.axhline(0, color=FAINT, linewidth=0.8)
        panel.set_title(TITLES[data])
        panel.set_xlabel("round")
        panel.legend(fontsize=8)
    figure.axes[0].set_ylabel("error (loss)")
    figure.suptitle("Fig. 2: errors while MAN trains; bands are 95% intervals over seeds", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def accuracy_by_collaborators(path: Path, curves: Mapping[str, dict], title: str) -> None:
    """Accuracy against the number of collaborating agents, one line per concentration, seen and unseen apart."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, group in zip(panels, ("seen", "unseen"), strict=True):
        for place, (colour, (label, found)) in enumerate(zip(COLOURS, curves.items(), strict=False)):
            mean, error = mean_and_error(found[group]["points"])
            counts = np.array(found["collaborators"]) + 0.12 * (place - 1)  # so that bars lie side by side
            panel.errorbar(
                counts,
                100 * mean,
                yerr=100 * error,
                fmt="o-",
                color=colour,
                label=f"p = {label}",
                markersize=5,
            )
        panel.set_title(f"{group} environments")
        panel.set_xlabel("agents per round (S of 10)")
        panel.grid(axis="y")
    panels[0].set_ylabel("mean accuracy (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(curves))
    figure.suptitle(title, **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def errors_by_size(path: Path, sweeps: Mapping[str, dict], names: Sequence[str], title: str) -> None:
    """Both errors against what is varied, one panel per variable."""
    figure = Figure(figsize=(3.6 * len(sweeps), 3.6), layout="constrained")
    panels = figure.subplots(1, len(sweeps), sharey=True)
    for panel, (variable, found) in zip(panels, sweeps.items(), strict=True):
        for name, colour in zip(names, (COLOURS[0], COLOURS[5], COLOURS[2]), strict=False):
            mean, error = mean_and_error(found[name]["points"])
            panel.errorbar(
                found["values"], mean, yerr=error, fmt="o-", color=colour, label=name, markersize=4
            )
        panel.set_xscale("log")
        panel.set_xticks(found["values"], [f"{value:g}" for value in found["values"]], fontsize=8)
        panel.minorticks_off()
        panel.axhline(0, color=FAINT, linewidth=0.8)
        panel.set_xlabel(variable)
    panels[0].set_ylabel("error (loss)")
    panels[0].legend(fontsize=8)
    figure.suptitle(title, **SUPTITLE)
    save(figure, path)
