"""How long one call of each quick command of `lameta` takes: as the first one, and as a later one.

    taskset -c 0 python experiments/benchmarks/startup.py [--repeats 5]

Every call is a process of its own, timed from its start to its end; commands take turns. A first call finds an empty
folder of compiled programs, a later one what the first has left there. Python's bytecode has been written by a call
that does not count, as it is once after an installation; where PYTHONDONTWRITEBYTECODE forbids that, as in some
containers, Python compiles jax itself in every call, which is measured too.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import ROOT, report, write_results

from lameta_jax.scale.timing import machine, summarised  # noqa: E402

NETWORK = str(ROOT / "examples" / "my-network.yaml")
CHAIN = "search-1,writer-7b,artist-1"
PROMPT = "The keynote starts in two minutes and slide 9 is blank, any picture of a bridge will do"
COMMANDS = {
    "--help": ["--help"],
    "evaluate": ["evaluate", "--network", NETWORK, "--chain", CHAIN],
    "optimum": ["optimum", "--network", NETWORK, "--preference", "0.7,0.1,0.1,0.1"],
    "network show": ["network", "show", NETWORK],
    "simulate": ["simulate", "--network", NETWORK, "--chain", CHAIN],
    "intent": ["intent", PROMPT],
    "compose": ["compose", PROMPT, "--network", NETWORK],
}
UNSET = ("PYTHONDONTWRITEBYTECODE", "JAX_COMPILATION_CACHE_DIR", "LAMETA_CACHE_DIR")


def seconds(command: list[str], cache: Path, bytecode: Path | None) -> float:
    """Wall time of one call. `bytecode` None: Python reads and writes none."""
    environment = {name: value for name, value in os.environ.items() if name not in UNSET}
    environment |= {"LAMETA_CACHE_DIR": str(cache), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    if bytecode is None:
        environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPYCACHEPREFIX": os.path.join(cache, "none")}
    else:
        environment |= {"PYTHONPYCACHEPREFIX": str(bytecode)}
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "lameta_jax.cli", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - begun


def measure(repeats: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Seconds of all calls by command and kind."""
    bytecode = folder / "bytecode"
    times: dict[str, dict[str, list[float]]] = {
        name: {"first": [], "later": [], "later_without_bytecode": []} for name in COMMANDS
    }
    for command in COMMANDS.values():
        seconds(command, folder / "not-counted", bytecode)
    for turn in range(repeats):
        for place, (name, command) in enumerate(COMMANDS.items()):
            # A folder for each: commands share some of their programs.
            cache = folder / f"{turn}-{place}"
            times[name]["first"].append(seconds(command, cache, bytecode))
            times[name]["later"].append(seconds(command, cache, bytecode))
            times[name]["later_without_bytecode"].append(seconds(command, cache, None))
        report(f"repeat {turn + 1} of {repeats}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    repeats, started = parser.parse_args().repeats, time.time()
    if repeats < 1:
        parser.error("--repeats must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        times = measure(repeats, Path(folder))
    results = {
        "machine": machine(),
        "repeats": repeats,
        "seconds": {
            name: {kind: summarised(values)._asdict() for kind, values in kinds.items()}
            for name, kinds in times.items()
        },
    }
    for name, kinds in results["seconds"].items():
        report(f"{name}: " + ", ".join(f"{kind} {timing['median']:.2f} s" for kind, timing in kinds.items()))
    report(f"wrote {write_results('startup', results, seeds=[], started=started)}")


if __name__ == "__main__":
    main()
