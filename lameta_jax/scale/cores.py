"""The cores of the processor that this process may use. Light to import: no jax."""

import contextlib
import os


def usable_cores() -> int:
    """How many there are, fewer than the machine has where the process is bound to some."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cores_as_devices(devices: int | None = None) -> None:
    """Makes every core of a processor a device of jax, so that work is done side by side; before anything is computed.

    Args:
      devices: how many; none: one per core.
    """
    import jax

    with contextlib.suppress(RuntimeError):  # where jax has been used before, devices are what they are
        jax.config.update("jax_num_cpu_devices", devices or usable_cores())
