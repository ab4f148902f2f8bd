"""What `lameta sweep` tells and writes: progress, tables, the best policies, a figure."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lameta_jax.cli.common import say
from lameta_jax.cli.sweep_figure import save_sweep_figure
from lameta_jax.composition.policy_files import save_policy
from lameta_jax.pipeline.policy_sweep import PolicySweep
from lameta_jax.scale.checkpoint import write_whole
from lameta_jax.scale.sweep import Progress, Swept
from lameta_jax.scale.sweep_table import configurations, write_csv, write_parquet
from lameta_jax.scale.width import seconds_per_run

METRIC = "score"  # of `PolicySweep.train`
SHOWN = 5  # configurations in the printed table
SECONDS_PER_LINE = 2  # of progress, at least


def reporter() -> Callable[[Progress], None]:
    """Says how a sweep goes."""
    begun = last = time.time()

    def report(told: Progress) -> None:
        nonlocal last
        if told.resumed:
            if told.done == told.total:
                say(f"all {told.total} runs were done before")
            return
        chunk, now = told.chunk, time.time()
        if not chunk.compile_seconds and now < last + SECONDS_PER_LINE and told.done < told.total:
            return
        last = now
        compiled = f", compiled in {chunk.compile_seconds:.0f} s" if chunk.compile_seconds else ""
        say(
            f"run {told.done} of {told.total}: best {told.best:.4f}; {chunk.width} at once, "
            f"{chunk.seconds / chunk.count:.2f} s per run{compiled}; {now - begun:.0f} s, "
            f"about {told.seconds_left:.0f} s left"
        )

    return report


def write_results(out: Path, trained: PolicySweep, settings: Sequence[str], swept: Swept) -> dict[str, Any]:
    """Write everything but the chunks into a folder; the summary, which is one of the files.

    Raises:
      CheckpointError: a file cannot be written.
    """
    ranking = configurations(swept.table, settings, METRIC)
    files = {"runs": "runs.csv", "configurations": "configurations.csv", "figure": "sweep.png"}
    write_csv(out / files["runs"], swept.table)
    write_csv(out / files["configurations"], ranking)
    save_sweep_figure(ranking, settings, METRIC, out / files["figure"])
    try:
        write_parquet(out / "runs.parquet", swept.table)
        files["parquet"] = "runs.parquet"
    except ModuleNotFoundError:
        say("no Parquet table: it needs pip install 'lameta_jax[sweep]'; runs.csv holds the same")
    best_runs = []
    for place, kept in enumerate(swept.best):
        columns = {name: swept.table[name][kept.run] for name in settings}
        policy, name = trained.policy(columns, kept.result), f"policy-{place + 1}.safetensors"
        write_whole(out / name, lambda draft, own=policy: save_policy(draft, own))
        best_runs.append({"run": kept.run, METRIC: kept.score, "policy": str(out / name)})
    best = {name: values[0] for name, values in ranking.items()}
    summary = {
        "runs": len(swept.table["run"]),
        "best": best | {"test_share": _test_share(swept.table, {name: best[name] for name in settings})},
        "configurations": {name: values[:SHOWN] for name, values in ranking.items()},
        "best_runs": best_runs,
        "seconds_per_run": _by_width(swept),
        "files": {name: str(out / file) for name, file in files.items()},
    }
    write_whole(out / "sweep.json", lambda draft: draft.write_text(json.dumps(summary, indent=1) + "\n"))
    return summary


def rows(summary: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The best configurations, what the best gives to users that nothing was chosen by, and how fast runs were."""
    found = summary["configurations"]
    settings = [name for name, values in found.items() if name not in _MEASURED and _varies(name, found)]
    shown = [("", *settings, "share of the optimum", "95% interval", "seeds")]
    for place in range(len(found["seeds"])):
        low, high = found[f"{METRIC}_low"][place], found[f"{METRIC}_high"][place]
        shown.append(
            (
                str(place + 1),
                *(_text(found[name][place]) for name in settings),
                f"{found[f'{METRIC}_iqm'][place]:.4f}",
                f"{low:.4f} to {high:.4f}",
                str(found["seeds"][place]),
            )
        )
    return shown


def remarks(summary: Mapping[str, Any]) -> list[str]:
    """What is to be said beside the table."""
    told = [f"test users get {summary['best']['test_share']:.4f} of the optimum from the best configuration"]
    for times in summary["seconds_per_run"]:
        fastest = min(times, key=lambda width: times[width])
        others = ", ".join(f"{time:.3g} s {_at_once(width)}" for width, time in times.items())
        told.append(f"seconds per run: {others}; the rest was done {_at_once(fastest)}")
    return [*told, f"tables, figure and the best policies are in {Path(summary['files']['runs']).parent}"]


_MEASURED = (f"{METRIC}_iqm", f"{METRIC}_low", f"{METRIC}_high", "seeds", "failed")


def _varies(name: str, found: Mapping[str, Sequence[Any]]) -> bool:
    return name not in ("network", "preference") or len(set(found[name])) > 1


def _at_once(width: int) -> str:
    return "one by one" if width == 1 else f"{width} at once"


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _test_share(table: Mapping[str, Sequence[Any]], settings: Mapping[str, Any]) -> float:
    """Mean over the seeds of a configuration."""
    return float(
        np.mean(
            [
                value
                for place, value in enumerate(table["test_share"])
                if all(table[name][place] == given for name, given in settings.items())
            ]
        )
    )


def _by_width(swept: Swept) -> list[dict[int, float]]:
    """For every program, the seconds that a run took by how many were done at once; none where trials are many."""
    return [
        seconds_per_run(chunk for chunk in swept.chunks if chunk.group == number)
        for number in sorted({chunk.group for chunk in swept.chunks})
    ]
