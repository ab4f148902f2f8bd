"""The demo's table, figures and report, from a made-up summary and from what is left of one."""

import base64
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.patches import FancyArrowPatch

from lameta_jax.cli.figures import draw_figures, png_bytes, save_figures
from lameta_jax.cli.network_figure import network_with_chain
from lameta_jax.cli.report import report_html
from lameta_jax.cli.tables import sections, text_table
from lameta_jax.network.scenarios import load_named
from lameta_jax.network.schema import parse_scenario

APPS = ["multimedia", "qa"]
PROMPT = '<script>alert("x")</script> & a café, 猫, 🐈 \ud83d $\\frac$'


def elam_row(method, elam, mse):
    ci = [0.75 * mse, 1.25 * mse]
    return {"method": method, "elam": elam, "mse": mse, "mse_ci": ci, "mae": 0.1, "failure_rate": 0.025}


def composition_row(method, fraction):
    interval = [1 - fraction - 0.01, 1 - fraction + 0.01]
    return {
        "method": method, "qoe": 4 * fraction, "qoe_ci": [4 * fraction - 0.1, 4 * fraction + 0.1],
        "fraction": fraction, "gap": 1 - fraction, "gap_ci": interval, "feasible": 1.0, "num_users": 3,
    }  # fmt: skip


def demo_summary():
    users = [[0.1, 0.2, 0.6, 0.1], [0.5, 0.2, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]]
    elam = [elam_row("even", None, 0.048)]
    elam += [
        elam_row(method, elam, mse)
        for method, mse in (("raw", 0.024), ("iokd", 0.016))
        for elam in ("small", "large")
    ]
    elam += [elam_row("teacher", None, 0.0014), elam_row("annotator noise floor", None, 0.0019)]
    composition = [
        composition_row(method, fraction)
        for method, fraction in (
            ("random", -0.25), ("greedy", 0.81), ("DRL-even", 0.77), ("SRL (own preference)", 0.98),
            ("SRL (IoKD translation)", 0.95), ("plug-in optimum", 0.96), ("optimum", 1.0),
        )
    ]  # fmt: skip
    return {
        "status": "complete",
        "stages_done": ["corpus", "elam", "training", "evaluation"],
        "command": "lameta demo --seed 7",
        "seed": 7,
        "versions": {"lameta_jax": "0.1.0", "jax": "0.10.2"},
        "device": "cpu",
        "seconds": {"elam": 40.1, "training": 120.5},
        "applications": APPS,
        "elam": {app: elam for app in APPS},
        "composition": {app: composition for app in APPS},
        "training": {"update": [0, 1], "curves": {"SRL": {"qoe": [1.0, 3.0], "fraction": [0.2, 0.9]}}},
        "preferences": {app: {"prompts": [PROMPT] * 3, "users": users, "translated": users} for app in APPS},
        "example": {
            "prompt": PROMPT, "application": "qa", "preference": users[0], "translated": users[1],
            "elam": "large", "chain": ["a55", "a14", "a22"], "types": ["type-1", "type-2", "type-3"],
            "capability": 0.035, "information_loss": 0.0131, "latency": 0.25, "outage": 0.034,
            "subjective_qoe": 4.01, "optimum_chain": ["a55", "a04", "a75"], "optimum_qoe": 4.1, "gap": 0.022,
        },
        "network": {"name": "lameta-81", "num_agents": 81, "num_links": 1001, "feasible_chains": 699},
    }  # fmt: skip


@pytest.fixture(scope="module")
def scenario():
    return load_named("lameta-81")


@pytest.fixture(scope="module")
def figures(scenario):
    return draw_figures(demo_summary(), scenario)


class Page(HTMLParser):
    """Tags, sources and text of a page; fails on tags that do not close."""

    VOID = ("meta", "img")

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_table_fits_the_terminal_and_holds_every_row():
    table = text_table(demo_summary())
    assert max(map(len, table.splitlines())) <= 110
    table.encode("latin-1")
    # 0.016 -+ 0.25 * 0.016; QoE 4 * 0.95 = 3.8; gap 1 - 0.95 = 5%, interval 4% to 6%
    iokd = next(line for line in table.splitlines() if line.startswith("IoKD E-LAM, large"))
    assert iokd.split("large")[1].split() == ["0.0160", "±0.0040", "0.100", "2.5%"] * 2
    srl = next(line for line in table.splitlines() if line.startswith("SRL, IoKD"))
    assert srl.split("translation")[1].split() == ["3.800", "±0.100", "5.0", "±1.0%", "100%"] * 2
    assert [len(part.rows) for part in sections(demo_summary())] == [7, 7]


def test_numbers_that_are_not_known_are_dashes():
    summary = demo_summary()
    summary["elam"]["qa"] = summary["elam"]["qa"][:2]  # the second application was not finished
    summary["composition"] = {"qa": [{"method": "greedy", "qoe": None, "gap": float("nan"), "gap_ci": None}]}
    table = text_table(summary).splitlines()
    assert next(line for line in table if line.startswith("IoKD E-LAM, large")).split()[-3:] == [
        "-",
        "-",
        "-",
    ]
    assert next(line for line in table if line.startswith("greedy")).split() == ["greedy", *"------"]


def test_every_figure_is_a_picture(figures, tmp_path):
    assert set(figures) == {"elam_error", "preferences", "qoe", "training", "network"}
    paths = save_figures({"network": figures["network"]}, tmp_path / "figures")
    assert [path.name for path in paths] == ["network.png"]
    assert paths[0].read_bytes().startswith(b"\x89PNG")


def test_axes_name_their_units(figures):
    assert "minutes" in figures["network"].axes[0].get_ylabel()
    assert "%" in figures["training"].axes[0].get_ylabel()


def test_heatmaps_sort_users_by_what_matters_to_them(figures):
    shown = np.asarray(figures["preferences"].axes[0].get_images()[0].get_array())
    np.testing.assert_allclose(shown[:, 0], [0.7, 0.5, 0.1])


def test_noise_floor_is_a_line_and_not_a_bar(figures):
    axes = figures["elam_error"].axes[0]
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.0019]
    assert len(axes.patches) == 6


def test_network_shows_every_agent_and_link_and_both_chains(figures, scenario):
    axes = figures["network"].axes[0]
    [links] = [part for part in axes.collections if isinstance(part, LineCollection)]
    assert len(links.get_segments()) == 1001
    dots = [part for part in axes.collections if isinstance(part, PathCollection)]
    assert sum(len(part.get_offsets()) for part in dots) == 81 + 3 + 3
    assert sum(isinstance(patch, FancyArrowPatch) for patch in axes.patches) == 4
    assert [text.get_text() for text in axes.texts] == ["1. a55", "2. a14", "3. a22", "a04", "a75"]


def test_network_of_one_agent_with_an_awkward_name():
    agent = {"id": "$x^", "type": "a_b$", "capability": 0.5, "service_rate": 9, "service_cv": 1}
    scenario = parse_scenario(
        {
            "arrival_rate": 1, "capability_threshold": 0.01, "max_latency": 1, "request": ["a_b$"], "links": [],
            "agents": [agent | {"observations": 10, "outages": 0}],
        },
        "one",
    )  # fmt: skip
    assert png_bytes(network_with_chain(scenario, [0], [0])).startswith(b"\x89PNG")


def test_report_needs_nothing_else_and_runs_nothing(figures):
    page = report_html(demo_summary(), figures)
    page.encode("utf-8")
    parsed = Page(page)
    assert not {"script", "link", "iframe", "object"} & set(parsed.tags)
    sources = [value for _, name, value in parsed.attributes if name == "src"]
    assert len(sources) == 5 and all(source.startswith("data:image/png;base64,") for source in sources)
    assert base64.b64decode(sources[0].partition(",")[2]).startswith(b"\x89PNG")
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert all(alt for tag, name, alt in parsed.attributes if tag == "img" and name == "alt")


def test_report_says_what_came_out_and_where_from():
    text = Page(report_html(demo_summary(), {})).text
    assert '<script>alert("x")</script> & a café, 猫, 🐈' in text
    for words in (
        "no human annotators", "lameta demo --seed 7", "jax 0.10.2", "training 120", "cpu",
        "81 agents, 1,001 links, 699 chains",
        "Mean squared error of the large E-LAM: 0.0240 before IoKD, 0.0160 after it.",
        "gives users 95.0% of the best possible QoE", "greedy 81.0%",
        "50% capability, 20% information, 20% latency, 10% outage",
        "a55 (type-1) → a14 (type-2) → a22 (type-3)", "0.250 minutes", "the gap is 2.2%",
        "3.800 ±0.100",
    ):  # fmt: skip
        assert words in text, words
    assert "interrupted" not in text


def test_report_says_so_where_the_best_chain_was_found():
    summary = demo_summary()
    summary["example"]["optimum_chain"] = summary["example"]["chain"]
    assert "No other chain is better for this user." in report_html(summary, {})


@pytest.mark.parametrize("reached", range(4))
def test_interrupted_demo_shows_what_it_has_and_names_what_it_lacks(reached):
    full = demo_summary()
    parts = [(), ("elam", "preferences"), ("training",), ("composition", "example")][:reached]
    known = {"command", "seed", "applications", *(key for keys in parts for key in keys)}
    summary = {key: full[key] for key in known} | {"status": "interrupted"}
    summary["stages_done"] = full["stages_done"][:reached]

    text = Page(report_html(summary, {})).text
    assert "This run was interrupted. Not reached: " in text and "evaluating them" in text
    assert ("distilling the E-LAMs" in text) == (reached < 2)
    assert ("0.0160 ±0.0040" in text) == (reached >= 2)
    assert text_table(summary).splitlines()[-1].startswith("Interrupted; not reached: ")


def test_figures_are_drawn_as_far_as_the_demo_came(scenario):
    assert draw_figures({}, scenario) == {}
    reached = {"status": "interrupted", "applications": APPS, "training": demo_summary()["training"]}
    reached["training"]["curves"]["DRL-even"] = {"qoe": [0.5], "fraction": [0.1]}  # one evaluation behind
    figures = draw_figures(reached, scenario)
    assert list(figures) == ["training"]
    axes = figures["training"].axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()[:2]] == [[20, 90], [10]]

    del reached["training"]["curves"]["DRL-even"]["fraction"]  # QoE, where a share is not known for all
    axes = draw_figures(reached, scenario)["training"].axes[0]
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [[1, 3], [0.5]]
    assert "QoE" in axes.get_ylabel() and "%" not in axes.get_ylabel()


def keys_of(value, path=()):
    """Paths to every key of a nested mapping, rows of lists included, but what identifies a row."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inside in pairs:
        if isinstance(value, dict) and key != "method":
            yield (*path, key)
        yield from keys_of(inside, (*path, key))


KEYS = [path for path in keys_of(demo_summary()) if "qa" not in path[:-1]]  # both applications are alike


def without(paths, *, as_null):
    """The summary of an interrupted demo without some of its parts."""
    summary = demo_summary() | {"status": "interrupted"}
    for *folders, key in paths:
        inside = summary
        for folder in folders:
            if isinstance(inside, dict) and inside.get(folder) is None:
                break
            inside = inside[folder]
        else:
            if as_null:
                inside[key] = None
            else:
                inside.pop(key, None)
    return summary


@pytest.mark.parametrize("as_null", [False, True])
def test_no_single_missing_part_stops_the_report(as_null):
    for path in KEYS:
        summary = without([path], as_null=as_null)
        Page(report_html(summary, {}))
        assert text_table(summary)


@given(st.lists(st.sampled_from(KEYS), max_size=30), st.booleans())
def test_no_missing_parts_stop_the_report(paths, as_null):
    summary = without(paths, as_null=as_null)
    Page(report_html(summary, {}))
    assert text_table(summary)
