"""An agentic network of the services of a catalogue: who does what, and who is linked to whom."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lameta_jax.network.catalogue import Catalogue, DroppedRow, Service, ServiceConfig, read_catalogue
from lameta_jax.network.fields import plain, refuse, shown
from lameta_jax.network.schema import parse_scenario

RULE = "catalogue"


class CatalogueNetwork(NamedTuple):
    """A network of services, and the rows that are not in it."""

    mapping: dict[str, Any]  # the content of a network file
    dropped: list[DroppedRow]


def catalogue_network(
    path: str | Path, types: Sequence[str], config: ServiceConfig | None = None, *, seed: int = 0
) -> CatalogueNetwork:
    """The services of a CSV (`read_catalogue`) as a network whose request is `types`, in order.

    A service has the type that its row says; where the catalogue has no column `type`, the types are dealt in
    turn to the services in a random order from the seed. Every service is linked to all of the types before and
    after its own, with the same bit error rate.

    Raises:
      NetworkError: one line that names the file, the line, the column, the value and the rule.
    """
    place, config = plain(str(path)), config or ServiceConfig()
    if not types or len(set(types)) < len(types):
        refuse(place, f"types = {shown(list(types))} must be different from each other, at least one")
    catalogue = read_catalogue(path, config)
    services, dropped = _with_types(catalogue, types, seed)
    for name in types:
        if not services[name]:
            reasons = "; ".join(dropped_rows(dropped)) or "there are no more rows"
            refuse(place, f"type {shown(name)} must have a service, but none is left: {reasons}")
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    notes = [f"SHA-256 of the source: {digest}", *_notes(catalogue, config), *dropped_rows(dropped)]
    mapping = {
        "name": plain(Path(path).stem),
        "made_by": {"rule": RULE, "seed": seed, "source": plain(Path(path).name), "notes": notes},
        "arrival_rate": config.arrival_rate,
        "capability_threshold": config.capability_threshold,
        "max_latency": config.max_latency,
        "request": list(types),
        "agents": [
            {"id": service.name, "type": name} | service.agent for name in types for service in services[name]
        ],
        "links": [
            {"between": [first.name, second.name], "ber": config.ber}
            for before, after in pairwise(types)
            for first in services[before]
            for second in services[after]
        ],
    }
    parse_scenario(mapping, str(path))
    return CatalogueNetwork(mapping, dropped)


def dropped_rows(dropped: Sequence[DroppedRow]) -> list[str]:
    """Which rows were dropped and why, one line per reason."""
    lines: dict[str, list[int]] = {}
    for row in dropped:
        lines.setdefault(row.reason, []).append(row.line)
    return [
        f"rows dropped because {reason}: {len(found)} ({_lines(found)})" for reason, found in lines.items()
    ]


def _with_types(
    catalogue: Catalogue, types: Sequence[str], seed: int
) -> tuple[dict[str, list[Service]], list[DroppedRow]]:
    """The services of each type in the catalogue's order, and all rows that are dropped, in that order."""
    chosen: dict[str, list[Service]] = {name: [] for name in types}
    dropped = list(catalogue.dropped)
    order = np.random.default_rng(seed).permutation(len(catalogue.services))
    dealt = {int(place): types[turn % len(types)] for turn, place in enumerate(order)}
    for place, service in enumerate(catalogue.services):
        name = dealt[place] if service.agent_type is None else service.agent_type
        if name in chosen:
            chosen[name].append(service)
        else:
            dropped.append(DroppedRow(service.line, service.name, f"type = {shown(name)} is not asked for"))
    return chosen, sorted(dropped)


def _notes(catalogue: Catalogue, config: ServiceConfig) -> list[str]:
    """What was assumed, in the words of the person who will read the file."""
    has_types = any(service.agent_type is not None for service in catalogue.services)
    notes = [
        "compute_budget: training_flop, else 6 parameters training_tokens",
        f"mean_service_time: (median_latency_s + {config.answer_tokens:g} / tokens_per_s) / 60 minutes, for answers "
        f"of {config.answer_tokens:g} tokens, one at a time",
        "service_cv: of the length of answers alone, whose standard deviation is "
        f"{config.answer_cv:g} times its mean",
        "not in the catalogue, assumed and the same for all: observations, outages, ber, arrival_rate",
        "types: as the rows say" if has_types else "types: dealt in turn to the services in a random order",
        "links: between all services of successive types",
    ]
    if catalogue.priced:
        tokens = f"{config.prompt_tokens:g} tokens sent and {config.answer_tokens:g} received"
        notes.append(f"price: US$ per request of {tokens}, at the rows' input_ and output_price_per_mtok")
    if catalogue.sources:
        notes.append(f"sources of the rows: {plain(', '.join(catalogue.sources))}")
    return notes


def _lines(lines: Sequence[int]) -> str:
    """Ascending line numbers in short: lines 1-3, 7."""
    runs: list[list[int]] = []
    for line in lines:
        if runs and line == runs[-1][1] + 1:
            runs[-1][1] = line
        else:
            runs.append([line, line])
    shown_runs = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return f"{'line' if len(lines) == 1 else 'lines'} {shown_runs}"
