"""Many devices: a row of them as a mesh, processes that work together, and where arrays lie.

    join_processes()                                    # first of all, where several processes share the work
    mesh = device_mesh()
    task = composition_task(policy, networks, config, mesh=mesh)
    state = trainer.init(hyperparameters, jax.device_put(pool, placement(mesh)), key)

A mesh splits what a program does; the program and its random numbers stay the same, so that results differ from those
of one device by rounding alone.
"""

import os
import pickle
from collections.abc import Callable
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DEVICES = "devices"
"""Name of the one axis of `device_mesh`."""

_ADDRESS = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
T = TypeVar("T")


def device_mesh(count: int | None = None) -> Mesh:
    """A row of devices.

    Args:
      count: the first so many; none: all devices of all processes.

    Raises:
      ValueError: there are fewer devices, or some process would have none.
    """
    devices = jax.devices()
    count = len(devices) if count is None else count
    if not 1 <= count <= len(devices):
        raise ValueError(f"{count} devices: there are {len(devices)}")
    if len({device.process_index for device in devices[:count]}) < jax.process_count():
        raise ValueError(f"{count} devices: too few for {jax.process_count()} processes, each needs one")
    return jax.make_mesh((count,), (DEVICES,), axis_types=(AxisType.Auto,), devices=devices[:count])


def placement(mesh: Mesh, axis: int | None = None) -> NamedSharding:
    """Where arrays lie: a whole copy on every device, or spread over the mesh along an axis.

    For `jax.device_put` outside of programs, and for `jax.lax.with_sharding_constraint` inside.
    """
    parts = [] if axis is None else [None] * axis + [mesh.axis_names]
    return NamedSharding(mesh, PartitionSpec(*parts))


def join_processes(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> int:
    """Let the processes of one job see each other's devices; to be called before anything is computed.

    What is not given is taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID, or from SLURM where
    `srun` started several tasks.

    Args:
      coordinator: `host:port` of the first process.
      count: processes in all.
      index: of this process, from 0.

    Returns:
      How many processes there are; 1 where nothing says that there are several. No device has been touched, so that
      `jax_num_cpu_devices` can still be set.

    Raises:
      ValueError: some of the three are known and others are not.
      RuntimeError: the others cannot be reached, or something has been computed already.
    """
    coordinator = coordinator or os.environ.get(_ADDRESS[0])
    count = _number(_ADDRESS[1]) if count is None else count
    index = _number(_ADDRESS[2]) if index is None else index
    by_slurm = "SLURM_STEP_NODELIST" in os.environ and (_number("SLURM_NTASKS") or 1) > 1
    if not by_slurm:
        missing = [
            name for name, value in zip(_ADDRESS, (coordinator, count, index), strict=True) if value is None
        ]
        if len(missing) == len(_ADDRESS):
            return 1
        if missing:
            raise ValueError(f"{' and '.join(missing)} must be given too")
    jax.distributed.initialize(coordinator, count, index)
    return count or _number("SLURM_NTASKS") or 1


def from_first_process(make: Callable[[], T]) -> T:
    """What `make` gives in the first process, in all of them; with one process, no more than calling it.

    Every process must come here in the same order. What is not the same in all processes, such as times or the files
    that are there, must pass through here before anything is decided by it.
    """
    if jax.process_count() == 1:
        return make()
    # The others are told of an error too: they would wait for ever.
    value: T | Exception | None = None
    if jax.process_index() == 0:
        try:
            value = make()
        except Exception as error:
            value = error
    told = np.frombuffer(pickle.dumps(value), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.asarray(len(told))))
    sent = told if jax.process_index() == 0 else np.zeros(size, np.uint8)
    found = pickle.loads(np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes())
    if isinstance(found, Exception):
        raise found
    return found


def _number(name: str) -> int | None:
    value = os.environ.get(name)
    return int(value) if value else None
