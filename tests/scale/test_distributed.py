"""Four devices, and two processes of two each, compute what one device does, in processes that have such devices."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from lameta_jax.scale.distributed import device_mesh, from_first_process, join_processes, placement

PROGRAM = """
import json, sys
from pathlib import Path
import jax, numpy as np
from lameta_jax.scale.distributed import device_mesh, join_processes, placement

part, folder, spread = sys.argv[1], Path(sys.argv[2]), sys.argv[3] == "spread"
processes = join_processes()
jax.config.update("jax_num_cpu_devices", int(sys.argv[4]))  # no device has been touched
mesh = device_mesh() if spread else None
facts = {"processes": processes, "devices": len(jax.devices()), "local": len(jax.local_devices())}


def swept():
    from lameta_jax.scale.chunks import SweepConfig
    from lameta_jax.scale.space import grid_runs
    from lameta_jax.scale.sweep import sweep
    from scale.test_sweep import SPACE, train

    found, told = {}, []
    for name, width in (("whole", 8), ("odd", 3)):  # 36 runs in two groups: the last chunk of each is not full
        config = SweepConfig(width=width, keep=2)
        groups = grid_runs(SPACE, seeds=(3, 4, 9))
        done = sweep(train, groups, config, folder=folder / name, mesh=mesh, report=told.append)
        found |= {name: np.array(done.table["score"]), f"{name} best": np.array([one.run for one in done.best])}
        found |= {f"{name} kept": np.array([one.result["rate"] for one in done.best])}
    again = sweep(train, groups, config, folder=folder / name, mesh=mesh, report=told.append)
    facts["chunks"] = len(told) - len(again.chunks)
    facts["resumed"] = sum(one.resumed for one in told)
    return found


def trained():
    from reference.composition_cases import preferences, six_agents
    from lameta_jax.composition.env import make_env_params
    from lameta_jax.composition.learner import LearnerConfig
    from lameta_jax.composition.policy import PolicyConfig, make_policy
    from lameta_jax.composition.rollout import EpisodeConfig, composition_task
    from lameta_jax.composition.types import make_users
    from lameta_jax.network.files import parse_scenario
    from lameta_jax.pipeline.own_policy import OwnPolicyConfig, train_policy

    scenario, episodes = parse_scenario(six_agents(), "six"), EpisodeConfig(num_slots=2, users_per_slot=32)
    policy = make_policy(PolicyConfig(width=8, context_width=8, intent_width=4, lookahead=0))
    task = composition_task(policy, make_env_params(scenario), episodes, mesh=mesh)
    params = policy.init(jax.random.key(0))
    reward = jax.jit(task.collect)(params, make_users(preferences(20)), jax.random.key(1))[1].reward
    facts["shape"] = list(reward.shape)
    facts["shards"] = [list(shard.data.shape) for shard in reward.addressable_shards]
    facts["places"] = sorted({shard.index[2].start or 0 for shard in reward.addressable_shards})

    told = []
    config = OwnPolicyConfig(
        learner=LearnerConfig(num_updates=2, num_epochs=2, num_minibatches=4),
        episodes=episodes,
        updates_per_report=1,
    )
    learn = lambda: train_policy(scenario, config, folder / "partial", {}, told.append, mesh).params
    learned = learn()
    facts["reports"] = len(told)
    again = learn()  # all of it is in the checkpoint
    facts["reports again"] = len(told) - facts["reports"]
    facts["the same"] = all(map(np.array_equal, jax.tree.leaves(learned), jax.tree.leaves(again)))
    metrics = [one.metrics[name] for one in told for name in ("episode/qoe", "loss/policy", "loss/value")]
    leaves = [*jax.tree.leaves(learned), *metrics]
    return {str(place): np.asarray(leaf) for place, leaf in enumerate(leaves)}


found = swept() if part == "sweep" else trained()
if jax.process_index() == 0:
    np.savez(folder / f"{part}-{sys.argv[3]}.npz", **found)
print(json.dumps(facts))
"""


def run(part: str, folder: Path, how: str, devices: int, processes: int = 1) -> tuple[dict, list[dict]]:
    """What a program computed, and the facts that each of its processes tells."""
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "PYTHONPATH": tests,
    }
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            environment["JAX_COORDINATOR_ADDRESS"] = f"127.0.0.1:{free.getsockname()[1]}"
        environment["JAX_NUM_PROCESSES"] = str(processes)
    folder.mkdir(exist_ok=True)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, part, str(folder), how, str(devices)],
            env=environment | ({"JAX_PROCESS_ID": str(index)} if processes > 1 else {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(processes)
    ]
    ended = [process.communicate(timeout=600) for process in started]
    for process, (_, errors) in zip(started, ended, strict=True):
        assert process.returncode == 0, errors[-3000:]
    facts = [json.loads(out.splitlines()[-1]) for out, _ in ended]
    return dict(np.load(folder / f"{part}-{how}.npz")), facts


def check_same(found: dict, expected: dict, rtol: float, atol: float) -> None:
    assert found.keys() == expected.keys() and found
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=rtol, atol=atol, err_msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one device computes of a part."""
    kept = {}

    def compute(part: str) -> dict:
        if part not in kept:
            folder = tmp_path_factory.mktemp("alone")
            kept[part] = run(part, folder, "alone", devices=1)[0]
        return kept[part]

    return compute


@pytest.mark.slow
def test_a_sweep_on_four_devices_is_that_of_one(tmp_path, alone):
    found, facts = run("sweep", tmp_path, "spread", devices=4)
    assert facts == [{"processes": 1, "devices": 4, "local": 4, "chunks": 18, "resumed": 12}]
    check_same(found, alone("sweep"), 1e-6, 0)


@pytest.mark.slow
def test_a_sweep_of_two_processes_is_that_of_one(tmp_path, alone):
    """Each has a folder of which the other knows nothing, so that no more than the first one's is ever used."""
    found, facts = run("sweep", tmp_path, "spread", devices=2, processes=2)
    assert facts == 2 * [{"processes": 2, "devices": 4, "local": 2, "chunks": 18, "resumed": 12}]
    check_same(found, alone("sweep"), 1e-6, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "processes"), [(4, 1), (2, 2)])
def test_training_spread_over_devices_learns_what_one_device_learns(tmp_path, alone, devices, processes):
    found, facts = run("train", tmp_path, "spread", devices, processes)
    for one in facts:
        assert one["devices"] == 4 and one["local"] == devices
        assert one["shape"] == [2, 3, 32] and one["shards"] == devices * [[2, 3, 8]]
        assert len(one["places"]) == devices  # no episode is played twice
        assert (one["reports"], one["reports again"], one["the same"]) == (2, 0, True)
    places = [place for one in facts for place in one["places"]]
    assert sorted(places) == [0, 8, 16, 24]
    check_same(found, alone("train"), 1e-4, 2e-5)


def test_where_arrays_lie():
    mesh = device_mesh(1)
    assert placement(mesh).spec == PartitionSpec()
    assert placement(mesh, 1).spec == PartitionSpec(None, ("devices",))
    assert device_mesh().size == len(jax.devices())
    with pytest.raises(ValueError, match=f"{len(jax.devices()) + 1} devices: there are {len(jax.devices())}"):
        device_mesh(len(jax.devices()) + 1)
    with pytest.raises(ValueError, match="0 devices"):
        device_mesh(0)


def test_a_process_by_itself_stays_alone(monkeypatch):
    for name in ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    assert join_processes() == 1 and from_first_process(lambda: 5) == 5
    monkeypatch.setenv("JAX_COORDINATOR_ADDRESS", "127.0.0.1:1")
    with pytest.raises(ValueError, match="JAX_NUM_PROCESSES and JAX_PROCESS_ID must be given too"):
        join_processes()
