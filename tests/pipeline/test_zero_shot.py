"""A language model composes: the recorded one is asked in its own words, a made-up one answers badly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference.composition_cases import four_agents, six_agents

from lameta_jax.composition.baselines import replay_actor
from lameta_jax.composition.env import make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.types import make_users
from lameta_jax.intents.compose_request import compose_request
from lameta_jax.intents.corpus import BENCHMARKS, Record, load_benchmark
from lameta_jax.intents.preference import EVEN
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.intents.transcript import TeacherError
from lameta_jax.network.files import parse_scenario
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.zero_shot import compose_zero_shot, network_tables

SIX = parse_scenario(six_agents(), "six")


def users(count):
    """Prompts that are their numbers."""
    return [Record(id=str(i), application="qa", prompt=str(i), preference=EVEN) for i in range(count)]


class Answers:
    """A teacher that has one answer for each of `users`, and keeps what it was asked."""

    def __init__(self, *answers):
        self.answers, self.asked = answers, []

    def ask(self, request):
        self.asked.append(request)
        return self.answers[int(request.id.removeprefix("compose-"))]


@pytest.mark.parametrize("application", BENCHMARKS)
def test_recorded_requests_are_made_again_to_the_byte(application):
    tables, teacher = network_tables(load_named("lameta-81")), RecordedTeacher()
    for record in load_benchmark(application).test:
        made, recorded = compose_request(record, tables), teacher.recorded(f"compose-{record.id}").request
        assert made == recorded and made.details == recorded.details


@pytest.mark.parametrize("application", BENCHMARKS)
def test_every_recorded_chain_is_one(application):
    scenario = load_named("lameta-81")
    composed = compose_zero_shot(RecordedTeacher(), scenario, load_benchmark(application).test)
    assert composed.failures == {} and composed.agents.shape == (40, 3)
    assert np.all(composed.agents >= 0)


def test_numbers_are_shown_as_the_file_has_them():
    mapping = four_agents()
    # In float32 0.995 is above, 12.25 exactly at, the middle between two roundings.
    mapping["agents"][0] |= {"service_cv": 0.995, "service_rate": 12.25, "capability": 0.1235}
    message = (
        compose_request(users(1)[0], network_tables(parse_scenario(mapping, "test"))).messages[1].content
    )
    assert f"\na A {0.1235:.3f} {12.25:.1f} {0.995:.2f} 0.0000\n" in message
    assert "0.99 " in message


def test_only_what_a_chain_can_use_is_shown():
    tables = network_tables(parse_scenario(four_agents(), "four"))
    assert [agent.id for agent in tables.agents] == ["a", "b1", "b2"]
    assert [(link.first, link.second) for link in tables.links] == [("a", "b1"), ("a", "b2")]
    reversed_request = four_agents() | {"request": ["B", "A"]}
    tables = network_tables(parse_scenario(reversed_request, "four"))
    assert [agent.id for agent in tables.agents] == ["b1", "b2", "a"]
    assert [(link.first, link.second) for link in tables.links] == [("b1", "a"), ("b2", "a")]


def test_a_type_that_is_asked_for_twice_is_shown_once():
    tables = network_tables(parse_scenario(six_agents() | {"request": ["A", "B", "A"]}, "six"))
    assert [agent.id for agent in tables.agents] == ["a0", "a1", "b0", "b1"]
    pairs = [("a0", "b0"), ("a0", "b1"), ("a1", "b0"), ("a1", "b1")]
    assert [(link.first, link.second) for link in tables.links] == pairs


def test_answers_become_chains_in_the_order_of_the_users():
    teacher = Answers("a1 b0 c1 small", "a0 b1 c0 large", "a0 b0 c0 small")
    composed = compose_zero_shot(teacher, SIX, users(3))
    assert composed.agents.tolist() == [[1, 2, 5], [0, 3, 4], [0, 2, 4]]
    assert composed.failures == {}
    assert [request.id for request in teacher.asked] == ["compose-0", "compose-1", "compose-2"]


def test_what_is_no_chain_is_counted_and_fails_when_it_is_replayed():
    answers = ("a1 b0 c1 small", "I would take a1.", "a1 b0 c7 small", "b0 a1 c1 small", "a1 b0 c1 none")
    composed = compose_zero_shot(Answers(*answers), SIX, users(5))
    assert composed.agents.tolist() == [[1, 2, 5]] + 4 * [[-1, -1, -1]]
    assert composed.failures == {"unreadable": 2, "unknown agent": 1, "wrong type": 1}
    preferences = np.full((5, 4), 0.25)
    played = evaluate(
        jax.random.key(0),
        replay_actor(jnp.asarray(composed.agents)),
        make_env_params(SIX),
        make_users(preferences),
    )
    assert played.feasible.tolist() == [True] + 4 * [False]
    assert np.all(np.asarray(played.qoe[1:]) == -1.0) and played.qoe[0] > 0


def test_a_network_that_was_not_recorded_cannot_be_composed_on_from_the_transcript():
    with pytest.raises(TeacherError, match="other messages than those asked now"):
        compose_zero_shot(RecordedTeacher(), SIX, load_benchmark("qa").test)
    with pytest.raises(TeacherError, match="no exchange 'compose-0'"):
        compose_zero_shot(RecordedTeacher(), SIX, users(1))
