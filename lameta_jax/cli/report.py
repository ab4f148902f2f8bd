"""The demo's report: one HTML file that needs nothing else, for readers who have never heard of any of this."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from itertools import zip_longest
from typing import Any

from matplotlib.figure import Figure

from lameta_jax.cli.figures import png_bytes
from lameta_jax.cli.report_text import CAPTIONS, FACTS, INTRODUCTION, METHOD_NOTES, STYLE
from lameta_jax.cli.tables import (
    COMPOSITION_TITLE,
    ELAM_TITLE,
    METHODS,
    NOTES,
    Section,
    applications,
    is_known,
    missing_stages,
    records,
    sections,
)
from lameta_jax.types import FACTOR_NAMES


def report_html(summary: Mapping[str, Any], figures: Mapping[str, Figure]) -> str:
    """The report of a demo, complete or interrupted.

    Args:
      summary: what the demo found; any part may be missing.
      figures: from `draw_figures`; drawn into the file.
    """
    body = [
        "<h1>From words to chains of agents</h1>",
        _status(summary),
        INTRODUCTION,
        _network(summary),
        "<h2>What came out</h2>",
        _findings(summary),
        _method_notes(summary),
        *_stage(summary, figures, ELAM_TITLE, ("elam_error", "preferences")),
        *_stage(summary, figures, COMPOSITION_TITLE, ("qoe", "training")),
        f'<p class="notes">{escape(" ".join(NOTES))}</p>' if sections(summary) else "",
        "<h2>One request, from words to a chain</h2>",
        _example(summary),
        _figure("network", figures),
        "<h2>How this was made</h2>",
        _provenance(summary),
    ]
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>lameta demo</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, body))
        + "\n</body>\n</html>\n"
    )
    return page.encode("utf-8", "replace").decode("utf-8")  # a prompt may hold half a surrogate pair


def _status(summary: Mapping[str, Any]) -> str:
    if summary.get("status") == "complete":
        return ""
    missing = missing_stages(summary)
    lacking = f" Not reached: {escape(', '.join(missing))}." if missing else ""
    return (
        f'<p class="partial"><b>This run was interrupted.</b>{lacking} What follows is what it had found.</p>'
    )


def _network(summary: Mapping[str, Any]) -> str:
    network = summary.get("network") or {}
    words = [
        f"{network[key]:,} {name}"
        for key, name in (
            ("num_agents", "agents"),
            ("num_links", "links"),
            ("feasible_chains", "chains that can serve the request"),
        )
        if network.get(key) is not None
    ]
    if not words:
        return ""
    return f"<p>The network of this run, {escape(str(network.get('name') or 'unnamed'))}: {', '.join(words)}.</p>"


def _findings(summary: Mapping[str, Any]) -> str:
    """The main comparison of each stage, per application."""
    items = []
    for app in applications(summary):
        errors = {(row["method"], row.get("elam")): row.get("mse") for row in records(summary, "elam", app)}
        words = [
            f"Mean squared error of the {name} E-LAM: {errors['raw', name]:.4f} before IoKD, {after:.4f} after it."
            for (method, name), after in errors.items()
            if method == "iokd" and is_known(after) and is_known(errors.get(("raw", name)))
        ]
        shares = {row["method"]: row.get("fraction") for row in records(summary, "composition", app)}
        ours = shares.get("SRL (IoKD translation)")
        if is_known(ours):
            words.append(
                f"From words alone, the method gives users {ours:.1%} of the best possible QoE on average."
            )
        others = [name for name in ("random", "greedy", "DRL-even") if is_known(shares.get(name))]
        if others:
            words.append(f"For comparison: {', '.join(f'{name} {shares[name]:.1%}' for name in others)}.")
        if words:
            items.append(f"<li><b>{escape(app)}</b>. {escape(' '.join(words))}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else "<p>No results yet.</p>"


def _stage(
    summary: Mapping[str, Any], figures: Mapping[str, Figure], title: str, names: Sequence[str]
) -> list[str]:
    """What is known about one of the two stages: its table and its figures."""
    tables = [_table(part, applications(summary)) for part in sections(summary) if part.title == title]
    drawn = list(filter(None, (_figure(name, figures) for name in names)))
    return [f"<h2>{escape(title)}</h2>", *(tables + drawn or ["<p>The run did not get that far.</p>"])]


def _table(section: Section, apps: Sequence[str]) -> str:
    groups = "".join(f'<th class="application" colspan="3">{escape(app)}</th>' for app in apps)
    columns = "".join(f"<th>{escape(name)}</th>" for _ in apps for name in section.columns)
    rows = "".join(
        f"<tr><td>{escape(label)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for label, cells in section.rows
    )
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{groups}</tr>'
        f"<tr><th></th>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _method_notes(summary: Mapping[str, Any]) -> str:
    parts = [(part, app) for part in ("elam", "composition") for app in applications(summary)]
    present = {row["method"] for part, app in parts for row in records(summary, part, app)}
    rows = "".join(
        f"<tr><th>{escape(METHODS.get(name, name))}</th><td>{escape(note)}</td></tr>"
        for name, note in METHOD_NOTES.items()
        if name in present
    )
    if not rows:
        return ""
    return f'<details open><summary>What the rows are</summary><table class="facts">{rows}</table></details>'


def _figure(name: str, figures: Mapping[str, Figure]) -> str:
    if name not in figures:
        return ""
    data, caption = b64encode(png_bytes(figures[name])).decode("ascii"), escape(CAPTIONS[name])
    width = round(96 * figures[name].get_figwidth())  # CSS has 96 pixels to the inch
    image = f'<img alt="{caption}" width="{width}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _example(summary: Mapping[str, Any]) -> str:
    """The example in words, as far as it is known."""
    example = summary.get("example") or {}
    if not example.get("chain"):
        return "<p>The run did not get that far.</p>"
    words = [
        f"<p>A user of the application {escape(example.get('application') or '?')} wrote:</p>",
        f"<blockquote>{escape(example.get('prompt') or '?')}</blockquote>",
    ]
    if example.get("translated"):
        name = escape(example.get("elam") or "")
        words.append(f"<p>The {name} E-LAM read this as {_weights(example['translated'])}.</p>")
    if example.get("preference"):
        words.append(f"<p>What the user really wanted: {_weights(example['preference'])}.</p>")
    facts = [form.format(example[key]) for key, form in FACTS.items() if is_known(example.get(key))]
    agents = [
        f"<b>{escape(agent)}</b> ({escape(kind)})" if kind else f"<b>{escape(agent)}</b>"
        for agent, kind in zip_longest(example["chain"], example.get("types") or [])
    ]
    sentence = f" This chain {'; it '.join(facts)}." if facts else ""
    words.append(f"<p>The policy composed {' → '.join(agents)}.{sentence}</p>")
    best = example.get("optimum_chain")
    if best == example["chain"]:
        words.append("<p>No other chain is better for this user.</p>")
    elif best and is_known(example.get("optimum_qoe")) and is_known(example.get("gap")):
        shown = " → ".join(f"<b>{escape(agent)}</b>" for agent in best)
        words.append(
            f"<p>The best chain for this user, {shown}, has a QoE of {example['optimum_qoe']:.3f}: "
            f"the gap is {example['gap']:.1%}.</p>"
        )
    return "\n".join(words)


def _weights(weights: Sequence[float]) -> str:
    return ", ".join(f"{weight:.0%} {name}" for name, weight in zip(FACTOR_NAMES, weights, strict=True))


def _provenance(summary: Mapping[str, Any]) -> str:
    seconds = summary.get("seconds") or {}
    facts = {
        "command": summary.get("command"),
        "seed": summary.get("seed"),
        "device": summary.get("device"),
        "versions": ", ".join(
            f"{name} {version}" for name, version in (summary.get("versions") or {}).items()
        ),
        "seconds": ", ".join(f"{stage} {time:.0f}" for stage, time in seconds.items() if is_known(time)),
    }
    rows = "".join(
        f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, "")
    )
    return f"""<table class="facts">{rows}</table>
<p>Prompts and preferences were <b>written and annotated by large language models</b> following written guidelines;
there were <b>no human annotators</b>. A test user's preference is the mean of three independent annotations. What the
C-LAM said was recorded once and is replayed, so the run needs no network. People and places in the prompts are
invented; agents and links are simulated.</p>
<p>Intervals are 95% confidence intervals of the mean over test users, for the one seed of this run: they do not say how
much another training run would differ.</p>"""
