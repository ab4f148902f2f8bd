"""`lameta network …`: look at a network, or make one from a real topology or from a catalogue of services."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

from lameta_jax.cli.common import (
    BadInputError,
    is_same_file,
    read_network,
    refusing,
    say,
    shown_chain,
    write_json,
    write_table,
)
from lameta_jax.network.catalogue import DroppedRow, ServiceConfig
from lameta_jax.network.catalogue_network import catalogue_network, dropped_rows
from lameta_jax.network.fields import plain
from lameta_jax.network.files import parse_scenario, save_network
from lameta_jax.network.network import NetworkError
from lameta_jax.network.overview import network_overview
from lameta_jax.network.topology_zoo import topology_network

MAX_DIGITS = 5  # more types than any network has agents
FIGURES = (".png", ".svg", ".pdf")
UNITS = {
    "service_rate": " per minute",
    "latency": " min, of an agent alone",
    "price": " US$ per request",
}

InFile = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
OutFile = Annotated[str, tyro.conf.arg(metavar="FILE")]


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Print the statistics of a network, and draw it."""

    network: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NETWORK")]
    """network file (.yaml, .json, .graphml, .gml), or lameta-81, lameta-1k, lameta-10k"""
    out: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """where to draw it (.png, .svg, .pdf); replaced if it exists"""
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


@dataclass(frozen=True, kw_only=True)
class FromGraphmlConfig:
    """Make a network file from a graph of any origin, such as the Internet Topology Zoo: its nodes become agents."""

    file: InFile  # the graph: GraphML, GML, or node-link JSON (.graphml, .gml, .json)
    out: OutFile  # network file to write (.yaml, .json, .graphml); replaced if it exists
    types: Annotated[str, tyro.conf.arg(metavar="N|T1,T2,...")] = "3"
    """the agents' types: how many, or their names"""
    request: Annotated[str | None, tyro.conf.arg(metavar="T1,T2,...")] = None
    """types of a chain, in order; all types if not given"""
    seed: int = 0  # of all that the graph does not say and the rule draws
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


@dataclass(frozen=True, kw_only=True)
class FromCatalogueConfig(ServiceConfig):
    """Make a network file from a CSV of language model services: rows with size and speed become agents."""

    file: InFile
    """the catalogue; columns: model, provider, training_flop or parameters and training_tokens, median_latency_s,
    tokens_per_s, input_price_per_mtok, output_price_per_mtok, and optionally type"""
    types: Annotated[str, tyro.conf.arg(metavar="T1,T2,...")]
    """types of a chain, in order; dealt to the services if the catalogue has no column for them"""
    out: OutFile  # network file to write (.yaml, .json, .graphml); replaced if it exists
    seed: int = 0  # of the order in which types are dealt
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


NetworkConfig = (
    Annotated[ShowConfig, tyro.conf.subcommand("show")]
    | Annotated[FromGraphmlConfig, tyro.conf.subcommand("from-graphml")]
    | Annotated[FromCatalogueConfig, tyro.conf.subcommand("from-catalogue")]
)


def network(config: ShowConfig | FromGraphmlConfig | FromCatalogueConfig) -> None:
    """Run one of the commands."""
    with jax.enable_x64(True):
        if isinstance(config, ShowConfig):
            result = _show(config)
        else:
            with refusing(NetworkError):
                result = _make(config)
    if config.json:
        write_json(result)
    else:
        write_table(overview_rows(result))


def overview_rows(overview: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`network_overview` for people."""
    kinds = ", ".join(f"{count} {name}" for name, count in overview["types"].items())
    shape = f"{overview['parts']}" + (
        f", the largest of {overview['largest_part']}" * (overview["parts"] > 1)
    )
    if overview["diameter"] is not None:
        shape += f"; diameter {overview['diameter']} hops"
    chains = f"at most {overview['chains_at_most']:.3g}"
    if overview["chains"] is not None:
        chains = f"{overview['chains']}, {overview['feasible_chains']} of them feasible"
    rows = [
        ("network", overview["name"]),
        ("agents", f"{overview['agents']}: {kinds}"),
        ("links", f"{overview['links']}, {overview['mean_degree']:.3g} per agent"),
        ("connected parts", shape),
        ("request", shown_chain(overview["request"])),
        ("arrival rate", f"{overview['arrival_rate']:g} per minute"),
        (
            "needed",
            f"capability >= {overview['capability_threshold']:g}, latency <= {overview['max_latency']:g} min",
        ),
        ("chains", chains),
    ]
    for name, ends in overview["ranges"].items():
        if ends is not None:
            label = name.replace("_", " ").replace("ber", "bit error rate")
            rows.append((label, f"{ends[0]:.4g} to {ends[1]:.4g}{UNITS.get(name, '')}"))
    if made_by := overview["made_by"]:
        rows.append(("made by", f"rule {made_by['rule']}, seed {made_by['seed']}, from {made_by['source']}"))
        rows += [("", note) for note in made_by["notes"]]
    return rows


def _show(config: ShowConfig) -> dict[str, Any]:
    out = config.out
    if out is not None and Path(out).suffix.lower() not in FIGURES:
        raise BadInputError(f"--out: suffix of {out!r} must be one of {', '.join(FIGURES)}")
    scenario = read_network(config.network)
    if out is not None:
        from lameta_jax.cli.network_figure import network_alone, save_figure

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")  # boxes stand for those
            save_figure(network_alone(scenario), out, "--out")
    return network_overview(scenario)


def _make(config: FromGraphmlConfig | FromCatalogueConfig) -> dict[str, Any]:
    """Write the network file; its overview, and for a catalogue the rows that were dropped."""
    if config.seed < 0:
        raise BadInputError(f"--seed: {config.seed} must be >= 0")
    if is_same_file(config.file, config.out):
        raise BadInputError(f"--out: {config.out} must not be the file that is read")
    dropped: list[DroppedRow] = []
    if isinstance(config, FromGraphmlConfig):
        request = None if config.request is None else _names(config.request, "--request")
        mapping = topology_network(config.file, _types(config.types), request, seed=config.seed)
    else:
        services = ServiceConfig(
            **{field.name: getattr(config, field.name) for field in fields(ServiceConfig)}
        )
        types = _names(config.types, "--types")
        mapping, dropped = catalogue_network(config.file, types, services, seed=config.seed)
    mapping |= {"name": plain(Path(config.out).stem)}
    save_network(mapping, config.out)
    for line in dropped_rows(dropped):
        say(f"{config.file}: {line}")
    result = network_overview(parse_scenario(mapping, config.out)) | {"out": config.out}
    if isinstance(config, FromCatalogueConfig):
        result["dropped"] = [row._asdict() for row in dropped]
    return result


def _types(text: str) -> Sequence[str]:
    """The names of types, or so many made-up ones."""
    if text.strip().isdecimal():
        if len(text) > MAX_DIGITS:
            raise BadInputError(f"--types: {text[:20]} must have at most {MAX_DIGITS} digits")
        return [f"type-{number}" for number in range(1, int(text) + 1)]
    return _names(text, "--types")


def _names(text: str, option: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    if "" in names:
        raise BadInputError(f"{option}: {text!r} must be names separated by commas")
    return names
