"""Network files: YAML, JSON, GraphML and GML in, YAML, JSON and GraphML out.

Every problem with a file is one `NetworkError` line. YAML is read by the core schema of YAML 1.2, without
tags that construct objects: `3e21` is a number, `yes` and `1:30` are text.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from lameta_jax.network.fields import plain, refuse, shown
from lameta_jax.network.graph_files import graphml_text, read_gml, read_graphml
from lameta_jax.network.network import NetworkError, Scenario
from lameta_jax.network.schema import parse_scenario, scenario_to_mapping

__all__ = ["load_scenario", "parse_scenario", "save_scenario"]

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
        ".json": _read_json,
        ".graphml": read_graphml,
        ".gml": read_gml,
    }
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        refuse(place, f"suffix = {shown(suffix)} must be one of {', '.join(readers)}")
    text = _read_text(Path(path), place)
    try:
        mapping = readers[suffix](text, place)
    except NetworkError:
        raise
    # Parsers fail in many ways on hostile input (recursion, overflow, bad tags): all mean "not readable".
    except Exception as error:
        refuse(place, f"not readable as {suffix[1:]}: {_one_line(error)}")
    return parse_scenario(mapping, str(path))


def save_scenario(scenario: Scenario, path: str | Path) -> None:
    """Write a network file that `load_scenario` turns into the same arrays; the suffix says the format."""
    writers = {".yaml": _yaml_text, ".yml": _yaml_text, ".json": _json_text, ".graphml": graphml_text}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        refuse(plain(str(path)), f"suffix = {shown(suffix)} must be one of {', '.join(writers)}")
    Path(path).write_text(writers[suffix](scenario_to_mapping(scenario)), encoding="utf-8")


def _read_text(path: Path, place: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        refuse(place, f"cannot be read: {getattr(error, 'strerror', None) or _one_line(error)}")
    if len(content) > MAX_BYTES:
        refuse(place, f"size must be <= {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = content[error.start]
        refuse(place, f"byte {error.start} = 0x{byte:02x} must be part of UTF-8 text")


def _one_line(error: Exception) -> str:
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


def _read_json(text: str, place: str) -> Any:
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


def _yaml_text(mapping: dict[str, Any]) -> str:
    return yaml.dump(
        mapping, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None
    )


def _json_text(mapping: dict[str, Any]) -> str:
    return json.dumps(mapping, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
