"""What every experiment shares: results files that say how they were made, intervals, progress."""

import json
import platform
import sys
import time
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp

from lameta_jax.statistics import mean_interval

RESULTS = Path(__file__).parent / "results"
RUNS = Path(__file__).parents[1] / "runs"  # what a study keeps to be resumed
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jraph", "distrax")


def write_results(
    name: str, results: dict, *, seeds: list[int], started: float, folder: Path = RESULTS
) -> Path:
    """Write `<folder>/<name>.json` with the command, seeds, versions and device that made it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    made_by = {
        "command": "python " + " ".join(["experiments/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "seeds": seeds,
        "versions": {"python": platform.python_version()}
        | {item: metadata.version(item) for item in PACKAGES},
        "device": str(jax.devices()[0].platform),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.time() - started, 1),
    }
    path.write_text(json.dumps({"made_by": made_by, **results}, indent=1) + "\n")
    return path


def interval(values) -> dict[str, float]:
    """Mean with a 95% t interval over independent runs or users."""
    return {name: float(value) for name, value in mean_interval(jnp.asarray(values, float))._asdict().items()}


def report(text: str) -> None:
    """Progress on standard error."""
    print(text, file=sys.stderr, flush=True)
