"""Network files: YAML, JSON (also node-link), GraphML and GML in, YAML, JSON and GraphML out.

Every problem with a file is one `NetworkError` line. YAML is read by the core schema of YAML 1.2, without
tags that construct objects: `3e21` is a number, `yes` and `1:30` are text.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lameta_jax.network.fields import plain, refuse, shown
from lameta_jax.network.graph_elements import is_node_link
from lameta_jax.network.graph_files import graphml_text, read_gml, read_graphml, read_node_link
from lameta_jax.network.network import NetworkError, Scenario
from lameta_jax.network.schema import parse_scenario, scenario_to_mapping

__all__ = ["load_scenario", "parse_scenario", "save_network", "save_scenario"]

if TYPE_CHECKING:
    from yaml import SafeDumper, SafeLoader
else:  # the same, written in C and ten times as fast, where PyYAML was built with it
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

MAX_BYTES = 32_000_000  # five times lameta-10k; YAML takes some 60 times its size in memory
MAX_DEPTH = 20  # a network file has 4 levels; the parser written in C would overflow its stack on 100,000
MAX_MERGED_KEYS = 1000  # far above any agent's keys, far below what nested merges can grow to


def load_scenario(path: str | Path) -> Scenario:
    """Read a network file; its suffix says the format (.yaml, .yml, .json, .graphml, .gml).

    Raises:
      NetworkError: one line that names the file, the place, the value and the rule.
    """
    place = plain(str(path))
    readers = {
        ".yaml": _read_yaml,
        ".yml": _read_yaml,
        ".json": _read_json_network,
        ".graphml": read_graphml,
        ".gml": read_gml,
    }
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        refuse(place, f"suffix = {shown(suffix)} must be one of {', '.join(readers)}")
    text = read_text(Path(path), place)
    try:
        mapping = readers[suffix](text, place)
    except NetworkError:
        raise
    # Parsers fail in many ways on hostile input (recursion, overflow, bad tags): all mean "not readable".
    except Exception as error:
        refuse(place, f"not readable as {suffix[1:]}: {one_line(error)}")
    return parse_scenario(mapping, str(path))


def save_scenario(scenario: Scenario, path: str | Path) -> None:
    """Write a network file that `load_scenario` turns into the same arrays; the suffix says the format."""
    save_network(scenario_to_mapping(scenario), path)


def save_network(mapping: dict[str, Any], path: str | Path) -> None:
    """Write the content of a network file as it is, for instance with compute budgets; the suffix says the format.

    Raises:
      NetworkError: no such format, or the file cannot be written.
    """
    writers = {".yaml": _yaml_text, ".yml": _yaml_text, ".json": _json_text, ".graphml": graphml_text}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        refuse(plain(str(path)), f"suffix = {shown(suffix)} must be one of {', '.join(writers)}")
    try:
        Path(path).write_text(writers[suffix](mapping), encoding="utf-8")
    except OSError as error:
        refuse(plain(str(path)), f"cannot be written: {error.strerror}")


def read_text(path: Path, place: str) -> str:
    """The text of a file of any format, refused in one line if it is too large or no text."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        refuse(place, f"cannot be read: {getattr(error, 'strerror', None) or one_line(error)}")
    if len(content) > MAX_BYTES:
        refuse(place, f"size must be <= {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        refuse(place, f"byte {error.start} = 0x{byte:02x} must be part of UTF-8 text")


def one_line(error: Exception) -> str:
    """What a parser says, as it can stand in a one-line message."""
    words = str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        mark = error.problem_mark
        words = f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
    words = " ".join(words.split()) or type(error).__name__
    return words if len(words) <= 300 else words[:297] + "..."


# The core schema of YAML 1.2 but for octal and hexadecimal numbers; digits after a leading zero stay text.
_CORE_SCHEMA = (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", "<<", ["<"]),
)


class _Loader(SafeLoader):
    """Safe loader with YAML 1.2 numbers, bounded merges, and no key given twice."""

    yaml_implicit_resolvers: dict = {}

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        _refuse_repeated_keys(node)
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MAX_MERGED_KEYS:
            raise yaml.constructor.ConstructorError(None, None, "too many merged keys", node.start_mark)


for _tag, _pattern, _starts in _CORE_SCHEMA:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts)


def _refuse_repeated_keys(root: yaml.Node | None) -> None:
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
            continue
        keys = set()
        for key, value in node.value:
            waiting += [key, value]
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                line = key.start_mark.line + 1
                raise yaml.YAMLError(f"line {line}: key {shown(key.value)} must be given once")
            keys.add(getattr(key, "value", None) if isinstance(key, yaml.ScalarNode) else None)


def _read_yaml(text: str, place: str) -> Any:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            refuse(place, f"line {event.start_mark.line + 1}: nesting must be at most {MAX_DEPTH} deep")
    return yaml.load(text, Loader=_Loader)  # a safe loader: see its base class


def _read_json_network(text: str, place: str) -> Any:
    content = read_json(text)
    return read_node_link(content, place) if is_node_link(content) else content


def read_json(text: str) -> Any:
    """JSON without keys given twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"key {shown(repeated)} must be given once")
        return mapping

    return json.loads(text, object_pairs_hook=once)


class _Dumper(SafeDumper):
    """Quotes whatever either YAML 1.1 or `_Loader` would not read as text."""


for _tag, _pattern, _starts in _CORE_SCHEMA:
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _starts)


class _Lines(list):
    """A list that is written with one entry per line."""


class _OneLine(dict):
    """A mapping that is written on one line."""


_Dumper.add_representer(
    _OneLine, lambda dumper, entry: dumper.represent_mapping("tag:yaml.org,2002:map", entry, flow_style=True)
)
_Dumper.add_representer(
    _Lines, lambda dumper, lines: dumper.represent_sequence("tag:yaml.org,2002:seq", lines, flow_style=False)
)


def _yaml_text(mapping: dict[str, Any]) -> str:
    if "made_by" in mapping:
        notes = _Lines(mapping["made_by"].get("notes", ()))
        mapping = mapping | {"made_by": mapping["made_by"] | {"notes": notes}}
    links = [_OneLine(link) for link in mapping["links"]]
    return yaml.dump(
        mapping | {"links": links},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=1000,
        default_flow_style=None,
    )


def _json_text(mapping: dict[str, Any]) -> str:
    return json.dumps(mapping, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
