"""The figure of `joining.py`."""

from pathlib import Path

from figures import save
from joining_elam import PER_COUNT, PLAIN
from matplotlib import rc_context
from matplotlib.figure import Figure
from srl_figures import OF_THE_OPTIMUM, band

from lameta_jax.cli.figures import SUPTITLE
from lameta_jax.cli.network_figure import COLOURS, FAINT, INK, STYLE

COLOUR_OF = dict(
    zip(
        (
            "from scratch",
            "joint, then fine-tuned",
            "MAN, second order",
            "MAN, first order",
            "Reptile",
        ),
        COLOURS,
        strict=False,
    )
)
PLATEAU = {"color": INK, "linestyle": "--", "linewidth": 1}
ERRORS = (0.008, 0.05)  # shown; first-order MAN lies above without samples


@rc_context(STYLE)
def adaptation(path: Path, results: dict) -> None:
    """Above, error of the E-LAM against samples; below, share of the optimum against updates of the policy."""
    figure = Figure(figsize=(12.5, 7.6), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False)[:, 0]
    found = results["elam"]
    [everywhere, *benchmarks] = found[PER_COUNT]["groups"]
    panels = {
        "eight applications": found[PER_COUNT]["groups"][everywhere],
        "eight applications, plain descent": found[PLAIN]["groups"][everywhere],
    } | {name: found[PER_COUNT]["groups"][name] for name in benchmarks}
    axes = above.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for panel, (title, group) in zip(axes, panels.items(), strict=True):
        places = range(len(group["samples"]))
        for label, rows in group["mse"].items():
            begin = 1 if label == "from scratch" else 0  # untrained, it answers anything
            band(panel, places[begin:], rows[begin:], COLOUR_OF[label], label)
        panel.axhline(group["trivial"]["mean"], color=FAINT, linestyle=":", label="mean of its samples")
        panel.axhline(group["plateau"]["mean"], label="plateau from scratch", **PLATEAU)
        panel.set_xticks(places, group["samples"])
        panel.set_ylim(*ERRORS)
        panel.set_title(title)
        panel.set_xlabel("samples of the application")
        panel.grid(axis="y")
    axes[0].set_ylabel("test MSE of the four weights")
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    cells = [
        (told, name, part)
        for told, found in results["policy"].items()
        for name, part in found["applications"].items()
    ]
    axes = below.subplots(1, len(cells), squeeze=False, sharey=True)[0]
    for panel, (told, name, part) in zip(axes, cells, strict=True):
        updates = results["policy"][told]["updates"]
        for label, rows in part["share"].items():
            band(panel, updates, rows, COLOUR_OF[label], label)
        panel.axhline(part["plateau"]["mean"], **PLATEAU)
        panel.set_title(f"{name}, {told}")
        panel.set_xlabel("PPO updates on the application")
        panel.set_ylim(0.4, 1.01)
        panel.grid(axis="y")
        handles |= dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    axes[0].set_ylabel(OF_THE_OPTIMUM)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=7, fontsize=8)
    figure.suptitle("Adapting to an application never seen, 95% intervals over seeds", **SUPTITLE)
    save(figure, path)
