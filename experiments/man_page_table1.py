"""The sections of experiments/man.md on Table I, and the findings in short."""

from man_page_studies import fig4_rows, percent, verdict_of_change
from man_study import TITLES
from pages import load, made_by, table, verdict

GROUPS = ("seen (worst)", "seen (best)", "unseen (worst)", "unseen (best)")
MAN_ROWS = ("MAN", "MAN, twice the gradients")
OTHERS = (
    "local training",
    "joint training (FedAvg)",
    "FedAvg, fine-tuned",
    "Reptile",
    "Per-FedAvg, first order",
)


def paper_cell(found: dict, label: str, group: str) -> str:
    """The paper's number in percent, if it has one."""
    which, part = group.removesuffix(")").split(" (")
    numbers = found["paper_percent"].get(label, {}).get(which)
    return f"{numbers[part == 'best']:.2f}" if numbers else ""


def reached(found: dict, label: str) -> list[str]:
    """The groups of agents for which a row of MAN is, in the mean, at or above the paper's."""
    return [
        group
        for group in GROUPS
        if 100 * found["rows"][label][group]["mean"] >= float(paper_cell(found, "MAN", group))
    ]


WHY = (
    "- **Why MAN is not ahead here.** It spends half of its gradients on steps of adaptation, so with as many "
    "gradients it makes half as many updates as FedAvg, each from one half of the data; and FedAvg, fine-tuned "
    "before use, adapts just as well. That some steps of averaged SGD make a good start to adapt from has been "
    "noticed before (Jiang et al., Improving federated learning personalization via model agnostic meta learning, "
    "2019). The paper compares with FedAvg that is not fine-tuned, and its FedAvg on MNIST is weaker than a tuned "
    "one. Tried: an update per step and one per round, first and second order, twice the gradients (digits), more "
    "rounds (MNIST), three rates each. Not tried for want of a GPU: the paper's number of rounds, `lameta "
    "reproduce table1 --preset paper` in one command. For Widar3.0 the paper does not say what an environment is; "
    "here it is a user in a room, with 600 samples to learn from."
)


def findings() -> str:
    """What agrees and what does not, in words; what is said here is tested against the results."""
    lines = ["## In short", ""]
    for name in ("table1", "table1_long"):
        for data, found in load(name)["data"].items():
            lines += [accuracy_words(data, found), printed_words(data, found), comparison_words(data, found)]
    lines.append(WHY)
    curves = load("man_fig2")["data"]
    for name in ("personalisation", "generalisation"):
        changes = {data: verdict_of_change(found[name]) for data, found in curves.items()}
        words = ", ".join(f"{TITLES[data]} {change}" for data, change in changes.items())
        lines.append(f"- **Fig. 2**: the {name} error while MAN trains: {words}.")
    verdicts = [f"{row[0]}, {row[2]}: {row[-1]}" for row in fig4_rows() if row[-1]]
    lines.append(f"- **Fig. 4**, the trade-off ({TITLES[load('man_fig4')['data']]}): {'; '.join(verdicts)}.")
    lines += [theorem1_words(), theorem2_words()]
    return "\n".join(line for line in lines if line is not None)


def theorem1_words() -> str:
    """By variable of (8), what the adapted models on fresh data, which its proof bounds, say of it."""
    parts = []
    for name, problem in load("theorem1")["problems"].items():
        variables = problem["regimes"]["units"]["second_order"]
        verdicts = {variable: found["readings"]["fresh"]["verdict"] for variable, found in variables.items()}
        groups: dict[str, list[str]] = {}
        for variable, words in verdicts.items():
            groups.setdefault(words.partition(":")[0], []).append(variable)
        found = "; ".join(f"{words} for {', '.join(group)}" for words, group in groups.items())
        parts.append(f"{name}: {found}")
    return (
        "- **Theorem 1** on problems with known constants, rates within its conditions: how the error of models that "
        f"adapted on fresh data depends on each variable: {'. '.join(parts)}. (8) is an upper bound, so less "
        "dependence does not refute it."
    )


def theorem2_words() -> str:
    return (
        "- **Theorem 2**: the noise term falls as 1 / E and the error grows as c_I^2, as (9) says; but with the "
        "printed rate 2 / (mu (E + 1)), the same in all steps, the initial deviation does not vanish as E grows, so "
        "that no hidden constant makes (9) hold for all E; and with fewer steps than about L / mu, adaptation makes "
        "the model worse."
    )


def readme_table() -> str:
    """The table of README.md: mean accuracy over agents in percent, of those that train and of those that join."""
    data = load("table1")["data"]
    rows = [
        [label]
        + [
            percent(found["rows"][label][f"{group} (mean)"])
            if f"{group} (mean)" in found["rows"][label]
            else ""
            for found in data.values()
            for group in ("seen", "unseen")
        ]
        for label in (*OTHERS, "MAN")
    ]
    return table(["", *(f"{TITLES[name]}, {group}" for name in data for group in ("seen", "unseen"))], rows)


def accuracy_words(data: str, found: dict) -> str | None:
    """Which of the paper's accuracies MAN reaches."""
    if not found["paper_percent"]:
        return None
    words = []
    for label in filter(found["rows"].get, MAN_ROWS):
        met = reached(found, label)
        missed = [group for group in GROUPS if group not in met]
        text = f"{label}: at or above it for {', '.join(met) or 'none'}"
        words.append(text + (f", below for {', '.join(missed)}" if missed else ""))
    best = {
        group: max((row[group]["mean"], label) for label, row in found["rows"].items() if group in row)
        for group in GROUPS
    }
    reach = ", ".join(f"{group} {100 * mean:.2f} by {label}" for group, (mean, label) in best.items())
    return (
        f"- **{TITLES[data]}, Table I** ({found['rounds']} rounds), against the paper's MAN. {'. '.join(words)}. "
        f"Best of all methods here: {reach}."
    )


def printed_words(data: str, found: dict) -> str | None:
    """What (6) to the letter does at the rates of the paper."""
    if "printed_long" not in found:
        return None
    long, group = found["printed_long"], "seen (mean)"
    return (
        f"- **{TITLES[data]}, (6) to the letter**, once per round at the printed rates: mean accuracy of seen agents "
        f"{percent(found['rows']['MAN, printed rates'][group])}% after {found['rounds']} rounds and "
        f"{percent(long['row'][group])}% after {long['rounds']}; with an update after every step at tuned rates "
        f"{percent(found['rows']['MAN'][group])}% after {found['rounds']}."
    )


def comparison_words(data: str, found: dict) -> str:
    """Whether MAN is above each of the others, in mean accuracy over agents."""
    comparisons = []
    for label in filter(found["man_minus"].get, OTHERS):
        means = {name: one for name, one in found["man_minus"][label].items() if "mean" in name}
        verdicts = ", ".join(f"{name.split()[0]} {verdict(one)}" for name, one in means.items())
        comparisons.append(f"{label} ({verdicts})")
    return (
        f"- **{TITLES[data]}, against the others**, all with {found['rounds']} rounds and as many gradients: MAN's "
        f"mean accuracy over agents, compared with {'; '.join(comparisons)}."
    )


def table1() -> str:
    results, longer = load("table1"), load("table1_long")
    parts = ["## Table I", "![Table I](results/table1.png)"]
    for data, found in results["data"].items():
        parts += rows_of_data(TITLES[data], found)
    parts += [
        "As printed, (6) makes one update of 0.005 per round. The paper's own batches B_out[k, e] and the exponent ET "
        "of Theorem 1 count one update per step of adaptation. That reading is the default here (`man`); the other is "
        "`man-first-order`, or `man-round` with second-order gradients.",
        f"Made by {made_by(results)}.",
        "![Table I, more rounds](results/table1_long.png)",
    ]
    for data, found in longer["data"].items():
        parts += rows_of_data(f"{TITLES[data]}, more rounds", found)
    return "\n\n".join([*parts, f"Made by {made_by(longer)}."])


def rows_of_data(title: str, found: dict) -> list[str]:
    """The tables of one data set."""
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
    differences = [
        [label, *(_points(values.get(f"{group} (mean)")) for group in ("seen", "unseen"))]
        for label, values in found["man_minus"].items()
    ]
    rates = [[label, *(f"{rate:g}" for rate in rates.values())] for label, rates in found["rates"].items()]
    return [
        f"### {title}",
        f"{found['rounds']} rounds, 30 gradients per agent and round, batches of 32. Accuracy in percent of the "
        "worst and of the best agent, in brackets after it the paper's.",
        table(["", *GROUPS], rows),
        "MAN less the others, in percentage points of the mean accuracy over agents:",
        table(["", "seen", "unseen"], differences),
        "Rates, chosen by `experiments/man_tuning.py` on other agents, without test samples:",
        table(["", "training", "adaptation", "server", "before the test"], rates),
    ]


def _beside(found: dict, label: str, group: str) -> str:
    number = paper_cell(found, label, group)
    return f" [{number}]" if number else ""


def _points(interval: dict | None) -> str:
    if interval is None:
        return ""
    return f"{100 * interval['mean']:+.2f} ({100 * interval['low']:+.2f} to {100 * interval['high']:+.2f})"
