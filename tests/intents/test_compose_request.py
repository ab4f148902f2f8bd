"""What a language model is shown of a network, and how strictly its chains are read."""

from dataclasses import replace

import pytest
from reference import intents_cases as cases

from lameta_jax.intents.compose_request import (
    MAX_CHARACTERS,
    MISSING_LINK,
    REPEATED_AGENT,
    UNKNOWN_AGENT,
    UNREADABLE,
    WRONG_TYPE,
    AgentRow,
    LinkRow,
    NetworkTables,
    compose_request,
    read_chain,
)
from lameta_jax.intents.corpus import parse_record
from lameta_jax.intents.transcript import TeacherError

TABLES = NetworkTables(
    name="town",
    request=("writer", "painter", "writer"),
    agents=(
        AgentRow("w1", "writer", 0.5, 12.34, 1.0, 0.01),
        AgentRow("w2", "writer", 0.75, 9.0, 0.5, 0.0),
        AgentRow("w3", "writer", 0.6, 9.0, 0.5, 0.0),
        AgentRow("p1", "painter", 0.25, 100.0, 1.25, 0.12345),
    ),
    links=(LinkRow("w1", "p1", 0.001), LinkRow("w2", "p1", 0.00004), LinkRow("w1", "w2", 0.1)),
    elams=(("small", 0.01), ("large", 0.05)),
    arrival_rate=4.0,
    capability_threshold=0.01,
    max_latency=1.0,
)


def record(prompt="A poster, please."):
    return parse_record(cases.record(prompt=prompt), "test")


def test_everything_is_shown():
    request = compose_request(record(), TABLES)
    assert (request.id, request.kind, request.application) == ("compose-mm-1", "compose", "multimedia")
    assert request.details == {"network": "town"}
    system, user = request.messages
    assert (system.role, user.role) == ("system", "user")
    for expected in (
        "in the order writer -> painter -> writer;",
        "arrive at 4.0 per minute",
        "capability at least 0.01, latency at most 1.0 minutes.",
        "\nw1 writer 0.500 12.3 1.00 0.0100\nw2 writer 0.750 9.0 0.50 0.0000\n",
        "\np1 painter 0.250 100.0 1.25 0.1235\n",
        "\nw1 p1 0.0010\nw2 p1 0.0000\nw1 w2 0.1000\n",
        "(name fee): small 0.01, large 0.05\n",
        'The user typed:\n"A poster, please."\n',
    ):
        assert expected in user.content


def test_nothing_but_the_prompt_is_told_of_the_user():
    secret = replace(record(), preference=(0.97, 0.01, 0.01, 0.01), rationale="WHY", style="STYLE")
    assert compose_request(secret, TABLES).messages == compose_request(record(), TABLES).messages


def test_a_prompt_is_not_expanded():
    assert (
        '\n"{agents} {0} {{prompt}}"\n'
        in compose_request(record("{agents} {0} {{prompt}}"), TABLES).messages[1].content
    )


@pytest.mark.parametrize("answer", ["w1 p1 w2 small", "w1 p1 w2 large", "  w1 p1 w2 small\r\n"])
def test_a_chain_is_read(answer):
    assert read_chain(answer, TABLES) == (("w1", "p1", "w2"), "")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", UNREADABLE),
        ("w1 p1 w2", UNREADABLE),  # names no language model
        ("w1 p1 w2 medium", UNREADABLE),
        ("w1 p1 w2 Small", UNREADABLE),
        ("w1 p1 small", UNREADABLE),
        ("w1 p1 w2 p1 small", UNREADABLE),
        ("w1  p1 w2 small", UNREADABLE),
        ("w1, p1, w2, small", UNKNOWN_AGENT),
        ("w1 -> p1 -> w2 small", UNREADABLE),
        ("w1 p1 w2 small\nw1 p1 w2 large", UNREADABLE),
        ("The best chain is: w1 p1 w2 small", UNREADABLE),
        ("w1 p1\nw2 small", UNREADABLE),
        ("w1 p1 w9 small", UNKNOWN_AGENT),
        ("w1 p1 W2 small", UNKNOWN_AGENT),
        ("w1 p1, w2 small", UNKNOWN_AGENT),
        ("w1 w2 p1 small", WRONG_TYPE),
        ("w1 p1 w1 small", REPEATED_AGENT),
        ("w1 p1 w3 small", MISSING_LINK),
        ("w3 p1 w1 small", MISSING_LINK),
    ],
)
def test_what_is_no_chain_is_told_by_its_reason(answer, reason):
    assert read_chain(answer, TABLES) == ((), reason)


def test_too_large_a_network_is_not_shown():
    row = AgentRow("w1", "writer", 0.5, 12.3, 1.0, 0.01)  # 32 characters and a line break
    fits = MAX_CHARACTERS // 34
    assert compose_request(record(), replace(TABLES, agents=(row,) * fits)).messages
    with pytest.raises(
        TeacherError, match="^town: 8000 agents and 3 links take .* more than the 200000 "
    ) as refusal:
        compose_request(record(), replace(TABLES, agents=(row,) * 8000))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["New York", "a\nb", " a", ""])
def test_names_that_an_answer_cannot_hold_are_refused(name):
    agents = (TABLES.agents[0]._replace(id=name), *TABLES.agents)
    with pytest.raises(TeacherError, match="^town: .* has white space"):
        compose_request(record(), replace(TABLES, agents=agents))
    with pytest.raises(TeacherError, match="^town: .* has white space"):
        compose_request(record(), replace(TABLES, elams=((name, 0.01),)))
