"""The drawing of a network with chains in it, and the style that all figures share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import LogLocator, NullLocator

from lameta_jax.cli.common import BadInputError
from lameta_jax.network.network import Scenario
from lameta_jax.network.queueing import agent_latency

# Okabe and Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, PINK, SKY, RED = "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00"
MAX_LABELS = 25  # agents whose ids can be told apart in a drawing
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, RED)
INK, FAINT = "#222222", "#999999"
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so that figures are the same everywhere
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "legend.frameon": False,
    "text.parse_math": False,  # names may contain dollar signs
}


def save_figure(figure: Figure, path: Path | str, option: str) -> None:
    """Write a figure where an option says; the suffix says the format.

    Raises:
      BadInputError: the file cannot be written.
    """
    try:
        figure.savefig(path, dpi=150, facecolor="white")
    except OSError as error:
        raise BadInputError(f"{option}: {path} cannot be written ({error.strerror})") from None


@rc_context(STYLE)
def network_alone(scenario: Scenario) -> Figure:
    """The whole network, with the ids of its agents if they are few."""
    figure, axes, places = _network(scenario)
    if len(places) <= MAX_LABELS:
        for agent_id, place in zip(scenario.agent_ids, places, strict=True):
            axes.annotate(agent_id, place, xytext=(5, 4), textcoords="offset points", fontsize=7, zorder=3)
    num_links = scenario.network.link_ends.shape[0]
    axes.set_title(f"{scenario.name}: {len(places)} agents, {num_links} links")
    return figure


@rc_context(STYLE)
def network_with_chain(scenario: Scenario, chain: Sequence[int], best_chain: Sequence[int] = ()) -> Figure:
    """The whole network, and one chain in it.

    Args:
      chain: agents in order, highlighted.
      best_chain: drawn dashed where it differs.
    """
    figure, axes, places = _network(scenario)
    _draw_chains(axes, scenario, places, list(chain), list(best_chain))
    num_links = scenario.network.link_ends.shape[0]
    axes.set_title(f"{len(places)} agents, {num_links} links, and the chain chosen for the example")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _network(scenario: Scenario) -> tuple[Figure, Axes, np.ndarray]:
    """Agents and links, and where the agents are.

    One column per type, those of the request first, in its order. Height is an agent's mean latency in
    minutes, the place across the column its capability: what a chain trades against each other can be seen.
    """
    network = scenario.network
    kind = np.asarray(network.agent_type)
    requested = list(dict.fromkeys(np.asarray(scenario.request.types).tolist()))
    columns = requested + [t for t in range(len(scenario.type_names)) if t not in requested]
    latency = agent_latency(network.arrival_rate, network.service_rate, network.service_cv)
    # By rank: capabilities crowd at the upper end.
    rank = np.argsort(np.argsort(np.asarray(network.capability))) / max(len(kind) - 1, 1)
    places = np.stack([np.argsort(columns)[kind] + 0.78 * (rank - 0.5), np.asarray(latency)], axis=1)

    figure = Figure(figsize=(1.5 + 2.3 * len(columns), 6.4), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(NullLocator())
    links = places[np.asarray(network.link_ends)]
    axes.add_collection(LineCollection(list(links), colors=FAINT, linewidths=0.5, alpha=0.13, zorder=1))
    for position, column in enumerate(columns):
        colour = COLOURS[position % len(COLOURS)]
        axes.scatter(
            *places[kind == column].T, s=42, color=colour, edgecolors="white", linewidths=0.7, zorder=2
        )
    names = [scenario.type_names[t] + ("" if t in requested else "\n(not requested)") for t in columns]
    axes.set_xticks(range(len(columns)), names)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_xlabel("type of agent; within a column, the further right, the more capable")
    axes.set_ylabel("mean latency of the agent alone (minutes)")
    return figure, axes, places


def _draw_chains(
    axes: Axes, scenario: Scenario, places: np.ndarray, chain: list[int], best: list[int]
) -> None:
    """The chain with its agents' ids, and in thin dashes where another is better."""
    thick = {"linestyle": "-", "linewidth": 2.4}
    thin = {"linestyle": (0, (4, 3)), "linewidth": 1.3}
    labelled = [(f"{step}. {scenario.agent_ids[agent]}", agent) for step, agent in enumerate(chain, start=1)]
    axes.plot([], [], color=INK, label="chain of the policy", **thick)
    _arrows(axes, places[chain], 4, thick)
    if best and best != chain:
        axes.plot([], [], color=INK, label="best chain for this user", **thin)
        _arrows(axes, places[best], 3, thin)
        labelled += [(scenario.agent_ids[agent], agent) for agent in best if agent not in chain]
    kind = np.asarray(scenario.network.agent_type)
    for text, agent in labelled:
        # Two labels of one column stand on opposite sides, away from each other.
        below = any(kind[a] == kind[agent] and places[a, 1] > places[agent, 1] for _, a in labelled)
        axes.annotate(
            text, places[agent], xytext=(0, -17 if below else 17), textcoords="offset points",
            ha="center", va="center", fontsize=9, fontweight="bold" if agent in chain else "normal",
            bbox={"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": FAINT}, zorder=6,
        )  # fmt: skip


def _arrows(axes: Axes, places: np.ndarray, zorder: int, line: Mapping[str, Any]) -> None:
    axes.scatter(
        *places.T, s=110, facecolors="none", edgecolors=INK, linewidths=line["linewidth"], zorder=zorder
    )
    for start, end in zip(places[:-1], places[1:], strict=True):
        arrow = FancyArrowPatch(
            tuple(start), tuple(end), arrowstyle="-|>", mutation_scale=15, shrinkA=6, shrinkB=6,
            color=INK, zorder=zorder, **line,
        )  # fmt: skip
        axes.add_patch(arrow)
