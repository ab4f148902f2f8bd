"""`lameta train`: a policy of one's own, cut anywhere and gone on with."""

import json

import jax
import numpy as np
import pytest
import yaml
from reference.composition_cases import six_agents

from lameta_jax.cli import train as command
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.policy import make_policy, policy_actor
from lameta_jax.composition.policy_files import load_policy
from lameta_jax.network.network import Scenario
from lameta_jax.network.optimum import optimum
from lameta_jax.pipeline import own_policy

SMALL = ("--updates", "6", "--users", "16", "--updates-per-report", "2", "--slots.fading-spread", "0.1")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "six.yaml"
    path.write_text(yaml.safe_dump({**six_agents(), "links": _plain(six_agents()["links"])}))
    return path


def _plain(links):
    return [{**link, "between": list(link["between"])} for link in links]


def interrupted_at(monkeypatch, number):
    """The command is interrupted when it says its line of that number."""
    said = []

    def say(text):
        said.append(text)
        if len(said) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(command, "say", say)
    return said


@pytest.fixture(scope="module")
def whole(lameta, network, tmp_path_factory):
    """What an uninterrupted command makes, and what it prints."""
    folder = tmp_path_factory.mktemp("whole")
    out, log = folder / "whole.safetensors", folder / "whole.jsonl"
    run = lameta("train", "--network", network, "--out", out, "--log", log, "--json", *SMALL)
    return out, log, run


def test_cut_and_gone_on_with_it_ends_with_the_same_bits(lameta, network, whole, tmp_path, monkeypatch):
    out, log, run = whole
    assert "update 6 of 6: mean QoE" in run.err
    cut, cut_log = tmp_path / "cut.safetensors", tmp_path / "cut.jsonl"
    arguments = ("train", "--network", network, "--out", cut, "--log", cut_log, *SMALL)
    with monkeypatch.context() as patch:
        said = interrupted_at(patch, 2)  # after two reports, of which the first was saved
        assert lameta(*arguments).code == 130
        assert said[1].startswith("update 4 of 6") and said[2].startswith("the same command goes on")
    assert not cut.exists() and (tmp_path / "cut.safetensors.partial").exists()
    other = lameta(*arguments, "--seed", "1")
    assert "an unfinished run with another --seed; delete it" in other.refusal
    changed = tmp_path / "changed.yaml"
    changed.write_text(network.read_text().replace("arrival_rate: 4.0", "arrival_rate: 3.0"))
    other = lameta(*arguments, "--network", changed)
    assert "an unfinished run with another network; delete it" in other.refusal
    again = lameta(*arguments)
    assert again.code == 0 and "update 2 of 6" not in again.err and "update 4 of 6" in again.err
    whole_policy, cut_policy = load_policy(out), load_policy(cut)
    jax.tree.map(np.testing.assert_array_equal, cut_policy.params, whole_policy.params)
    assert not (tmp_path / "cut.safetensors.partial").exists()
    rows = [json.loads(line) for line in cut_log.read_text().splitlines()]
    assert [row["update"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert cut_log.read_text() == log.read_text()
    assert {"episode/qoe", "factor/capability", "loss/policy"} <= set(rows[0])


def test_the_share_is_that_of_the_policy_in_the_file(lameta, network, whole):
    out, _, run = whole
    told, policy = run.json, load_policy(out)
    scenario: Scenario = command.read_network(str(network))
    params = make_env_params(scenario, EnvConfig(mask_types=True))
    users = own_policy.any_users(jax.random.fold_in(jax.random.key(0), 1), 200, 2)
    found = evaluate(
        jax.random.key(0), policy_actor(make_policy(policy.config), policy.params), params, users
    )
    best = optimum(scenario.network, scenario.request, users.preference).qoe[:, 0]
    assert told["share"] == pytest.approx(float(np.mean(found.qoe) / np.mean(best)), rel=1e-5)
    assert told["compared_with"] == "optimum" and 0 <= told["failed"] <= 1


@pytest.mark.slow
def test_training_pays(lameta, network, tmp_path):
    for algorithm, updates in (("ppo", "60"), ("reinforce", "400")):
        out = tmp_path / f"{algorithm}.safetensors"
        run = lameta(
            "train",
            "--network",
            network,
            "--out",
            out,
            "--algorithm",
            algorithm,
            "--updates",
            updates,
            "--json",
        )
        assert run.json["share"] > 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--updates", "0"), "--updates: 0 must be at least 1"),
        (("--seed", "-1"), "--seed: -1 must lie between 0 and"),
        (("--users", "30"), "--users: 30 must be a multiple of 4"),
        (("--users", "16", "--num-slots", "8"), "--users: 16 must be a multiple of 32"),
        (("--users", "16", "--devices", "3"), "--users: 16 must be a multiple of 12"),
        (("--devices", "0"), "--devices: 0 must be at least 1"),
        (("--slots.failure-probability", "2"), "failure_probability = 2.0 must be in [0, 1]"),
        (("--log", "none/log.jsonl"), "--log: none/log.jsonl must be a file in a folder that exists"),
    ],
)
def test_what_cannot_be_is_refused(lameta, network, tmp_path, options, message):
    run = lameta("train", "--network", network, "--out", tmp_path / "it.safetensors", *options)
    assert message in run.refusal
    run = lameta("train", "--network", network, "--out", tmp_path / "none" / "it.safetensors")
    assert "must be a file in a folder that exists" in run.refusal
    assert "must not be the network file" in lameta("train", "--network", network, "--out", network).refusal


@pytest.mark.slow
def test_tensorboard_shows_what_the_log_says(lameta, network, tmp_path):
    log, board = tmp_path / "log.jsonl", tmp_path / "board"
    out = tmp_path / "policy.safetensors"
    lameta("train", "--network", network, "--out", out, "--log", log, "--tensorboard", board, *SMALL)
    shown = scalars(next(board.glob("events.*")))
    for row in map(json.loads, log.read_text().splitlines()):
        update = row.pop("update")
        for name, value in row.items():
            assert shown[name, update] == pytest.approx(value, rel=1e-6, nan_ok=True)


def scalars(path):
    """The scalars of an event file by name and step, read record by record."""
    from tensorboardX.proto.event_pb2 import Event

    content, place, found = path.read_bytes(), 0, {}
    while place < len(content):  # 8 bytes of length, 4 of checksum, the event, 4 of checksum
        length = int.from_bytes(content[place : place + 8], "little")
        event = Event.FromString(content[place + 12 : place + 12 + length])
        for value in event.summary.value:
            found[value.tag, event.step] = value.simple_value
        place += 16 + length
    return found


def test_without_tensorboardx_one_line_says_what_to_install(lameta, network, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    out = tmp_path / "policy.safetensors"
    refused = lameta("train", "--network", network, "--out", out, "--tensorboard", tmp_path, *SMALL).refusal
    assert "lameta_jax[tensorboard]" in refused
