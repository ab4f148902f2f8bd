"""Agents from a catalogue of language model services: a CSV with sizes, prices and speeds, one service per row."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lameta_jax.network.fields import NOT_NEGATIVE, POSITIVE, plain, refuse, require_number, shown
from lameta_jax.network.files import one_line, read_text

PRICE_COLUMNS = ("input_price_per_mtok", "output_price_per_mtok")
NUMBERS = (
    "parameters",
    "training_tokens",
    "training_flop",
    *PRICE_COLUMNS,
    "median_latency_s",
    "tokens_per_s",
)
MAY_BE_ZERO = (*PRICE_COLUMNS, "median_latency_s")


@dataclass(frozen=True, kw_only=True)
class ServiceConfig:
    """What a request is like, and what catalogues do not say of services."""

    prompt_tokens: float = 500.0  # tokens that a request sends, >= 0; they only cost
    answer_tokens: float = 200.0  # mean number of tokens of an answer, > 0
    answer_cv: float = 1.0  # standard deviation of that number divided by its mean, >= 0
    arrival_rate: float = 2.0  # lambda, requests per minute; services that cannot keep up are dropped
    observations: int = 1000  # |O| of every service
    outages: int = 10  # |F| of every service
    ber: float = 0.001  # bit error rate of every link
    capability_threshold: float = 0.01  # C_th
    max_latency: float = 1.0  # L_max, minutes

    def __post_init__(self) -> None:
        for field, rule in (
            ("prompt_tokens", NOT_NEGATIVE),
            ("answer_tokens", POSITIVE),
            ("answer_cv", NOT_NEGATIVE),
        ):
            require_number(vars(self), field, "options", rule)


class Service(NamedTuple):
    """One row that can be an agent."""

    line: int  # in the file, from 1
    name: str  # model@provider
    agent_type: str | None  # the row's own; None where the catalogue has no such column
    agent: dict[str, Any]  # in the names of the network file, without id and type


class DroppedRow(NamedTuple):
    """One row that cannot be an agent."""

    line: int  # in the file, from 1
    name: str
    reason: str


class Catalogue(NamedTuple):
    """What a CSV of services holds."""

    services: list[Service]
    dropped: list[DroppedRow]
    sources: list[str]  # of the rows that are used, as their column `source` says, without repetition
    priced: bool  # whether the catalogue has prices


def read_catalogue(path: str | Path, config: ServiceConfig) -> Catalogue:
    r"""Turn rows into agents. With n `answer_tokens` of coefficient of variation v, and m `prompt_tokens`:

    - compute budget: `training_flop`; else 6 `parameters` `training_tokens`.
    - an answer takes the latency to its first token, T = `median_latency_s`, and its length over the speed
      r = `tokens_per_s`. With T and r constant, mean and coefficient of variation of the service time are

          1/mu = (T + n/r) / 60 minutes,    V = v (n/r) / (T + n/r)

    - price in US$: (m `input_price_per_mtok` + n `output_price_per_mtok`) / 10^6.

    A row that lacks one of these, is a repetition, or cannot keep up (mu <= lambda) is dropped. Columns that a
    catalogue has no use for are ignored. Assumption: medians stand for constants, and one request at a time is
    served, as the model of an agent has it.

    Raises:
      NetworkError: one line that names the file, the line, the column, the value and the rule.
    """
    place = plain(str(path))
    services: dict[str, Service] = {}
    dropped: list[DroppedRow] = []
    sources: dict[str, None] = {}
    priced = False
    for line, row in _rows(Path(path), place):
        priced = any(column in row for column in PRICE_COLUMNS)
        name = _name(row, f"{place}: line {line}")
        agent, missing = _agent(_numbers(row, f"{place}: line {line}"), config, priced)
        agent_type = row.get("type")
        if not missing and agent_type == "":
            missing = "type is missing"
        if not missing and name in services:
            missing = "an earlier row has the same model and provider"
        if missing:
            dropped.append(DroppedRow(line, name, missing))
            continue
        services[name] = Service(line, name, agent_type, agent)
        sources |= dict.fromkeys(part.partition(":")[0].strip() for part in row.get("source", "").split(";"))
    return Catalogue(list(services.values()), dropped, [source for source in sources if source], priced)


def _rows(path: Path, place: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows as mappings of columns to cells without spaces around them, and the line that each ends in."""
    reader = csv.reader(io.StringIO(read_text(path, place), newline=""), strict=True)
    try:
        columns = [column.strip() for column in next(reader, [])]
        for column in ("model", "median_latency_s", "tokens_per_s"):
            if column not in columns:
                refuse(place, f"line 1: the columns {shown(columns)} must name {column}")
        for column in filter(None, columns):
            if columns.count(column) > 1:
                refuse(place, f"line 1: column {shown(column)} must be named once")
        for cells in reader:
            if cells and len(cells) != len(columns):
                refuse(
                    place, f"line {reader.line_num}: number of cells = {len(cells)} must be {len(columns)}"
                )
            if cells:
                yield reader.line_num, dict(zip(columns, map(str.strip, cells), strict=True))
    except csv.Error as error:
        refuse(place, f"line {reader.line_num}: not readable as csv: {one_line(error)}")


def _name(row: dict[str, str], place: str) -> str:
    if not row["model"]:
        refuse(place, "model = '' must not be empty")
    provider = row.get("provider")
    return plain(f"{row['model']}@{provider}" if provider else row["model"])


def _numbers(row: dict[str, str], place: str) -> dict[str, float]:
    """The numbers that a row gives."""
    values = {}
    for column in NUMBERS:
        cell = row.get(column, "")
        if cell:
            try:
                values[column] = float(cell)
            except ValueError:
                values[column] = cell  # refused below, in the words of network files
            require_number(values, column, place, NOT_NEGATIVE if column in MAY_BE_ZERO else POSITIVE)
    return values


def _agent(row: dict[str, float], config: ServiceConfig, priced: bool) -> tuple[dict[str, Any], str]:
    """The agent of a row, or what it lacks."""
    has_size = "parameters" in row and "training_tokens" in row
    if "training_flop" not in row and not has_size:
        return {}, "training_flop is missing, and parameters or training_tokens too"
    for column in ("median_latency_s", "tokens_per_s", *PRICE_COLUMNS * priced):
        if column not in row:
            return {}, f"{column} is missing"
    budget = row.get("training_flop") or 6 * row["parameters"] * row["training_tokens"]
    generation = config.answer_tokens / row["tokens_per_s"]
    seconds = row["median_latency_s"] + generation
    mean_service_time = _rounded(seconds / 60)
    if mean_service_time * config.arrival_rate >= 1:
        return {}, f"service rate must be > arrival rate = {config.arrival_rate:g} per minute"
    agent = {
        "compute_budget": budget,
        "mean_service_time": mean_service_time,
        "service_cv": _rounded(config.answer_cv * generation / seconds),
        "observations": config.observations,
        "outages": config.outages,
    }
    if priced:
        cost = config.prompt_tokens * row[PRICE_COLUMNS[0]] + config.answer_tokens * row[PRICE_COLUMNS[1]]
        agent["price"] = _rounded(cost / 1e6)
    return agent, ""


def _rounded(value: float) -> float:
    """Six digits: medians have no more, and the file stays readable."""
    return float(f"{value:.6g}")
