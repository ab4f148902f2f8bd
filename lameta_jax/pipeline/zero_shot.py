"""Zero-shot composition by a language model, "LLM-zero shot" of LAMeTA Sec. VI-C: a teacher names each user's chain."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from lameta_jax.intents.compose_request import (
    AgentRow,
    LinkRow,
    NetworkTables,
    compose_request,
    read_chain,
)
from lameta_jax.intents.corpus import Record
from lameta_jax.intents.teacher import Teacher
from lameta_jax.network.network import Scenario
from lameta_jax.network.schema import scenario_to_mapping


class ZeroShotChains(NamedTuple):
    """What a language model composed; `replay_actor(jnp.asarray(agents))` plays it."""

    agents: Int[np.ndarray, "users hops"]  # a row of -1 where the answer was no chain
    failures: dict[str, int]  # such answers by reason, see `intents.compose_request`


def compose_zero_shot(teacher: Teacher, scenario: Scenario, records: Sequence[Record]) -> ZeroShotChains:
    """One chain for the prompt of every record, in the order of the records, each by one request to the teacher.

    The language model reads the intent itself. The E-LAM that it has to name counts for nothing: replaying its chains
    costs what replaying any costs.

    Raises:
      TeacherError: the teacher cannot answer, or the network cannot be shown to one.
    """
    tables = network_tables(scenario)
    place = {agent: index for index, agent in enumerate(scenario.agent_ids)}
    agents = np.full((len(records), len(tables.request)), -1)
    failures: Counter[str] = Counter()
    for user, record in enumerate(records):
        answer = read_chain(teacher.ask(compose_request(record, tables)), tables)
        if answer.failure:
            failures[answer.failure] += 1
        else:
            agents[user] = [place[agent] for agent in answer.agents]
    return ZeroShotChains(agents, dict(failures))


def network_tables(scenario: Scenario) -> NetworkTables:
    """A scenario as a language model is shown it: agents by type in the order of the request, links by their ends.

    Only what a chain can use is listed; a link that it can use in both directions is listed once. Numbers are those of
    the network's file, not of its arrays: 0.995 in float32 is 0.99500000477, which would be rounded up.
    """
    content = scenario_to_mapping(scenario)
    request = content["request"]
    rows = [
        AgentRow(
            id=agent["id"],
            type=agent["type"],
            capability=agent["capability"],
            service_rate=agent["service_rate"],
            service_cv=agent["service_cv"],
            crash_probability=agent["outages"] / agent["observations"],
        )
        for agent in content["agents"]
    ]
    return NetworkTables(
        name=scenario.name,
        request=tuple(request),
        agents=tuple(row for kind in dict.fromkeys(request) for row in rows if row.type == kind),
        links=_usable_links(rows, content["links"], request),
        elams=tuple((elam["name"], elam["fee"]) for elam in content["elams"]),
        arrival_rate=float(content["arrival_rate"]),
        capability_threshold=float(content["capability_threshold"]),
        max_latency=float(content["max_latency"]),
    )


def _usable_links(
    agents: Sequence[AgentRow], links: Sequence[dict], request: Sequence[str]
) -> tuple[LinkRow, ...]:
    """Links between agents of successive types, in a direction that the request uses, in the order of the agents."""
    place = {agent.id: index for index, agent in enumerate(agents)}
    kind = {agent.id: agent.type for agent in agents}
    used = set(pairwise(request))
    rows = []
    for link in links:
        one, other = link["between"]
        if (kind[one], kind[other]) in used:
            rows.append(LinkRow(one, other, link["ber"]))
        elif (kind[other], kind[one]) in used:
            rows.append(LinkRow(other, one, link["ber"]))
    return tuple(sorted(rows, key=lambda row: (place[row.first], place[row.second])))
