"""The tables of the demo: one for both applications, as text and as cells that a report can set.

A summary of an interrupted demo may lack any part; its cells hold "-".
"""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple, TypeGuard

MISSING = "-"
STAGES = {
    "corpus": "reading the corpus",
    "elam": "distilling the E-LAMs",
    "training": "training the policies",
    "evaluation": "evaluating them",
}

ELAM_TITLE = "Reading what users want: error of the four weights"
COMPOSITION_TITLE = "Composing the chain: QoE that users get"
METHODS = {
    "even": "even weights",
    "linear probe": "linear probe",
    "raw": "raw E-LAM",
    "iokd": "IoKD E-LAM",
    "teacher": "C-LAM (teacher)",
    "annotator noise floor": "annotators (noise floor)",
    "SRL (own preference)": "SRL, own preference",
    "SRL (IoKD translation)": "SRL, IoKD translation",
}

NOTES = [
    "± 95% confidence interval of the mean over test users. MSE, MAE: mean squared and absolute error.",
    "failed: answers that are not a preference. gap: 1 - QoE / QoE of the optimum. valid: chains that meet all",
    "constraints. optimum: exact search; plug-in optimum: the same with what the E-LAM read.",
]


class Section(NamedTuple):
    """Part of the table: what its columns are, and a row per method with three cells per application."""

    title: str
    columns: tuple[str, str, str]
    rows: list[tuple[str, list[str]]]  # method, cells of all applications one after another


def applications(summary: Mapping[str, Any]) -> list[str]:
    """Applications in the order of the summary."""
    return list(summary.get("applications") or [])


def records(summary: Mapping[str, Any], part: str, application: str) -> list[Mapping[str, Any]]:
    """Rows of one part ("elam", "composition") for one application; none where it was not reached."""
    return list((summary.get(part) or {}).get(application) or [])


def method_label(row: Mapping[str, Any]) -> str:
    """A method as tables and figures call it."""
    name = str(METHODS.get(row["method"], row["method"]))
    return f"{name}, {row['elam']}" if row.get("elam") else name


def is_known(value: Any) -> TypeGuard[float]:
    """Whether a summary holds a number here."""
    return value is not None and isfinite(value)


def missing_stages(summary: Mapping[str, Any]) -> list[str]:
    """What an interrupted demo did not get to, in words."""
    done = summary.get("stages_done") or []
    is_complete = summary.get("status") == "complete"
    return [] if is_complete else [words for stage, words in STAGES.items() if stage not in done]


def sections(summary: Mapping[str, Any]) -> list[Section]:
    """The table in two sections, without those that have no rows yet."""
    parts = [
        Section(ELAM_TITLE, ("MSE", "MAE", "failed"), _rows(summary, "elam", _elam_cells)),
        Section(
            COMPOSITION_TITLE, ("QoE", "gap", "valid"), _rows(summary, "composition", _composition_cells)
        ),
    ]
    return [part for part in parts if part.rows]


def text_table(summary: Mapping[str, Any]) -> str:
    """The table for a terminal, or a line that says that there is nothing to show."""
    parts, apps, missing = sections(summary), applications(summary), missing_stages(summary)
    partial = [f"Interrupted; not reached: {', '.join(missing)}."] if missing else []
    if not parts:
        return "\n".join(["No results yet.", *partial])
    cells = [row for part in parts for _, row in part.rows] + [
        list(part.columns) * len(apps) for part in parts
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(3 * len(apps))]
    first = max(len(label) for part in parts for label, _ in part.rows)
    gaps = ["   " if column % 3 == 0 else "  " for column in range(len(widths))]

    def line(label: str, row: Sequence[str]) -> str:
        columns = zip(gaps, row, widths, strict=True)
        return (
            label.ljust(first) + "".join(gap + cell.rjust(width) for gap, cell, width in columns)
        ).rstrip()

    spans = [sum(map(len, gaps[i : i + 3])) + sum(widths[i : i + 3]) for i in range(0, len(widths), 3)]
    names = [f" {app} ".center(span - 3, "-") for app, span in zip(apps, spans, strict=True)]
    lines = ["   ".join([" " * first, *names])]
    for part in parts:
        lines += [part.title, line("", list(part.columns) * len(apps))]
        lines += [line(label, row) for label, row in part.rows] + [""]
    return "\n".join(lines + NOTES + partial)


def _rows(
    summary: Mapping[str, Any], part: str, cells: Callable[[Mapping[str, Any]], list[str]]
) -> list[tuple[str, list[str]]]:
    apps = applications(summary)
    by_label = [{method_label(row): row for row in records(summary, part, app)} for app in apps]
    labels = list(dict.fromkeys(label for rows in by_label for label in rows))
    return [(label, [cell for rows in by_label for cell in cells(rows.get(label, {}))]) for label in labels]


def _elam_cells(row: Mapping[str, Any]) -> list[str]:
    mae, failure_rate = row.get("mae"), row.get("failure_rate")
    return [
        _with_interval(row, "mse", lambda mse: f"{mse:.4f}"),
        f"{mae:.3f}" if is_known(mae) else MISSING,
        f"{failure_rate:.1%}" if is_known(failure_rate) else MISSING,
    ]


def _composition_cells(row: Mapping[str, Any]) -> list[str]:
    feasible = row.get("feasible")
    return [
        _with_interval(row, "qoe", lambda qoe: f"{qoe:.3f}"),
        _with_interval(row, "gap", lambda gap: f"{100 * gap:.1f}", unit="%"),
        f"{feasible:.0%}" if is_known(feasible) else MISSING,
    ]


def _with_interval(row: Mapping[str, Any], name: str, shown: Callable[[float], str], unit: str = "") -> str:
    """mean ±half-width; the intervals are symmetric."""
    mean, (low, high) = row.get(name), row.get(f"{name}_ci") or (None, None)
    if not is_known(mean):
        return MISSING
    interval = f" ±{shown((high - low) / 2)}" if is_known(low) and is_known(high) else ""
    return f"{shown(mean)}{interval}{unit}"
