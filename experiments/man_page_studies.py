"""The sections of experiments/man.md on Figs. 2 to 4 and on the time that a step takes."""

from man_study import TITLES
from pages import load, made_by, shown, table


def percent(interval: dict) -> str:
    return f"{100 * interval['mean']:.2f} ({100 * interval['low']:.2f} to {100 * interval['high']:.2f})"


def verdict_of_change(found: dict) -> str:
    """Whether a series ends above or below its start, seed by seed."""
    if found["change"]["high"] < 0:
        return "falls"
    return "rises" if found["change"]["low"] > 0 else "no change seen"


def fig2() -> str:
    results = load("man_fig2")
    rows = []
    for data, found in results["data"].items():
        for name in ("personalisation", "generalisation"):
            points, change = found[name]["points"], verdict_of_change(found[name])
            rows.append([TITLES[data], name, shown(points[0], 3), shown(points[-1], 3), change])
    optima = ", ".join(
        f"{TITLES[data]} {shown(found['loss_of_local_optima'], 3)}" for data, found in results["data"].items()
    )
    return "\n\n".join(
        [
            "## Fig. 2: errors while MAN trains",
            "![Fig. 2](results/man_fig2.png)",
            table(["data", "error", "after the first report", "at the end", "change"], rows),
            "Personalisation error is the loss on an agent's own samples less that of its local optimum (2), "
            "generalisation error the loss on test samples less that on its own (1), both after adaptation. The paper "
            "has both converge; in these fewer rounds they are still moving. Loss of "
            f"the models that stand for local optima: {optima}.",
            f"Made by {made_by(results)}.",
        ]
    )


def fig3() -> str:
    results = load("man_fig3")
    curves = results["curves"]
    counts = next(iter(curves.values()))["collaborators"]
    rows = [
        [
            f"p = {label}",
            group,
            *(percent(one) for one in found[group]["points"]),
            verdict_of_change(found[group]),
        ]
        for label, found in curves.items()
        for group in ("seen", "unseen")
    ]
    return "\n\n".join(
        [
            "## Fig. 3: the number of collaborating agents",
            "![Fig. 3](results/man_fig3.png)",
            f"{TITLES[results['data']]}, {results['rounds']} rounds; mean accuracy over agents in percent by S of 10. "
            "The paper: accuracy always improves with S, most for moderately different environments.",
            table(
                [
                    "environments",
                    "agents",
                    *(f"S = {count}" for count in counts),
                    f"{counts[0]} to {counts[-1]}",
                ],
                rows,
            ),
            f"Made by {made_by(results)}.",
        ]
    )


CLAIMS = {
    "collaborating agents S": {"personalisation": "", "generalisation": "rises"},
    "steps E": {"personalisation": "falls", "generalisation": "rises"},
    "step size beta": {"personalisation": "falls", "generalisation": "rises"},
}
"""What the paper's Fig. 4 says of either error as a variable grows."""


def fig4_rows() -> list[list[str]]:
    """By variable and error: both ends, the change, the paper's claim and the verdict."""
    rows = []
    for variable, found in load("man_fig4")["sweeps"].items():
        ends = f"{found['values'][0]:g} to {found['values'][-1]:g}"
        for name in ("personalisation", "generalisation", "test loss"):
            points = found[name]["points"]
            change, claim = verdict_of_change(found[name]), CLAIMS[variable].get(name, "")
            agrees = "" if not claim else ("agrees" if change == claim else "does not agree")
            rows.append(
                [variable, ends, name, shown(points[0], 3), shown(points[-1], 3), change, claim, agrees]
            )
    return rows


def fig4() -> str:
    results = load("man_fig4")
    head = ["", "values", "error", "smallest", "largest", "ours", "the paper", "verdict"]
    return "\n\n".join(
        [
            "## Fig. 4: what trades one error for the other",
            "![Fig. 4](results/man_fig4.png)",
            f"{TITLES[results['data']]}, {results['rounds']} rounds. E and beta are varied in training and before the "
            "test alike, so with few steps the meta-model itself is trained less. Errors at the smallest and at the "
            "largest value:",
            table(head, fig4_rows()),
            f"Made by {made_by(results)}.",
        ]
    )


def benchmark() -> str:
    results = load("bench_man")
    rows = [
        [
            name,
            f"{found['seconds']['lameta_jax']['median']:.2f} s",
            f"{found['compile_seconds']:.0f} s",
            found["fastest_peer"],
            f"{found['seconds'][found['fastest_peer']]['median']:.2f} s",
            f"{found['times_as_fast']:.1f}",
        ]
        for name, found in results["beside_pytorch"].items()
    ]
    forms = [
        [label, *(f"{results['forms'][name][label]['median']:.2f} s" for name in results["forms"])]
        for label in next(iter(results["forms"].values()))
    ]
    five, thirty = (results["temporary_bytes"][steps] for steps in ("5", "30"))
    return "\n\n".join(
        [
            "## What a step costs",
            "Ten agents, the MNIST network, E = 30, batches of 32; contenders take turns, medians:",
            table(["", "this package", "compiling", "fastest in PyTorch", "its time", "times as fast"], rows),
            "The aim was 3 times as fast for the second-order step. Where its time goes, and how near it is to the "
            "ceilings of the machine, is on [bench.md](bench.md). Steps of adaptation are computed again on the way "
            "back, so that no activations are kept; PyTorch keeps everything.",
            "Forms of the convolution and of the loop over agents, six steps. Convolutions are matrix products of "
            "patches with samples last (`patches`), agents are shared by one device per core (`spread`), on each of "
            "them one after the other in a compiled loop; `mapped`, `vectorised` and `unrolled` use one device:",
            table(["", *results["forms"]], forms),
            f"Memory of the second-order step beside arguments and results: {five / 1e6:.1f} MB for E = 5, "
            f"{thirty / 1e6:.1f} MB for E = 30, {thirty / five:.2f} times as much.",
            f"Made by {made_by(results)}.",
        ]
    )
