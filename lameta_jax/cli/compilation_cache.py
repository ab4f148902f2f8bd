"""Programs that `lameta` has compiled, kept for its next call. Light to import: no jax.

jax reads its settings from the environment when it is imported, and so do the programs that a command starts. Using
the package from Python changes nothing: there the cache is up to whoever imports jax.
"""

import hashlib
import os
import platform
import warnings
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import NamedTuple

from lameta_jax.scale.cores import usable_cores

MAX_BYTES = 256_000_000  # of all folders below `compiled`; a command leaves 0.1 to 5 MB
SUBFOLDER = "compiled"  # data sets may lie beside it
# Lines of Linux's description, on x86 and ARM and RISC-V.
_DESCRIBE_A_PROCESSOR = ("model name", "flags", "Features", "CPU implementer", "CPU part", "isa")


class Entry(NamedTuple):
    """One file of the cache."""

    last_used: float  # seconds since 1970, to a day or so: file systems note reading no more often
    size: int  # bytes
    path: str


def switch_on(environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """Let jax, which must not have been imported yet, keep what it compiles. Says nothing and never fails.

    Args:
      environment: `LAMETA_CACHE_DIR` names the folder, by default `lameta_jax` in `$XDG_CACHE_HOME` or `~/.cache`; if
        it is empty, nothing is kept. With `JAX_COMPILATION_CACHE_DIR` jax's own settings hold. It is changed.

    Returns:
      The folder of programs for these processors; None where nothing is kept by us, or no folder can be written.
    """
    parent = cache_folder(environment)
    if parent is None or "JAX_COMPILATION_CACHE_DIR" in environment:
        return None
    folder = parent / SUBFOLDER / processors()
    try:
        # Whoever may write programs there decides what this user's processes run.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return None
        prune(parent / SUBFOLDER, MAX_BYTES)
    except (OSError, ValueError):  # read-only, full, no folder, no path
        return None
    environment["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # Most of our programs are small, and they are many.
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # A damaged entry, or a disk that fills up, costs time but changes nothing: the program is compiled as ever.
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")
    return folder


def cache_folder(environment: MutableMapping[str, str]) -> Path | None:
    """Where things may be kept that can be made again; None if the user wants it nowhere, or has no home."""
    named = environment.get("LAMETA_CACHE_DIR")
    if named is not None:
        return Path(named).absolute() if named else None
    base = environment.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):  # which the XDG specification wants to be ignored
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return Path(base) / "lameta_jax"


def processors() -> str:
    """A name for processors that run the same programs, as homes are shared by unequal machines.

    jax's keys hold what it is told about the processor. If that misses something, XLA runs the program regardless.
    """
    lines = {platform.machine(), platform.system()}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            lines |= {line for line in file if line.startswith(_DESCRIBE_A_PROCESSOR)}
    except OSError:  # not Linux
        lines.add(platform.processor())
    digest = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
    # XLA splits the work of a program among the cores there are when it is compiled.
    return f"{platform.machine() or 'unknown'}-{digest[:16]}-{usable_cores()}"


def prune(folder: Path, max_bytes: int) -> None:
    """Remove files that were not used for longest until the others take half of what is allowed; nothing if they fit.

    jax's own limit takes a lock for every program it reads, which shared homes may not grant, and needs `filelock`.
    """
    found = list(entries(folder))
    total = sum(entry.size for entry in found)
    if total <= max_bytes:
        return
    for entry in sorted(found):
        if total <= max_bytes // 2:
            break
        Path(entry.path).unlink(missing_ok=True)  # another `lameta` may have been faster
        total -= entry.size


def entries(folder: Path) -> Iterator[Entry]:
    """All files in a folder and those below; what vanishes meanwhile is left out."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                status = os.stat(path, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield Entry(max(status.st_atime, status.st_mtime), status.st_size, path)
