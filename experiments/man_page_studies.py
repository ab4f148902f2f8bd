"""The sections of experiments/man.md on Table I, Figs. 2 to 4, and the time that a step takes."""

from man_study import TITLES
from pages import load, made_by, shown, table, verdict

GROUPS = ("seen (worst)", "seen (best)", "unseen (worst)", "unseen (best)")
OTHERS = (
    "local training",
    "joint training (FedAvg)",
    "FedAvg, fine-tuned",
    "Reptile",
    "Per-FedAvg, first order",
)


def percent(interval: dict) -> str:
    return f"{100 * interval['mean']:.2f} ({100 * interval['low']:.2f} to {100 * interval['high']:.2f})"


def paper_cell(found: dict, label: str, group: str) -> str:
    """The paper's number in percent, if it has one."""
    which, part = group.removesuffix(")").split(" (")
    numbers = found["paper_percent"].get(label, {}).get(which)
    return f"{numbers[part == 'best']:.2f}" if numbers else ""


def reached(found: dict) -> list[str]:
    """By group of agents, whether MAN's mean is at or above the paper's."""
    return [
        group
        for group in GROUPS
        if 100 * found["rows"]["MAN"][group]["mean"] >= float(paper_cell(found, "MAN", group))
    ]


def findings() -> str:
    """What agrees and what does not, in words; what is said here is tested against the results."""
    lines = ["## In short", ""]
    for data, found in load("table1")["data"].items():
        rows = found["rows"]
        man, printed = (percent(rows[label]["seen (worst)"]) for label in ("MAN", "MAN, printed rates"))
        words = f"the worst seen agent gets {man}% with an update after every step at tuned rates"
        if found["paper_percent"]:
            met = reached(found)
            missed = [group for group in GROUPS if group not in met]
            words += f"; at or above the paper's for {', '.join(met) or 'none'}"
            words += f", below it for {', '.join(missed)}" if missed else ""
        words += f". With (6) once per round at the printed rates it gets {printed}%"
        if "printed_long" in found:
            long = found["printed_long"]
            words += f", and {percent(long['row']['seen (worst)'])}% after {long['rounds']} rounds"
        lines.append(f"- **{TITLES[data]}, Table I** ({found['rounds']} rounds): MAN: {words}.")
        comparisons = []
        for label in OTHERS:
            means = {name: one for name, one in found["man_minus"][label].items() if "mean" in name}
            verdicts = ", ".join(f"{name.split()[0]} {verdict(one)}" for name, one in means.items())
            comparisons.append(f"{label} ({verdicts})")
        lines.append(
            f"- **{TITLES[data]}, against the others**, the same number of rounds and gradients: MAN's mean accuracy "
            f"over agents, compared with {'; '.join(comparisons)}."
        )
    curves = load("man_fig2")["data"]
    for name in ("personalisation", "generalisation"):
        changes = {data: verdict_of_change(found[name][0], found[name][-1]) for data, found in curves.items()}
        lines.append(
            f"- **Fig. 2**: the {name} error while MAN trains: "
            + ", ".join(f"{TITLES[data]} {change}" for data, change in changes.items())
            + "."
        )
    verdicts = [f"{row[0]}, {row[2]}: {row[-1]}" for row in fig4_rows() if row[-1]]
    lines.append(f"- **Fig. 4**, the trade-off ({TITLES[load('man_fig4')['data']]}): {'; '.join(verdicts)}.")
    return "\n".join(lines)


def table1() -> str:
    results = load("table1")
    parts = ["## Table I", "![Table I](results/table1.png)"]
    for data, found in results["data"].items():
        rows = [
            [
                label,
                *(
                    f"{percent(row[group])}{_beside(found, label, group)}" if group in row else ""
                    for group in GROUPS
                ),
            ]
            for label, row in found["rows"].items()
        ]
        parts += [
            f"### {TITLES[data]}",
            f"{found['rounds']} rounds, 30 gradients per agent and round, batches of 32. Accuracy in percent of the "
            "worst and of the best agent, in brackets after it the paper's.",
            table(["", *GROUPS], rows),
            "MAN less the others, in percentage points of the mean accuracy over agents:",
            table(
                ["", "seen", "unseen"],
                [
                    [label, *(_points(differences.get(f"{group} (mean)")) for group in ("seen", "unseen"))]
                    for label, differences in found["man_minus"].items()
                ],
            ),
            "Rates, chosen by `experiments/man_tuning.py` on other agents, without test samples:",
            table(
                ["", "training", "adaptation", "server", "before the test"],
                [
                    [label, *(f"{rate:g}" for rate in rates.values())]
                    for label, rates in found["rates"].items()
                ],
            ),
        ]
    parts += [
        "As printed, (6) makes one update of 0.005 per round. The paper's own batches B_out[k, e] and the exponent ET "
        "of Theorem 1 count one update per step of adaptation. That reading is the default here (`man`); the other is "
        "`man-first-order`, or `man-round` with second-order gradients.",
        f"Made by {made_by(results)}.",
    ]
    return "\n\n".join(parts)


def _beside(found: dict, label: str, group: str) -> str:
    number = paper_cell(found, label, group)
    return f" [{number}]" if number else ""


def _points(interval: dict | None) -> str:
    if interval is None:
        return ""
    return f"{100 * interval['mean']:+.2f} ({100 * interval['low']:+.2f} to {100 * interval['high']:+.2f})"


def fig2() -> str:
    results = load("man_fig2")
    rows = []
    for data, found in results["data"].items():
        for name in ("personalisation", "generalisation"):
            first, last = found[name][0], found[name][-1]
            rows.append([TITLES[data], name, shown(first, 3), shown(last, 3), verdict_of_change(first, last)])
    optima = ", ".join(
        f"{TITLES[data]} {shown(found['loss_of_local_optima'], 3)}" for data, found in results["data"].items()
    )
    return "\n\n".join(
        [
            "## Fig. 2: errors while MAN trains",
            "![Fig. 2](results/man_fig2.png)",
            table(["data", "error", "after the first report", "at the end", "change"], rows),
            "Personalisation error is the loss on an agent's own samples less that of its local optimum (2), "
            "generalisation error the loss on test samples less that on its own (1), both after adaptation. Loss of "
            f"the models that stand for local optima: {optima}.",
            f"Made by {made_by(results)}.",
        ]
    )


def verdict_of_change(first: dict, last: dict) -> str:
    if last["high"] < first["low"]:
        return "falls"
    return "rises" if last["low"] > first["high"] else "no change seen"


def fig3() -> str:
    results = load("man_fig3")
    curves = results["curves"]
    counts = next(iter(curves.values()))["collaborators"]
    rows = [
        [
            f"p = {label}",
            group,
            *(percent(one) for one in found[group]),
            verdict_of_change(found[group][0], found[group][-1]),
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
                ["environments", "agents", *(f"S = {count}" for count in counts), f"1 to {counts[-1]}"], rows
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
            first, last = found[name][0], found[name][-1]
            change, claim = verdict_of_change(first, last), CLAIMS[variable].get(name, "")
            agrees = "" if not claim else ("agrees" if change == claim else "does not agree")
            rows.append([variable, ends, name, shown(first, 3), shown(last, 3), change, claim, agrees])
    return rows


def fig4() -> str:
    results = load("man_fig4")
    head = ["", "values", "error", "smallest", "largest", "ours", "the paper", "verdict"]
    return "\n\n".join(
        [
            "## Fig. 4: what trades one error for the other",
            "![Fig. 4](results/man_fig4.png)",
            f"{TITLES[results['data']]}, {results['rounds']} rounds. E and beta are varied in training and before the "
            "test alike. Errors at the smallest and at the largest value:",
            table(head, fig4_rows()),
            f"Made by {made_by(results)}.",
        ]
    )


def benchmark() -> str:
    results = load("man_step")
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
            "Forms of the convolution and of the loop over agents, ten steps. Convolutions are matrix products of "
            "patches with samples last, agents one after the other in a compiled loop (`mapped`):",
            table(["", *results["forms"]], forms),
            f"Memory of the second-order step beside arguments and results: {five / 1e6:.1f} MB for E = 5, "
            f"{thirty / 1e6:.1f} MB for E = 30, {thirty / five:.2f} times as much.",
            f"Made by {made_by(results)}.",
        ]
    )
