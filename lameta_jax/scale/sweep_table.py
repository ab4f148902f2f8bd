"""Results of a sweep as tables: one row per run, and one per configuration with intervals over seeds."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lameta_jax.scale.checkpoint import write_whole
from lameta_jax.statistics import bootstrap_interval, interquartile_mean

Table = Mapping[str, Sequence[Any]]


def configurations(table: Table, settings: Sequence[str], metric: str) -> dict[str, list[Any]]:
    """One row per configuration, best first: interquartile mean over seeds with a 95% bootstrap interval.

    Runs whose metric is not finite count as failed and are left out of the mean; a configuration all of whose runs
    failed is last.

    Args:
      table: of runs.
      settings: columns that make a configuration.
      metric: the column to compare by; greater is better.
    """
    rows: dict[tuple, list[float]] = {}
    for place, value in enumerate(table[metric]):
        rows.setdefault(tuple(table[name][place] for name in settings), []).append(value)
    found = [(one, *_summary(np.asarray(values))) for one, values in rows.items()]
    found.sort(key=lambda row: -row[1] if np.isfinite(row[1]) else np.inf)
    columns = [f"{metric}_iqm", f"{metric}_low", f"{metric}_high", "seeds", "failed"]
    summaries = zip(*(row[1:] for row in found), strict=True)
    by_setting = {name: [row[0][place] for row in found] for place, name in enumerate(settings)}
    return by_setting | {name: list(values) for name, values in zip(columns, summaries, strict=True)}


def _summary(values: np.ndarray) -> tuple[float, float, float, int, int]:
    good = values[np.isfinite(values)]
    failed = len(values) - len(good)
    if not len(good):
        return float("nan"), float("nan"), float("nan"), len(values), failed
    interval = bootstrap_interval(jax.random.key(0), jnp.asarray(good), interquartile_mean)
    return float(interval.mean), float(interval.low), float(interval.high), len(values), failed


def write_csv(path: Path, table: Table) -> None:
    """Comma-separated values with a head line; numbers to the last digit.

    Raises:
      CheckpointError: it cannot be written.
    """

    def write(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(table)
            writer.writerows(zip(*table.values(), strict=True))

    write_whole(path, write)


def write_parquet(path: Path, table: Table) -> None:
    """The same table with types, as Apache Parquet; needs the extra `sweep`.

    Raises:
      CheckpointError: it cannot be written.
      ModuleNotFoundError: pyarrow is missing.
    """
    import pyarrow
    from pyarrow import parquet

    arrow = pyarrow.table({name: list(values) for name, values in table.items()})
    write_whole(path, lambda draft: parquet.write_table(arrow, draft))
