"""What every experiment shares: results files that say how they were made, intervals, options, times, progress."""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from lameta_jax.scale.timing import machine
from lameta_jax.statistics import mean_interval

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "experiments" / "results"
RUNS = ROOT / "runs"  # what a study keeps to be resumed
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "jraph", "distrax")


def write_results(
    name: str, results: dict, *, seeds: list[int], started: float, folder: Path = RESULTS
) -> Path:
    """Write `<folder>/<name>.json` with the command, seeds, versions, device and cores that made it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    made_by = {
        "command": " ".join(["python", _script(), *sys.argv[1:]]),
        "seeds": seeds,
        **machine(PACKAGES),
        "date": time.strftime("%Y-%m-%d"),
        "seconds": round(time.time() - started, 1),
    }
    path.write_text(json.dumps({"made_by": made_by, **results}, indent=1) + "\n")
    return path


def finish(name: str, results: dict, *, seeds: list[int], started: float, folder: Path) -> None:
    """The last thing a study does: write its results, and say where they and its figure are."""
    path = write_results(name, results, seeds=seeds, started=started, folder=folder)
    report(f"wrote {path}")
    print(json.dumps({"results": str(path), "figure": str(folder / f"{name}.png")}))


def _script() -> str:
    """The running program, relative to the root of the repository."""
    path = Path(sys.argv[0]).resolve()
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def interval(values) -> dict[str, float]:
    """Mean with a 95% t interval over independent runs or users."""
    return {name: float(value) for name, value in mean_interval(jnp.asarray(values, float))._asdict().items()}


def series(rows: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Intervals over seeds of a series, one row per seed: its points, and its last point less its first."""
    return {
        "points": [interval(values) for values in zip(*rows, strict=True)],
        "change": interval([row[-1] - row[0] for row in rows]),
    }


def mean_rows(rows: list[dict[str, float]]) -> dict[str, dict]:
    """Intervals over seeds of everything in rows, with the values of the seeds themselves."""
    return {
        name: interval([row[name] for row in rows]) | {"seeds": [row[name] for row in rows]}
        for name in rows[0]
    }


def members(tree: Any) -> list[Any]:
    """What a pytree of arrays with a leading axis holds, one by one."""
    count = jax.tree.leaves(tree)[0].shape[0]
    return [jax.tree.map(lambda leaf, index=index: leaf[index], tree) for index in range(count)]


def report(text: str) -> None:
    """Progress on standard error."""
    print(text, file=sys.stderr, flush=True)


def arguments(
    name: str,
    seeds: int,
    description: str | None,
    runs: str = "",
    presets: Sequence[str] = (),
    **switches: str,
) -> argparse.Namespace:
    """`--out`, `--seeds` and `--runs` of a study, `--preset` if it has any, and switches of its own with their help."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results file and figures")
    parser.add_argument("--seeds", type=int, default=seeds, help="how many, from 0")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs") / (runs or name), help="what was trained is kept here"
    )
    if presets:
        parser.add_argument("--preset", choices=presets, default="reduced", help="how much is run")
    for switch, meaning in switches.items():
        parser.add_argument(f"--{switch}", action="store_true", help=meaning)
    options = parser.parse_args()
    if options.seeds < min(seeds, 2):
        parser.error(f"--seeds {options.seeds} must be at least 2: an interval needs several")
    options.out.mkdir(parents=True, exist_ok=True)
    return options
