"""Tables of sweeps, read back by other libraries."""

import csv
import importlib.util

import numpy as np
import pytest
from scipy import stats

from lameta_jax.scale.sweep_table import configurations, write_csv, write_parquet

TABLE = {
    "run": list(range(12)),
    "rate": [0.1] * 6 + [0.5] * 6,
    "name": ["a", "b"] * 6,
    "score": [0.1, 2.0, 0.3, 3.0, 0.2, 4.0, 9.0, float("nan"), 7.0, float("nan"), 8.0, float("nan")],
}


def test_configurations_are_ranked_by_the_interquartile_mean_of_their_seeds():
    found = configurations(TABLE, ["rate", "name"], "score")
    assert list(zip(found["rate"], found["name"], strict=True)) == [
        (0.5, "a"),
        (0.1, "b"),
        (0.1, "a"),
        (0.5, "b"),
    ]
    for place, values in enumerate(([9, 7, 8], [2, 3, 4], [0.1, 0.3, 0.2])):
        assert found["score_iqm"][place] == pytest.approx(stats.trim_mean(values, 0.25))
        low, high = found["score_low"][place], found["score_high"][place]
        assert (
            min(values) <= low + 1e-6
            and low < found["score_iqm"][place] < high
            and high <= max(values) + 1e-6
        )
    assert np.isnan(found["score_iqm"][3]) and found["failed"] == [0, 0, 0, 3] and found["seeds"] == [3] * 4


def test_csv_holds_every_digit(tmp_path):
    write_csv(tmp_path / "runs.csv", TABLE)
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(TABLE) and len(rows) == 12
    assert [float(row["rate"]) for row in rows] == TABLE["rate"]
    np.testing.assert_array_equal([float(row["score"]) for row in rows], TABLE["score"])


@pytest.mark.skipif(importlib.util.find_spec("pyarrow") is None, reason="needs the extra `sweep` (pyarrow)")
def test_parquet_holds_types(tmp_path):
    from pyarrow import parquet

    write_parquet(tmp_path / "runs.parquet", TABLE)
    found = parquet.read_table(tmp_path / "runs.parquet")
    assert [str(kind) for kind in found.schema.types] == ["int64", "double", "string", "double"]
    np.testing.assert_array_equal(found["score"].to_pylist(), TABLE["score"])
    assert found["name"].to_pylist() == TABLE["name"]
