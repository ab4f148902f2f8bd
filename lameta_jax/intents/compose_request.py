"""Zero-shot composition: a language model is shown a whole network and names the chain for one user's words.

"LLM-zero shot" of LAMeTA Sec. VI-C, by the shipped template. The network comes as tables of names and numbers, and all
that an answer may name is in those tables.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from lameta_jax.intents.corpus import Record
from lameta_jax.intents.requests import Request, templated_request
from lameta_jax.intents.transcript import TeacherError

# About 100,000 tokens, as numbers take two or three characters each: what a context of 128,000 tokens holds.
MAX_CHARACTERS = 200_000

# Why an answer is no chain, in the order in which it is looked at.
UNREADABLE = "unreadable"  # not one agent per type and then a language model, with single spaces between
UNKNOWN_AGENT = "unknown agent"
WRONG_TYPE = "wrong type"
REPEATED_AGENT = "repeated agent"
MISSING_LINK = "missing link"


class AgentRow(NamedTuple):
    """What a language model is told of an agent."""

    id: str
    type: str
    capability: float  # e^{-loss}, in (0, 1]
    service_rate: float  # per minute
    service_cv: float
    crash_probability: float


class LinkRow(NamedTuple):
    """What it is told of a link; `first` comes before `second` in a chain where their types tell."""

    first: str
    second: str
    ber: float


@dataclass(frozen=True, kw_only=True)
class NetworkTables:
    """A network and a service request as a language model is shown them."""

    name: str
    request: tuple[str, ...]  # types, in order
    agents: tuple[AgentRow, ...]  # of the requested types
    links: tuple[LinkRow, ...]  # between agents of successive types
    elams: tuple[tuple[str, float], ...]  # names and fees
    arrival_rate: float  # per minute
    capability_threshold: float
    max_latency: float  # minutes


class ChainAnswer(NamedTuple):
    """The chain that an answer names, or why it names none."""

    agents: tuple[str, ...]  # empty where there is none
    failure: str  # one of the reasons above; empty where there is none


def compose_request(record: Record, tables: NetworkTables) -> Request:
    """Asks for the best chain for whoever typed the prompt of a record, of which nothing else is shown.

    Raises:
      TeacherError: the tables take more than MAX_CHARACTERS, or names in them have spaces, which separate names.
    """
    for name in (*(agent.id for agent in tables.agents), *dict(tables.elams)):
        if name.split() != [name]:
            raise TeacherError(
                f"{tables.name}: {name!r} has white space: a language model cannot be asked to name it"
            )
    agents = "\n".join(map(_agent_line, tables.agents))
    links = "\n".join(f"{link.first} {link.second} {link.ber:.4f}" for link in tables.links)
    if len(agents) + len(links) > MAX_CHARACTERS:
        raise TeacherError(
            f"{tables.name}: {len(tables.agents)} agents and {len(tables.links)} links take "
            f"{len(agents) + len(links)} characters, more than the {MAX_CHARACTERS} that a language model is shown: "
            "compose on a smaller network"
        )
    fields = {
        "request": " -> ".join(tables.request),
        "arrival_rate": tables.arrival_rate,
        "capability_threshold": tables.capability_threshold,
        "max_latency": tables.max_latency,
        "agents": agents,
        "links": links,
        "elams": ", ".join(f"{name} {fee}" for name, fee in tables.elams),
        "prompt": record.prompt,
    }
    name = f"compose-{record.id}"
    return templated_request(name, "compose", record.application, fields, {"network": tables.name})


def read_chain(answer: str, tables: NetworkTables) -> ChainAnswer:
    """The chain in an answer: the ids of its agents in order, then the name of a language model, on one line.

    Strict like `preference.parse_answer`: an answer that is repaired in silence hides a model that cannot compose.
    The chain must be one of the network's, but nothing is asked of its quality: whether it keeps the limits shows when
    it is served. What the language model's name is worth, too.
    """
    *agents, elam = answer.strip(" \r\n").split(" ")
    if len(agents) != len(tables.request) or elam not in dict(tables.elams):
        return ChainAnswer((), UNREADABLE)
    failure = _failure(agents, tables)
    return ChainAnswer((), failure) if failure else ChainAnswer(tuple(agents), "")


def _failure(agents: Sequence[str], tables: NetworkTables) -> str:
    """What is wrong with a chain of as many ids as are requested; empty if nothing is."""
    types = {agent.id: agent.type for agent in tables.agents}
    linked = {frozenset((link.first, link.second)) for link in tables.links}
    if not all(agent in types for agent in agents):
        return UNKNOWN_AGENT
    if tuple(types[agent] for agent in agents) != tables.request:
        return WRONG_TYPE
    if max(Counter(agents).values()) > 1:
        return REPEATED_AGENT
    if not all(frozenset(pair) in linked for pair in pairwise(agents)):
        return MISSING_LINK
    return ""


def _agent_line(agent: AgentRow) -> str:
    numbers = f"{agent.capability:.3f} {agent.service_rate:.1f} {agent.service_cv:.2f}"
    return f"{agent.id} {agent.type} {numbers} {agent.crash_probability:.4f}"
