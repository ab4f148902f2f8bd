"""From the mapping in a network file to a Scenario, and back; whatever is wrong is refused in one line."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePath
from typing import Any

import numpy as np

from lameta_jax.network.assembly import assemble_scenario
from lameta_jax.network.capability import pretraining_loss
from lameta_jax.network.fields import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    POSITIVE_SHARE,
    PROBABILITY,
    SMALLEST,
    plain,
    refuse,
    require_list,
    require_mapping,
    require_number,
    require_one_of,
    require_text,
    shown,
)
from lameta_jax.network.network import MadeBy, Scenario

TOP_KEYS = ("arrival_rate", "capability_threshold", "max_latency", "request", "agents", "links")
AGENT_KEYS = ("id", "type", "observations", "outages")
# One key of each pair; the second is turned into the first, in float64.
ALTERNATIVES = (
    ("capability", "compute_budget"),
    ("service_rate", "mean_service_time"),
    ("service_cv", "service_std"),
)
OPTIONAL_AGENT_KEYS = (*(key for pair in ALTERNATIVES for key in pair), "price")
DEFAULT_ELAMS = ({"name": "small", "fee": 0.01}, {"name": "large", "fee": 0.05})


def parse_scenario(mapping: Any, source: str) -> Scenario:
    """Check the content of a network file and build its scenario.

    Args:
      mapping: what YAML or JSON gives; keys, units and defaults are those of the network file in the README.
      source: the file's name, the first word of every message and, without its suffix, the default name.

    Raises:
      NetworkError: one line that names the file, the agent or link, the field, the value and the rule.
    """
    place = plain(source)
    top = require_mapping(mapping, place, TOP_KEYS, ("name", "elams", "made_by"))
    name = require_text(top.get("name", PurePath(source).stem or "network"), place, "name")
    agents = _agents(top["agents"], place)
    request = [
        require_text(agent_type, f"{place}: request", f"type {position}")
        for position, agent_type in enumerate(require_list(top["request"], place, "request"), start=1)
    ]
    link_ends, link_ber = _links(top["links"], place, agents["agent_ids"])
    elam_names, elam_fees = _elams(top.get("elams", DEFAULT_ELAMS), place)
    return assemble_scenario(
        place,
        name=name,
        **agents,
        link_ends=link_ends,
        link_ber=link_ber,
        arrival_rate=require_number(top, "arrival_rate", place, POSITIVE, "per minute"),
        request=request,
        capability_threshold=require_number(top, "capability_threshold", place, POSITIVE),
        max_latency=require_number(top, "max_latency", place, POSITIVE, "minutes"),
        elam_names=elam_names,
        elam_fees=elam_fees,
        made_by=_made_by(top["made_by"], f"{place}: made_by") if "made_by" in top else None,
    )


def scenario_to_mapping(scenario: Scenario) -> dict[str, Any]:
    """The content of a network file that `parse_scenario` turns into the same arrays.

    The network holds capabilities, not the budgets they came from, so it is `capability` that is written.
    """
    network, request = scenario.network, scenario.request
    columns = ["capability", "service_rate", "service_cv", "observations", "outages"]
    columns += ["price"] * bool(np.any(network.price))
    values = {column: np.asarray(getattr(network, column)) for column in columns}
    agents = [
        {"id": agent_id, "type": scenario.type_names[int(network.agent_type[index])]}
        | {column: _shortest(values[column][index]) for column in columns}
        for index, agent_id in enumerate(scenario.agent_ids)
    ]
    links = [
        {"between": [scenario.agent_ids[first], scenario.agent_ids[second]], "ber": _shortest(ber)}
        for (first, second), ber in zip(
            np.asarray(network.link_ends), np.asarray(network.link_ber), strict=True
        )
    ]
    made_by = {} if scenario.made_by is None else {"made_by": made_by_mapping(scenario.made_by)}
    return {
        "name": scenario.name,
        **made_by,
        "arrival_rate": _shortest(np.asarray(network.arrival_rate)[()]),
        "capability_threshold": _shortest(np.asarray(request.capability_threshold)[()]),
        "max_latency": _shortest(np.asarray(request.max_latency)[()]),
        "request": [scenario.type_names[index] for index in np.asarray(request.types)],
        "agents": agents,
        "links": links,
        "elams": [
            {"name": elam, "fee": _shortest(fee)}
            for elam, fee in zip(scenario.elam_names, np.asarray(scenario.elam_fees), strict=True)
        ],
    }


def made_by_mapping(made_by: MadeBy) -> dict[str, Any]:
    """The content of the key `made_by` in a network file, as plain values that JSON can hold."""
    return asdict(made_by) | {"notes": list(made_by.notes)}


def _agents(entries: Any, place: str) -> dict[str, Any]:
    """Columns of the agent table, in the names and units of AgenticNetwork."""
    rows = []
    ids: set[str] = set()
    for index, entry in enumerate(require_list(entries, place, "agents")):
        rows.append(_agent(entry, index, place))
        agent_id = rows[-1]["agent_ids"]
        if agent_id in ids:
            refuse(place, f"agents[{index}]: id = {shown(agent_id)} must be unique, an earlier agent has it")
        ids.add(agent_id)
    return {column: [row[column] for row in rows] for column in rows[0]}


def _agent(entry: Any, index: int, place: str) -> dict[str, Any]:
    named = isinstance(entry, Mapping) and isinstance(entry.get("id"), str)
    here = f"{place}: agent {plain(entry['id'])}" if named else f"{place}: agents[{index}]"
    entry = require_mapping(entry, here, AGENT_KEYS, OPTIONAL_AGENT_KEYS)
    agent_id = require_text(entry["id"], here, "id")
    agent_type = require_text(entry["type"], here, "type")

    if require_one_of(entry, ("compute_budget", "capability"), here) == "capability":
        capability = require_number(entry, "capability", here, POSITIVE_SHARE)
    else:
        budget = require_number(entry, "compute_budget", here, POSITIVE, "training FLOP")
        capability = float(np.exp(-pretraining_loss(np.array([budget])))[0])
        if capability < SMALLEST:
            given = shown(entry["compute_budget"])
            refuse(here, f"compute_budget = {given} must be large enough for a capability >= {SMALLEST:.2g}")

    if require_one_of(entry, ("service_rate", "mean_service_time"), here) == "service_rate":
        rate = require_number(entry, "service_rate", here, POSITIVE, "per minute")
    else:
        rate = 1 / require_number(entry, "mean_service_time", here, POSITIVE, "minutes")

    if require_one_of(entry, ("service_cv", "service_std"), here) == "service_cv":
        cv = require_number(entry, "service_cv", here, NOT_NEGATIVE)
    else:
        std = require_number(entry, "service_std", here, NOT_NEGATIVE, "minutes")
        derived = {"service_cv (service_std times service_rate)": std * rate}
        cv = require_number(derived, next(iter(derived)), here, NOT_NEGATIVE)

    observations = require_number(entry, "observations", here, POSITIVE_COUNT)
    outages = require_number(entry, "outages", here, COUNT)
    if outages > observations:
        refuse(here, f"outages = {shown(entry['outages'])} must be <= observations = {observations:.0f}")
    return {
        "agent_ids": agent_id,
        "agent_types": agent_type,
        "capability": capability,
        "service_rate": rate,
        "service_cv": cv,
        "observations": observations,
        "outages": outages,
        "price": require_number(entry, "price", here, NOT_NEGATIVE, "US$ per request")
        if "price" in entry
        else 0.0,
    }


def _links(entries: Any, place: str, agent_ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the links as agent indices, and their bit error rates."""
    if not isinstance(entries, list | tuple):
        refuse(place, f"links = {shown(entries)} must be a list")
    index_of = {agent_id: index for index, agent_id in enumerate(agent_ids)}
    links: dict[tuple[int, int], float] = {}
    for position, entry in enumerate(entries):
        here = f"{place}: links[{position}]"
        entry = require_mapping(entry, here, ("between", "ber"), ())
        between = entry["between"]
        if not isinstance(between, list | tuple) or len(between) != 2:
            refuse(here, f"between = {shown(between)} must be a list of two agent ids")
        first, second = (require_text(end, here, "between") for end in between)
        here = f"{place}: link {plain(first)} - {plain(second)}"
        for end in (first, second):
            if end not in index_of:
                refuse(here, f"between = {shown(end)} must be the id of an agent")
        if first == second:
            refuse(here, f"between = {shown([first, second])} must be two different agents")
        ends = (min(index_of[first], index_of[second]), max(index_of[first], index_of[second]))
        if ends in links:
            refuse(here, f"between = {shown([first, second])} must be unique, an earlier link joins them")
        links[ends] = require_number(entry, "ber", here, PROBABILITY)
    return np.array(list(links), dtype=int).reshape(-1, 2), np.array(list(links.values()), dtype=float)


def _elams(entries: Any, place: str) -> tuple[list[str], list[float]]:
    names: list[str] = []
    fees: list[float] = []
    for index, entry in enumerate(require_list(entries, place, "elams")):
        here = f"{place}: elams[{index}]"
        entry = require_mapping(entry, here, ("name", "fee"), ())
        name = require_text(entry["name"], here, "name")
        if name in names:
            refuse(here, f"name = {shown(name)} must be unique, an earlier E-LAM has it")
        names.append(name)
        fees.append(require_number(entry, "fee", f"{place}: elam {plain(name)}", NOT_NEGATIVE))
    return names, fees


def _made_by(entry: Any, place: str) -> MadeBy:
    entry = require_mapping(entry, place, ("rule", "seed", "source"), ("notes",))
    seed, notes = entry["seed"], entry.get("notes", ())
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        refuse(place, f"seed = {shown(seed)} must be a whole number >= 0")
    if not isinstance(notes, list | tuple):
        refuse(place, f"notes = {shown(notes)} must be a list")
    return MadeBy(
        rule=require_text(entry["rule"], place, "rule"),
        seed=seed,
        source=require_text(entry["source"], place, "source"),
        notes=tuple(
            require_text(note, place, f"note {position}") for position, note in enumerate(notes, start=1)
        ),
    )


def _shortest(value: Any) -> float | int:
    """The shortest decimal that reads back as the same float32 or float64; whole numbers stay whole."""
    number = float(str(value))
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
