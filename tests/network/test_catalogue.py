"""Agents from a catalogue of services."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lameta_jax.network.catalogue import ServiceConfig, read_catalogue
from lameta_jax.network.catalogue_network import catalogue_network, dropped_rows
from lameta_jax.network.files import load_scenario, parse_scenario
from lameta_jax.network.network import NetworkError
from lameta_jax.network.optimum import optimum

EXAMPLE = Path(__file__).parents[2] / "examples" / "real-llms.yaml"
HEADER = (
    "model,provider,parameters,training_tokens,training_flop,input_price_per_mtok,output_price_per_mtok,"
    "median_latency_s,tokens_per_s,source"
)
ROWS = [
    "small,A,1e9,2e12,,1,2,0.5,100,epoch; tokencost",
    "large,B,7e10,2e12,8.1e23,10,30,1,20,epoch; aider:x",
    "small,B,1e9,2e12,,0.5,0.5,0,50,",
    "vague,A,7e10,,,1,2,0.5,100,",
    "mute,A,,,1e22,1,2,,100,",
    "small,A,1e9,2e12,,1,2,0.5,100,",
    "slow,C,,,1e24,1,2,0.5,7,",
    "gift,C,,,1e24,1,,0.5,100,",
]


@pytest.fixture
def catalogue(tmp_path):
    def write(rows=ROWS, header=HEADER):
        (tmp_path / "models.csv").write_text("\n".join([header, *rows]) + "\n")
        return tmp_path / "models.csv"

    return write


def test_agents_by_hand(catalogue):
    found = read_catalogue(
        catalogue(), ServiceConfig(prompt_tokens=1000.0, answer_tokens=100.0, answer_cv=0.5)
    )
    assert [service.name for service in found.services] == ["small@A", "large@B", "small@B", "slow@C"]
    small, large, other, _ = (service.agent for service in found.services)
    # 6 * 1e9 * 2e12; 0.5 s + 100 / 100 s = 1.5 s; 0.5 * 1 / 1.5; (1000 * 1 + 100 * 2) / 1e6
    assert small == {
        "compute_budget": 1.2e22,
        "mean_service_time": 0.025,
        "service_cv": 0.333333,
        "observations": 1000,
        "outages": 10,
        "price": 0.0012,
    }
    # training_flop goes before 6 N D = 8.4e23; 1 s + 5 s; 0.5 * 5 / 6; (10000 + 3000) / 1e6
    expected = {"compute_budget": 8.1e23, "mean_service_time": 0.1, "service_cv": 0.416667, "price": 0.013}
    assert expected.items() <= large.items()
    assert other["service_cv"] == 0.5  # no latency: as the length of answers
    assert found.sources == ["epoch", "tokencost", "aider"] and found.priced


def test_dropped_rows_and_why(catalogue):
    # slow: 0.5 s + 200 / 7 s = 29.07 s, 2.06 per minute
    dropped = read_catalogue(catalogue(), ServiceConfig(arrival_rate=2.1)).dropped
    assert [(row.line, row.name) for row in dropped] == [
        (5, "vague@A"),
        (6, "mute@A"),
        (7, "small@A"),
        (8, "slow@C"),
        (9, "gift@C"),
    ]
    assert dropped_rows(dropped) == [
        "rows dropped because training_flop is missing, and parameters or training_tokens too: 1 (line 5)",
        "rows dropped because median_latency_s is missing: 1 (line 6)",
        "rows dropped because an earlier row has the same model and provider: 1 (line 7)",
        "rows dropped because service rate must be > arrival rate = 2.1 per minute: 1 (line 8)",
        "rows dropped because output_price_per_mtok is missing: 1 (line 9)",
    ]
    same = [row._replace(line=line, reason="so") for row, line in zip(dropped, (3, 4, 5, 9, 11), strict=True)]
    assert dropped_rows(same) == ["rows dropped because so: 5 (lines 3-5, 9, 11)"]


def test_a_catalogue_without_prices_and_providers(catalogue):
    path = catalogue(
        ["a,1e22,0.5,100", "b,1e22,0.5,100"], "model,training_flop,median_latency_s,tokens_per_s"
    )
    found = read_catalogue(path, ServiceConfig())
    assert [service.name for service in found.services] == ["a", "b"] and not found.priced
    mapping, _ = catalogue_network(path, ["x", "y"])
    assert all("price" not in agent for agent in mapping["agents"])
    assert not any(note.startswith(("price", "sources")) for note in mapping["made_by"]["notes"])


def test_the_network(catalogue):
    config = ServiceConfig(ber=0.02, arrival_rate=1.5, outages=3)
    mapping, dropped = catalogue_network(catalogue(), ["x", "y"], config, seed=4)
    assert (mapping["request"], mapping["arrival_rate"], len(dropped)) == (["x", "y"], 1.5, 4)
    types = {agent["id"]: agent["type"] for agent in mapping["agents"]}
    assert sorted(types.values()) == ["x", "x", "y", "y"]
    # every pair of an x and a y
    pairs = {tuple(link["between"]) for link in mapping["links"]}
    assert pairs == {(a, b) for a in types for b in types if types[a] == "x" and types[b] == "y"}
    assert {link["ber"] for link in mapping["links"]} == {0.02}
    assert {agent["outages"] for agent in mapping["agents"]} == {3}
    made_by = mapping["made_by"]
    assert (made_by["rule"], made_by["seed"], made_by["source"]) == ("catalogue", 4, "models.csv")
    assert [note for note in made_by["notes"] if note.startswith("rows dropped")] == dropped_rows(dropped)
    assert "sources of the rows: epoch, tokencost, aider" in made_by["notes"]
    assert parse_scenario(mapping, "net").made_by.seed == 4


def test_types_are_dealt_by_the_seed(catalogue):
    deals = [catalogue_network(catalogue(), ["x", "y"], seed=seed)[0]["agents"] for seed in range(6)]
    assert deals[0] == catalogue_network(catalogue(), ["x", "y"], seed=0)[0]["agents"]
    assert any(deal != deals[0] for deal in deals)


def test_types_of_the_catalogue(catalogue):
    rows = [f"{row},{kind}" for row, kind in zip(ROWS[:3], ["y", "x", "z"], strict=True)]
    mapping, dropped = catalogue_network(catalogue([*rows, f"{ROWS[6]},"], HEADER + ",type"), ["x", "y"])
    assert {agent["id"]: agent["type"] for agent in mapping["agents"]} == {"large@B": "x", "small@A": "y"}
    assert [(row.line, row.reason) for row in dropped] == [
        (4, "type = 'z' is not asked for"),
        (5, "type is missing"),
    ]
    assert "types: as the rows say" in mapping["made_by"]["notes"]


@pytest.mark.parametrize(
    ("rows", "header", "expected"),
    [
        (ROWS, "", "line 1: the columns [] must name model"),
        (
            ROWS,
            "model,tokens_per_s",
            "line 1: the columns ['model', 'tokens_per_s'] must name median_latency_s",
        ),
        (ROWS, HEADER + ",source", "line 1: column 'source' must be named once"),
        (ROWS[:1], HEADER + ",,", "line 2: number of cells = 10 must be 12"),
        (
            [ROWS[0]],
            HEADER.replace("output_", "out_"),
            "rows dropped because output_price_per_mtok is missing: 1",
        ),
        (["a,b"], HEADER, "line 2: number of cells = 2 must be 10"),
        (
            [ROWS[0], ROWS[1].replace(",20,", ",fast,")],
            HEADER,
            "line 3: tokens_per_s = 'fast' must be a number, > 0",
        ),
        ([ROWS[0].replace(",100,", ",0,")], HEADER, "line 2: tokens_per_s = 0.0 must be > 0"),
        ([ROWS[0].replace("0.5", "-1")], HEADER, "line 2: median_latency_s = -1.0 must be >= 0"),
        ([ROWS[0].replace("1e9", "nan")], HEADER, "line 2: parameters = nan must be finite"),
        ([ROWS[0].replace("small", "")], HEADER, "line 2: model = '' must not be empty"),
        ([ROWS[0], 'a"b"c,"d'], HEADER, "line 3: not readable as csv: "),
        ([], HEADER, "type 'x' must have a service, but none is left: there are no more rows"),
        (ROWS[:1], HEADER, "type 'y' must have a service, but none is left: there are no more rows"),
        (ROWS[3:5], HEADER, "none is left: rows dropped because training_flop is missing, and"),
    ],
)
def test_refusals_are_one_line(catalogue, rows, header, expected):
    path = catalogue(rows, header)
    with pytest.raises(NetworkError) as caught:
        catalogue_network(path, ["x", "y"])
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and expected in message
    assert message.isprintable()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"answer_tokens": 0.0}, "options: answer_tokens = 0.0 must be > 0"),
        ({"prompt_tokens": -1.0}, "options: prompt_tokens = -1.0 must be >= 0"),
        ({"answer_cv": float("nan")}, "options: answer_cv = nan must be finite"),
        ({"arrival_rate": -1.0}, "arrival_rate = -1.0 must be > 0"),
        ({"ber": 1.5}, "ber = 1.5 must be in [0, 1]"),
        ({"outages": 1001}, "outages = 1001 must be <= observations = 1000"),
        ({"max_latency": 0.0}, "max_latency = 0.0 must be > 0"),
    ],
)
def test_options_that_make_no_sense(catalogue, options, expected):
    with pytest.raises(NetworkError) as caught:
        catalogue_network(catalogue(), ["x", "y"], ServiceConfig(**options))
    assert expected in str(caught.value)


def test_types_that_make_no_sense(catalogue):
    for types in ([], ["x", "x"]):
        with pytest.raises(NetworkError, match="must be different from each other, at least one"):
            catalogue_network(catalogue(), types)


def test_the_example_of_real_services():
    scenario = load_scenario(EXAMPLE)
    assert 12 <= len(scenario.agent_ids) <= 20 and scenario.made_by.rule == "catalogue"
    assert float(scenario.network.price.min()) > 0
    quality, haste = jnp.array([0.7, 0.1, 0.1, 0.1]), jnp.array([0.1, 0.1, 0.7, 0.1])
    best = optimum(scenario.network, scenario.request, jnp.stack([quality, haste]))
    assert best.feasible > 0 and not jnp.array_equal(best.agents[0], best.agents[1])


def test_the_example_is_what_the_catalogue_gives(data_dir):
    path = data_dir / "llm_catalogue" / "models.csv"
    if not path.exists():
        pytest.skip("no catalogue in the data folder")
    mapping, dropped = catalogue_network(path, ["planner", "writer", "reviewer"])
    assert len(mapping["agents"]) + len(dropped) == 121
    made, shipped = parse_scenario(mapping, "made"), load_scenario(EXAMPLE)
    assert (made.agent_ids, made.made_by) == (shipped.agent_ids, shipped.made_by)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, made.network, shipped.network))
