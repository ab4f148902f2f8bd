"""Every refusal of a network file: one line that names the place, the field, the value and the rule."""

import json
import re

import pytest
from reference.network_cases import DELETE, WRITERS, changed, small_network

from lameta_jax.network.files import load_scenario, parse_scenario
from lameta_jax.network.network import NetworkError

BASE = small_network()
AGENT = "agent w1: "
MADE_BY = {"rule": "by hand", "seed": 0, "source": "a map"}

# name: path to the change and the new value, and what the message says after the file's name
ONE_CHANGE = {
    "unknown top-level key": (("colour", "red"), "unknown key 'colour': must be one of arrival_rate,"),
    "unknown agent key": (("agents", 1, "gpu", 1), AGENT + "unknown key 'gpu': must be one of id, type,"),
    "unknown link key": (("links", 0, "loss", 0.1), "unknown key 'loss': must be one of between, ber"),
    "unknown elam key": (("elams", 0, "cost", 1), "elams[0]: unknown key 'cost': must be one of name, fee"),
    "missing arrival rate": (("arrival_rate", DELETE), "arrival_rate is missing"),
    "missing threshold": (("capability_threshold", DELETE), "capability_threshold is missing"),
    "missing max latency": (("max_latency", DELETE), "max_latency is missing"),
    "missing request": (("request", DELETE), "request is missing"),
    "missing id": (("agents", 1, "id", DELETE), "agents[1]: id is missing"),
    "missing type": (("agents", 1, "type", DELETE), AGENT + "type is missing"),
    "missing observations": (("agents", 1, "observations", DELETE), AGENT + "observations is missing"),
    "missing outages": (("agents", 1, "outages", DELETE), AGENT + "outages is missing"),
    "missing ber": (("links", 0, "ber", DELETE), "ber is missing"),
    "duplicate id": (("agents", 2, "id", "w1"), "id = 'w1' must be unique, an earlier agent has it"),
    "empty id": (("agents", 1, "id", ""), "id = '' must be printable text"),
    "no capability": (
        ("agents", 1, "capability", DELETE),
        AGENT + "neither is given: must be exactly one of compute_budget, capability",
    ),
    "two capabilities": (
        ("agents", 1, "compute_budget", 1e21),
        AGENT + "both are given: must be exactly one of compute_budget, capability",
    ),
    "no rate": (
        ("agents", 1, "service_rate", DELETE),
        AGENT + "neither is given: must be exactly one of service_rate",
    ),
    "two rates": (
        ("agents", 1, "mean_service_time", 0.1),
        AGENT + "both are given: must be exactly one of service_rate",
    ),
    "no spread": (
        ("agents", 1, "service_cv", DELETE),
        AGENT + "neither is given: must be exactly one of service_cv",
    ),
    "two spreads": (
        ("agents", 1, "service_std", 0.1),
        AGENT + "both are given: must be exactly one of service_cv",
    ),
    "nan": (("agents", 1, "service_cv", float("nan")), AGENT + "service_cv = nan must be finite, >= 0"),
    "infinity": (("max_latency", float("inf")), "max_latency = inf must be finite, > 0 (minutes)"),
    "true for a number": (
        ("agents", 1, "service_cv", True),
        AGENT + "service_cv = True must be a number, >= 0",
    ),
    "text for a number": (
        ("arrival_rate", "fast"),
        "arrival_rate = 'fast' must be a number, > 0 (per minute)",
    ),
    "digits as text": (("arrival_rate", "4"), "arrival_rate = '4' must be a number, > 0 (per minute)"),
    "negative rate": (
        ("agents", 1, "service_rate", -3),
        AGENT + "service_rate = -3 must be > 0 (per minute)",
    ),
    "zero rate": (("agents", 1, "service_rate", 0), AGENT + "service_rate = 0 must be > 0 (per minute)"),
    "negative load": (("arrival_rate", -1.5), "arrival_rate = -1.5 must be > 0 (per minute)"),
    "zero threshold": (("capability_threshold", 0), "capability_threshold = 0 must be > 0"),
    "zero latency": (("max_latency", 0.0), "max_latency = 0.0 must be > 0 (minutes)"),
    "negative spread": (("agents", 1, "service_cv", -0.1), AGENT + "service_cv = -0.1 must be >= 0"),
    "too small for float32": (
        ("capability_threshold", 1e-50),
        "capability_threshold = 1e-50 must be > 0 within single precision",
    ),
    "too large for float32": (
        ("max_latency", 1e39),
        "max_latency = 1e+39 must be > 0 (minutes) within single precision",
    ),
    "ber above one": (("links", 0, "ber", 1.01), "link r1 - w1: ber = 1.01 must be in [0, 1]"),
    "ber below zero": (("links", 0, "ber", -1e-9), "link r1 - w1: ber = -1e-09 must be in [0, 1]"),
    "more outages than observations": (
        ("agents", 1, "outages", 101),
        AGENT + "outages = 101 must be <= observations = 100",
    ),
    "negative outages": (("agents", 1, "outages", -1), AGENT + "outages = -1 must be a whole number >= 0"),
    "no observations": (
        ("agents", 1, "observations", 0),
        AGENT + "observations = 0 must be a whole number >= 1",
    ),
    "half an observation": (
        ("agents", 1, "observations", 9.5),
        AGENT + "observations = 9.5 must be a whole number >= 1",
    ),
    "half an outage": (("agents", 1, "outages", 0.5), AGENT + "outages = 0.5 must be a whole number >= 0"),
    "capability zero": (("agents", 1, "capability", 0), AGENT + "capability = 0 must be in (0, 1]"),
    "capability above one": (("agents", 1, "capability", 1.5), AGENT + "capability = 1.5 must be in (0, 1]"),
    "link to nobody": (
        ("links", 0, "between", ["r1", "ghost"]),
        "link r1 - ghost: between = 'ghost' must be the id of an agent",
    ),
    "self-link": (
        ("links", 0, "between", ["w1", "w1"]),
        "link w1 - w1: between = ['w1', 'w1'] must be two different agents",
    ),
    "duplicate link": (
        ("links", 1, "between", ["w1", "r1"]),
        "link w1 - r1: between = ['w1', 'r1'] must be unique",
    ),
    "request of no agent's type": (
        ("request", ["reader", "poet"]),
        "request: type = 'poet' must be the type of an agent",
    ),
    "negative fee": (("elams", 0, "fee", -0.1), "elam small: fee = -0.1 must be >= 0"),
    "duplicate elam": (("elams", 1, "name", "small"), "elams[1]: name = 'small' must be unique"),
    "no elams": (("elams", []), "elams = [] must not be empty"),
    "unstable": (
        ("agents", 1, "service_rate", 3.5),
        AGENT + "unstable, rho >= 1: service_rate mu = 3.5 must be > arrival_rate lambda = 4.0 (per minute",
    ),
    "as fast as its load": (
        ("agents", 1, "service_rate", 4),
        AGENT + "unstable, rho >= 1: service_rate mu = 4.0",
    ),
    "no chain by type": (
        ("request", ["writer", "other"]),
        "request = writer -> other must be served by a chain of linked, distinct agents",
    ),
    "no chain without returning": (
        ("request", ["writer", "writer", "writer"]),
        "request = writer -> writer -> writer",
    ),
    "more of a type than there are": (
        ("request", ["reader", "reader"]),
        "request = reader -> reader must be served",
    ),
    "newline in an id": (("agents", 1, "id", "a\nb"), r"agent 'a\nb': id = 'a\nb' must be printable text"),
    "newline in a key": (("agents", 1, "a\nb", 1), AGENT + r"unknown key 'a\nb'"),
    "endless value": (("arrival_rate", "x" * 10_000), "arrival_rate = 'xxxxxxx"),
    "capability lost to underflow": (
        ("agents", 1, {"compute_budget": 1e4}),
        AGENT + "compute_budget = 10000.0 must be large enough for a capability >= 1.2e-38",
    ),
    "negative price": (
        ("agents", 1, "price", -0.01),
        AGENT + "price = -0.01 must be >= 0 (US$ per request)",
    ),
    "price in words": (("agents", 1, "price", "free"), AGENT + "price = 'free' must be a number, >= 0"),
    "made by an unknown key": (
        ("made_by", MADE_BY | {"when": 1}),
        "made_by: unknown key 'when': must be one of rule, seed, source, notes",
    ),
    "made by no rule": (("made_by", {"seed": 0, "source": "a"}), "made_by: rule is missing"),
    "made from an empty source": (
        ("made_by", MADE_BY | {"source": ""}),
        "made_by: source = '' must be printable",
    ),
    "made by half a seed": (
        ("made_by", MADE_BY | {"seed": 0.5}),
        "made_by: seed = 0.5 must be a whole number >= 0",
    ),
    "made by a negative seed": (
        ("made_by", MADE_BY | {"seed": -1}),
        "made_by: seed = -1 must be a whole number",
    ),
    "made by the seed true": (
        ("made_by", MADE_BY | {"seed": True}),
        "made_by: seed = True must be a whole number",
    ),
    "notes are no list": (("made_by", MADE_BY | {"notes": "a"}), "made_by: notes = 'a' must be a list"),
    "a note of two lines": (
        ("made_by", MADE_BY | {"notes": ["a", "b\nc"]}),
        "made_by: note 2 = 'b\\nc' must be",
    ),
    "zero compute budget": (
        ("agents", 1, {"compute_budget": 0}),
        AGENT + "compute_budget = 0 must be > 0 (training FLOP)",
    ),
    "negative service time": (
        ("agents", 1, {"mean_service_time": -0.1}),
        AGENT + "mean_service_time = -0.1 must be > 0 (minutes)",
    ),
    "too slow by service time": (
        ("agents", 1, {"mean_service_time": 0.5}),
        AGENT + "unstable, rho >= 1: service_rate mu = 2.0",
    ),
    "negative deviation": (
        ("agents", 1, {"service_std": -1}),
        AGENT + "service_std = -1 must be >= 0 (minutes)",
    ),
    "spread out of range": (
        ("agents", 1, {"service_std": 3e38}),
        AGENT + "service_cv (service_std times service_rate) = 6e+39 must be >= 0 within single precision",
    ),
}
INSTEAD_OF = {
    "compute_budget": "capability",
    "mean_service_time": "service_rate",
    "service_std": "service_cv",
}

# What GraphML cannot say: values of another kind where it has structure.
ONLY_MAPPINGS = {
    "agents are no list": (("agents", 3), "agents = 3 must be a list"),
    "no agents": (("agents", []), "agents = [] must not be empty"),
    "missing agents": (("agents", DELETE), "agents is missing"),
    "missing links": (("links", DELETE), "links is missing"),
    "links are no list": (("links", {}), "links = {} must be a list"),
    "an agent is no mapping": (
        ("agents", 1, "w1"),
        "agents[1]: 'w1' must be a mapping with the keys id, type",
    ),
    "a link is no mapping": (("links", 0, ["r1", "w1"]), "links[0]: ['r1', 'w1'] must be a mapping"),
    "between is missing": (("links", 0, "between", DELETE), "links[0]: between is missing"),
    "between one agent": (
        ("links", 0, "between", ["r1"]),
        "links[0]: between = ['r1'] must be a list of two agent ids",
    ),
    "between no names": (("links", 0, "between", ["r1", None]), "links[0]: between = None must be text"),
    "empty request": (("request", []), "request = [] must not be empty"),
    "request is text": (("request", "reader"), "request = 'reader' must be a list"),
    "request of numbers": (("request", [1.5]), "request: type 1 = 1.5 must be text"),
    "id is no text": (("agents", 1, "id", 1.5), "agents[1]: id = 1.5 must be text"),
    "id is true": (("agents", 1, "id", True), "agents[1]: id = True must be text"),
    "null for a number": (("agents", 1, "outages", None), AGENT + "outages = None must be a number"),
    "list for a number": (("arrival_rate", [4]), "arrival_rate = [4] must be a number"),
    "name is no text": (("name", ["a"]), "name = ['a'] must be text"),
    "made by is no mapping": (
        ("made_by", "hand"),
        "made_by: 'hand' must be a mapping with the keys rule, seed",
    ),
    "made by null": (("made_by", None), "made_by: None must be a mapping with the keys rule, seed, source"),
    "elams are no list": (("elams", "small"), "elams = 'small' must be a list"),
    "an integer beyond all floats": (("arrival_rate", 10**400), "must be finite, > 0 (per minute)"),
}


def spoiled(change):
    *path, value = change
    if isinstance(value, dict) and INSTEAD_OF.keys() & value.keys():
        (field,) = value
        return changed(changed(BASE, *path, INSTEAD_OF[field], DELETE), *path, field, value[field])
    return changed(BASE, *path, value)


def message_of(path):
    with pytest.raises(NetworkError) as caught:
        load_scenario(path)
    message = str(caught.value)
    assert len(message.splitlines()) == 1 and message.isprintable()
    assert len(message) < 700
    return message


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("name", ONE_CHANGE)
def test_one_change_in_every_format(name, suffix, tmp_path, monkeypatch):
    change, expected = ONE_CHANGE[name]
    content = spoiled(change)
    monkeypatch.chdir(tmp_path)
    text = WRITERS[suffix](content)
    if suffix == ".yaml":  # JSON's spelling of these two is text in YAML
        text = re.sub(r"\bNaN\b", ".nan", re.sub(r"\bInfinity\b", ".inf", text))
    (tmp_path / f"net{suffix}").write_text(text)
    message = message_of(f"net{suffix}")
    assert message.startswith(f"net{suffix}: ")
    assert expected in message


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
@pytest.mark.parametrize("name", ONLY_MAPPINGS)
def test_wrong_kinds_in_mappings(name, suffix, tmp_path):
    change, expected = ONLY_MAPPINGS[name]
    (tmp_path / f"net{suffix}").write_text(json.dumps(spoiled(change)))
    assert expected in message_of(tmp_path / f"net{suffix}")


@pytest.mark.parametrize("content", [None, 3, "text", [], {}])
def test_content_that_is_no_network(content):
    with pytest.raises(NetworkError, match="net: "):
        parse_scenario(content, "net")


BILLION_LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MANY_MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MANY_ENTITIES = (
    '<!DOCTYPE l [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {name} "{f"&{before};" * 10}">'
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><graphml>&i;</graphml>"
)
NODES = '<graphml><graph edgedefault="undirected">{}</graph></graphml>'
UNREADABLE = {
    "yaml, empty": (".yaml", "", "None must be a mapping"),
    "yaml, syntax": (".yaml", "a: [1, 2", "not readable as yaml: line 2, column 1: did not find expected"),
    "yaml, tab": (".yaml", "a:\n\t- 1", "not readable as yaml: line 2, column 1: found character"),
    "yaml, key twice": (".yaml", "name: a\nname: b", "line 2: key 'name' must be given once"),
    "yaml, two documents": (".yaml", "a: 1\n---\nb: 2", "not readable as yaml: line 2"),
    "yaml, python object": (
        ".yaml",
        "!!python/object/apply:os.getcwd []",
        "could not determine a constructor",
    ),
    "yaml, bad date": (".yaml", "a: !!timestamp soon", "not readable as yaml: "),
    "yaml, list as key": (".yaml", "? [a]\n: 1", "found unhashable key"),
    "yaml, nested brackets": (".yaml", "[" * 100_000, "line 1: nesting must be at most 20 deep"),
    "yaml, nested braces": (".yaml", "{a: " * 50_000, "line 1: nesting must be at most 20 deep"),
    "yaml, billion laughs": (".yaml", BILLION_LAUGHS, "unknown key 'a'"),
    "yaml, billion laughs in a field": (
        ".yaml",
        BILLION_LAUGHS.replace("i: &i", "request: &i"),
        "unknown key 'a'",
    ),
    "yaml, merges": (".yaml", MANY_MERGES, "too many merged keys"),
    "yaml, contains itself": (".yaml", "&a {request: *a}", "arrival_rate is missing"),
    "yaml, digits without end": (".yaml", "name: " + "9" * 5000, "not readable as yaml: Exceeds the limit"),
    "yaml, control character": (".yaml", "a\0b: 1", "not readable as yaml: unacceptable character"),
    "json, empty": (".json", "", "not readable as json: Expecting value: line 1 column 1"),
    "json, syntax": (".json", "{", "not readable as json: "),
    "json, key twice": (".json", '{"name": 1, "name": 2}', "key 'name' must be given once"),
    "json, nested": (".json", "[" * 200_000, "not readable as json: maximum recursion depth"),
    "json, list": (".json", "[]", "[] must be a mapping with the keys"),
    "graphml, syntax": (".graphml", "<a>", "not readable as graphml: no element found"),
    "graphml, another root": (".graphml", "<svg/>", "root element = 'svg' must be 'graphml'"),
    "graphml, no graph": (".graphml", "<graphml/>", "number of graphs = 0 must be 1"),
    "graphml, directed": (
        ".graphml",
        '<graphml><graph edgedefault="directed"/></graphml>',
        "edgedefault = 'directed'",
    ),
    "graphml, undeclared key": (
        ".graphml",
        NODES.format('<data key="k">1</data>'),
        "data key 'k' must be declared",
    ),
    "graphml, hyperedge": (".graphml", NODES.format("<hyperedge/>"), "element 'hyperedge' must be one of"),
    "graphml, no agents": (".graphml", NODES.format(""), "arrival_rate is missing"),
    "graphml, entities": (".graphml", MANY_ENTITIES, "not readable as graphml: limit on input amplification"),
    "graphml, file entity": (
        ".graphml",
        '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/hostname">]><graphml>&a;</graphml>',
        "not readable as graphml: undefined entity",
    ),
    "gml, syntax": (".gml", "graph [", "not readable as gml: "),
    "gml, id twice": (".gml", "graph [ node [ id 0 ] node [ id 0 ] ]", "node id 0 is duplicated"),
    "gml, edge to nobody": (
        ".gml",
        "graph [ node [ id 0 ] edge [ source 0 target 3 ] ]",
        "undefined target 3",
    ),
    "gml, directed": (".gml", "graph [ directed 1 node [ id 0 ] ]", "edgedefault = 'directed'"),
    "another suffix": (".txt", "", "suffix = '.txt' must be one of .yaml, .yml, .json, .graphml, .gml"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_content(name, tmp_path):
    suffix, text, expected = UNREADABLE[name]
    (tmp_path / f"net{suffix}").write_text(text)
    assert expected in message_of(tmp_path / f"net{suffix}")


def test_graphml_structure_and_attributes_must_not_contradict(tmp_path):
    key = '<key id="k" for="{}" attr.name="{}" attr.type="string"/>'
    text = WRITERS[".graphml"](BASE)
    twice = text.replace("<graphml>", "<graphml>" + key.format("node", "id"))
    twice = twice.replace('<node id="w1">', '<node id="w1"><data key="k">w2</data>')
    (tmp_path / "net.graphml").write_text(twice)
    assert "agent w1: unknown key 'id': the graph itself says it" in message_of(tmp_path / "net.graphml")
    (tmp_path / "net.graphml").write_text(
        text.replace('<edge source="r1"', '<edge directed="true" source="r1"', 1)
    )
    assert "link r1 - w1: directed = 'true' must be 'false'" in message_of(tmp_path / "net.graphml")
    (tmp_path / "net.graphml").write_text(text.replace("[{", "[", 1))
    assert "must be JSON" in message_of(tmp_path / "net.graphml")


@pytest.mark.parametrize("suffix", [".yaml", ".json", ".graphml", ".gml"])
def test_bytes_that_are_not_utf_8(suffix, tmp_path):
    (tmp_path / f"net{suffix}").write_bytes(b"name: \xff\xfe")
    assert "byte 6 = 0xff must be part of UTF-8 text" in message_of(tmp_path / f"net{suffix}")


def test_files_that_cannot_be_read(tmp_path):
    assert "cannot be read: No such file" in message_of(tmp_path / "absent.yaml")
    (tmp_path / "folder.yaml").mkdir()
    assert "cannot be read: Is a directory" in message_of(tmp_path / "folder.yaml")
    assert "cannot be read: embedded null byte" in message_of("a\0b.yaml")
    assert message_of("a\nb.yaml").startswith(r"'a\nb.yaml': cannot be read")


def test_files_that_are_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr("lameta_jax.network.files.MAX_BYTES", 100)
    (tmp_path / "net.json").write_text(json.dumps(BASE))
    assert "size must be <= 100 bytes" in message_of(tmp_path / "net.json")


def test_the_load_that_single_precision_cannot_tell_from_the_rate():
    with pytest.raises(NetworkError, match="mu = 4.00000000001 must be > .* in float32"):
        parse_scenario(changed(BASE, "agents", 1, "service_rate", 4.00000000001), "net")
