"""Sweeps on a Ray of this machine, with workers and drivers killed: in processes of their own, as Ray stays in one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scale.test_sweep import SPACE, train

from lameta_jax.scale.chunks import SweepConfig
from lameta_jax.scale.space import grid_runs
from lameta_jax.scale.sweep import sweep

SEEDS = range(4)  # two programs of 24 runs
CONFIG = SweepConfig(width=4, keep=3)

DRIVER = """
    import json, os, signal, sys
    from functools import partial
    from pathlib import Path
    from lameta_jax.scale.ray_engine import WorkerError, ray_sweep
    from lameta_jax.scale.space import grid_runs
    from scale.test_ray_engine import CONFIG, SEEDS, deadly
    from scale.test_sweep import SPACE

    folder, kills, dies_at = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    told = []

    def report(progress):
        told.append(progress.resumed)
        if progress.done >= dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        found = ray_sweep(
            partial(deadly, str(folder / "kills"), kills), grid_runs(SPACE, SEEDS), CONFIG,
            folder=folder / "chunks", workers=2, tries=3, report=report,
        )
        best = [[one.run, float(one.result["rate"])] for one in found.best]
        print(json.dumps({"table": found.table, "best": best, "resumed": told}))
    except WorkerError as error:
        print(json.dumps({"error": str(error), "resumed": told}))
"""


def deadly(folder: str, kills: int):
    """Training whose process is killed in the middle of a chunk, `kills` times in all."""

    def strike(rate):
        if rate == 2.0:  # of the last chunks
            for number in range(kills):
                try:
                    (Path(folder) / str(number)).touch(exist_ok=False)
                except FileExistsError:
                    continue
                os.kill(os.getpid(), signal.SIGKILL)
        return np.zeros((), np.float32)

    def dies(settings, key):
        if settings["power"] == 2:
            zero = jax.pure_callback(
                strike, jax.ShapeDtypeStruct((), jnp.float32), settings["rate"], vmap_method="sequential"
            )
            settings = settings | {"rate": settings["rate"] + zero}
        return train(settings, key)

    return dies


def drive(folder: Path, kills: int = 0, dies_at: int = 10**6) -> tuple[int, dict]:
    """How a driver ended, and what it told."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'lameta_jax[ray]'")
    (folder / "kills").mkdir(parents=True, exist_ok=True)
    ended = subprocess.run(
        [sys.executable, "-c", "if True:" + DRIVER, str(folder), str(kills), str(dies_at)],
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        | {"PYTHONPATH": str(Path(__file__).parents[1]), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode in (0, -signal.SIGKILL), ended.stderr[-3000:]
    return ended.returncode, json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else {}


def check_same(found: dict, whole) -> None:
    assert found["table"].keys() == whole.table.keys()
    for name, values in whole.table.items():
        if isinstance(values[0], float):
            np.testing.assert_allclose(found["table"][name], values, rtol=1e-6)
        else:
            assert found["table"][name] == values


@pytest.fixture
def whole(tmp_path):
    return sweep(train, grid_runs(SPACE, SEEDS), CONFIG, folder=tmp_path / "whole")


@pytest.mark.slow
def test_two_workers_killed_in_the_middle_cost_nothing(tmp_path, whole):
    code, found = drive(tmp_path, kills=2)
    assert code == 0 and len(list((tmp_path / "kills").iterdir())) == 2
    check_same(found, whole)
    assert found["best"] == [[one.run, float(one.result["rate"])] for one in whole.best]
    assert found["resumed"] == 12 * [False]


@pytest.mark.slow
def test_a_killed_driver_loses_nothing_and_either_engine_ends_its_sweep(tmp_path, whole):
    code, _ = drive(tmp_path, dies_at=20)
    kept = len(list((tmp_path / "chunks").glob("*.chunk")))
    assert code == -signal.SIGKILL and kept == 5
    told = []
    groups = grid_runs(SPACE, SEEDS)
    # A chunk in the middle is missing as well, as when the workers are not equally fast.
    sorted((tmp_path / "chunks").glob("*.chunk"))[2].unlink()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in (tmp_path / "chunks").glob("*.chunk"):
        (copy / path.name).write_bytes(path.read_bytes())
    other = sweep(train, groups, CONFIG, folder=copy, report=lambda one: told.append(one.resumed))
    assert sum(told) == 4 and len(told) == 12
    check_same({"table": other.table}, whole)
    code, found = drive(tmp_path)
    assert code == 0 and found["resumed"] == 4 * [True] + 8 * [False]
    check_same(found, whole)


@pytest.mark.slow
def test_a_chunk_that_kills_every_worker_is_given_up_in_one_line(tmp_path):
    code, found = drive(tmp_path, kills=10**3)
    assert code == 0 and "\n" not in found["error"] and "3 workers were lost" in found["error"]
    starts = {path.stem for path in (tmp_path / "chunks").glob("*.chunk")}
    assert {f"group-000-run-{start:07d}" for start in range(0, 24, 4)} < starts
    assert len(starts) == 10  # the two with the rate that kills are missing
    assert "16 to 19 of program 1" in found["error"] and "20 to 23 of program 1" in found["error"]
