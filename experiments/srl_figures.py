"""The figures of the studies of composition."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from figures import mean_and_error, save
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lameta_jax.cli.figures import SUPTITLE
from lameta_jax.cli.network_figure import COLOURS, FAINT, INK, STYLE

OF_THE_OPTIMUM = "share of the optimum"


def band(panel: Axes, x, rows: list[dict], colour: str, label: str, style: str = "-") -> None:
    """A line with its 95% intervals."""
    mean, low, high = (np.array([row[field] for row in rows]) for field in ("mean", "low", "high"))
    panel.plot(x, mean, style, color=colour, label=label, linewidth=1.5)
    panel.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)


@rc_context(STYLE)
def convergence(path: Path, found: Mapping[str, dict], titles: Mapping[str, str]) -> None:
    """Share of the optimum while learning, one panel per application; composers that do not learn are lines."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for panel, (name, part) in zip(axes, found.items(), strict=True):
        shown = [method for method in part["curves"] if "alone" not in method and "printed" not in method]
        for colour, method in zip(COLOURS, shown, strict=False):
            points = part["curves"][method]
            # REINFORCE takes four times the updates in the same time.
            updates = np.array([point["updates"] for point in points])
            band(panel, 100 * updates / updates[-1], [point["share"] for point in points], colour, method)
        rows = part["others"]["held-out slots"]
        for method, style in (("random", ":"), ("greedy", "--"), ("greedy on the step reward", "-.")):
            value = rows[method]["own preference"]["share"]
            panel.axhline(value, color=FAINT, linestyle=style, linewidth=1, label=f"{method}, own preference")
        value = rows["exact search"]["IoKD, large"]["share"]
        panel.axhline(value, color=INK, linestyle="--", linewidth=1, label="plug-in optimum, large E-LAM")
        panel.set_ylim(0.4, 1.01)
        panel.set_title(titles[name])
        panel.set_xlabel("training, % of the updates (PPO 120, REINFORCE 480)")
        panel.grid(axis="y")
    axes[0].set_ylabel(OF_THE_OPTIMUM)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle("Fig. 8: QoE of test users in slots never met, 95% intervals over seeds", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def share_bars(path: Path, found: Mapping[str, dict], titles: Mapping[str, str]) -> None:
    """What every composer reaches in the end, told the preference itself or what the large E-LAM reads."""
    figure = Figure(figsize=(11, 6.2), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False, sharex=True, sharey=True)[0]
    for panel, (name, part) in zip(axes, found.items(), strict=True):
        rows = bar_rows(part)
        for place, (_, share, colour) in enumerate(rows):
            error = [[share["mean"] - share["low"]], [share["high"] - share["mean"]]]
            panel.barh(place, share["mean"], xerr=error, color=colour, height=0.7, error_kw={"linewidth": 1})
            panel.annotate(f" {share['mean']:.3f}", (share["high"], place), va="center", fontsize=8)
        panel.set_yticks(range(len(rows)), [label for label, *_ in rows], fontsize=8)
        panel.set_xlim(0, 1.12)
        panel.set_title(titles[name])
        panel.set_xlabel(OF_THE_OPTIMUM)
    axes[0].invert_yaxis()
    figure.suptitle(
        "Fig. 8: QoE in slots never met (green: learned; blue: searched; grey: neither)", **SUPTITLE
    )
    save(figure, path)


def bar_rows(part: dict) -> list[tuple[str, dict, str]]:
    """Label, interval and colour of every bar; those without seeds have no interval."""
    rows = []
    for method, values in part["others"]["held-out slots"].items():
        colour = COLOURS[0] if "search" in method or "annealing" in method else FAINT
        for told, row in values.items():
            if told != "IoKD, small":
                point = dict.fromkeys(("mean", "low", "high"), row["share"])
                rows.append((method if told == "the prompts" else f"{method}, {told}", point, colour))
    for method, values in part["learned"].items():
        if "told" not in method:
            rows.append((method, values["held-out slots"]["share"], COLOURS[2]))
    return rows


@rc_context(STYLE)
def factor_curves(path: Path, found: Mapping[str, dict], titles: Mapping[str, str]) -> None:
    """The four factors while learning: one row per application."""
    names = {"capability": "capability", "information_loss": "information loss"}
    names |= {"latency": "latency (minutes)", "outage": "outage probability"}
    figure = Figure(figsize=(12, 5.4), layout="constrained")
    axes = figure.subplots(len(found), len(names), squeeze=False, sharex=True)
    for row, (name, part) in zip(axes, found.items(), strict=True):
        for panel, (factor, label) in zip(row, names.items(), strict=True):
            band(panel, part["updates"], part["curves"][factor], COLOURS[2], "SRL, IoKD")
            panel.axhline(part["optimum"][factor], color=INK, linestyle="--", linewidth=1, label="optimum")
            panel.axhline(
                part["even_optimum"][factor],
                color=FAINT,
                linestyle=":",
                linewidth=1.2,
                label="optimum, even weights",
            )
            panel.set_title(label, fontsize=9)
            panel.grid(axis="y")
        row[0].set_ylabel(titles[name].replace(" (", "\n("), fontsize=9)
    for panel in axes[-1]:
        panel.set_xlabel("policy updates")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle("Fig. 9: factors of the chains while learning, test users in held-out slots", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def nearer_policy(path: Path, drawn: Mapping[str, tuple], found: Mapping[str, dict], same: float) -> None:
    """Every user by the distances to both applications, coloured by whether the nearer one's policy serves better."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for panel, (label, (distances, qoe)) in zip(axes, drawn.items(), strict=True):
        nearer = distances.argmin(axis=0)
        users = np.arange(qoe.shape[1])
        gain = qoe[nearer, users] - qoe[1 - nearer, users]
        kinds = {
            "nearer better": (gain > same, COLOURS[2]),
            "alike": (np.abs(gain) <= same, FAINT),
            "nearer worse": (gain < -same, COLOURS[5]),
        }
        for kind, (which, colour) in kinds.items():
            panel.scatter(*distances[:, which], s=8, color=colour, alpha=0.7, label=kind, linewidth=0)
        panel.axline((0.2, 0.2), slope=1, color=INK, linewidth=0.8, linestyle="--")
        share = found[label]["not_worse"]
        panel.set_title(
            f"{label}:\nnot worse for {share['mean']:.0%} ({share['low']:.0%} to {share['high']:.0%})",
            fontsize=9,
        )
    for panel in axes[2:]:
        panel.set_xlabel("distance (24) to multimedia")
    for panel in axes[::2]:
        panel.set_ylabel("distance (24) to qa")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, markerscale=2)
    figure.suptitle(
        "Fig. 10: users served by the policies of both applications, mean over seeds and slots", **SUPTITLE
    )
    save(figure, path)


@rc_context(STYLE)
def in_context_curves(path: Path, found: Mapping[str, dict], threshold: float) -> None:
    """Capability while learning from disturbed users, with and without a memory."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
    for panel, (kind, part) in zip(axes, found.items(), strict=True):
        for colour, (label, row) in zip((COLOURS[5], COLOURS[2]), part["rows"].items(), strict=True):
            band(panel, part["updates"], row["capability"], colour, label)
        panel.axhline(threshold, color=FAINT, linestyle=":", linewidth=1)
        panel.set_title(f"a fifth of the users {kind}")
        panel.set_xlabel("policy updates")
        panel.grid(axis="y")
    axes[0].set_ylabel("capability, share of the optimal chains'")
    axes[-1].legend(loc="lower right")
    figure.suptitle("Fig. 11: in-context learning, 95% intervals over seeds", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def generalist_bars(path: Path, results: Mapping) -> None:
    """Share of the optimum on networks never met: the generalist beside policies made for lameta-81."""
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panel, other = figure.subplots(1, 2, width_ratios=(2.2, 1))
    groups = results["networks_never_met"]
    labels = list(next(iter(groups.values())))
    for offset, (label, colour) in enumerate(zip(labels, (COLOURS[2], COLOURS[0], COLOURS[1]), strict=True)):
        rows = [group[label]["share"] for group in groups.values()]
        _bars(panel, np.arange(len(groups)) + 0.27 * (offset - 1), rows, colour, label)
    panel.axhline(0.95, color=INK, linestyle=":", linewidth=1)
    panel.set_xticks(range(len(groups)), [group.replace(", ", ",\n") for group in groups], fontsize=8)
    panel.set_ylabel(OF_THE_OPTIMUM)
    panel.set_title("networks never met, any users", fontsize=9)
    names = list(results["lameta-81"])
    for offset, (label, colour) in enumerate(zip(labels, (COLOURS[2], COLOURS[0], COLOURS[1]), strict=True)):
        rows = [results["lameta-81"][name][label]["share"] for name in names]
        _bars(other, np.arange(len(names)) + 0.27 * (offset - 1), rows, colour, label)
    other.set_xticks(range(len(names)), names)
    other.set_title("lameta-81, users of an application", fontsize=9)
    for axes in (panel, other):
        axes.set_ylim(0.6, 1.02)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle("One policy for every network, and policies made for one", **SUPTITLE)
    save(figure, path)


def _bars(panel: Axes, places: np.ndarray, rows: list[dict], colour: str, label: str) -> None:
    mean, error = mean_and_error(rows)
    panel.bar(places, mean, 0.25, yerr=error, color=colour, label=label, error_kw={"linewidth": 1})


@rc_context(STYLE)
def changing_network(path: Path, found: Mapping[str, dict]) -> None:
    """Share of the optimum against the rate of arrivals, and against the share of agents that fail."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    axes = (
        (found["arrivals"], found["arrivals"]["arrival_rate"], "arrivals per minute (the network's file: 4)"),
        (found["failures"], found["failures"]["probability"], "share of agents that fail within the slot"),
    )
    for panel, (part, places, label) in zip(panels, axes, strict=True):
        for colour, (name, rows) in zip((COLOURS[2], COLOURS[0], FAINT), part["share"].items(), strict=False):
            if isinstance(rows[0], dict):
                band(panel, places, rows, colour, name, "o-")
            else:
                panel.plot(places, rows, "s--", color=FAINT, label=name, markersize=4)
        panel.set_xlabel(label)
        panel.grid(axis="y")
        panel.legend(fontsize=8)
    panels[0].set_ylabel(OF_THE_OPTIMUM)
    figure.suptitle("A network that changes, 95% intervals over seeds", **SUPTITLE)
    save(figure, path)


@rc_context(STYLE)
def ablation_bars(path: Path, found: Mapping[str, dict], titles: Mapping[str, str]) -> None:
    """E-LAM quality, form of the QoE and lookahead: one row per application."""
    figure = Figure(figsize=(12.5, 7), layout="constrained")
    axes = figure.subplots(len(found), 3, squeeze=False)
    for row, (name, part) in zip(axes, found.items(), strict=True):
        quality, form, curves = row
        rows = list(part["elam_quality"].values())
        places = np.arange(len(rows))
        _bars(quality, places - 0.15, [one["policy"]["share"] for one in rows], COLOURS[2], "policy")
        quality.bar(
            places + 0.15,
            [one["plug_in"]["share"] for one in rows],
            0.25,
            color=COLOURS[0],
            label="exact search",
        )
        labels = [
            label.replace(" E-LAM, large", "\nE-LAM").replace(" (", "\n(") for label in part["elam_quality"]
        ]
        quality.set_xticks(places, [label.replace("own pref", "own\npref") for label in labels], fontsize=8)
        quality.set_title(f"{titles[name]}:\nwhat is known of the user", fontsize=9)
        values = [one["share"] for one in part["qoe_form"].values()]
        points = [
            value if isinstance(value, dict) else dict.fromkeys(("mean", "low", "high"), value)
            for value in values
        ]
        _bars(form, np.arange(len(points)), points, COLOURS[4], "")
        form.set_xticks(
            range(len(points)), [label.replace(", ", ",\n") for label in part["qoe_form"]], fontsize=8
        )
        form.set_title("QoE that chains are composed for", fontsize=9)
        for colour, (label, one) in zip((COLOURS[2], COLOURS[5]), part["lookahead"].items(), strict=True):
            band(curves, one["updates"], one["share"], colour, label)
        curves.set_title("lookahead (own preference)", fontsize=9)
        curves.set_xlabel("policy updates")
        for panel in row:
            panel.set_ylim(0.6, 1.01)
            panel.grid(axis="y")
        quality.set_ylabel(OF_THE_OPTIMUM)
    axes[0, 0].legend(fontsize=8, loc="upper left")
    axes[0, 2].legend(fontsize=8, loc="lower right")
    figure.suptitle("What each part of SRL contributes, 95% intervals over seeds", **SUPTITLE)
    save(figure, path)
