"""LAMeTA Fig. 5: what users of two applications want, and whether the C-LAM's synthetic samples want the same.

    lameta reproduce fig5             # or python experiments/fig5.py [--out DIR]

The distance between two groups is the energy distance of their preference vectors (Szekely and Rizzo, 2013); how large
it is by chance follows from splitting the pooled vectors at random. Nothing is trained.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from common import RESULTS, report, write_results
from figures import preference_heatmaps
from iokd_study import TITLES

from lameta_jax.intents.augmentation import synthesise
from lameta_jax.intents.corpus import BENCHMARKS, load_benchmark, load_history, preferences_of
from lameta_jax.intents.teacher import RecordedTeacher

SEED, NUM_SPLITS = 0, 2000
PAPER = {"multimedia": "capability, then information", "qa": "latency and capability"}


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.linalg.norm(first[:, None] - second[None], axis=-1)


def energy_distance(pairs: np.ndarray, first: np.ndarray) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| from all pairwise distances; `first` says who belongs to X."""
    x, y = first.astype(float) / first.sum(), (~first).astype(float) / (~first).sum()
    return float(2 * x @ pairs @ y - x @ pairs @ x - y @ pairs @ y)


def compare(real: np.ndarray, synthetic: np.ndarray) -> dict:
    """Means, and the energy distance beside what chance makes of it."""
    pooled = np.concatenate([real, synthetic])
    pairs = distances(pooled, pooled)
    first = np.arange(len(pooled)) < len(real)
    generator = np.random.default_rng(SEED)
    found = energy_distance(pairs, first)
    by_chance = [energy_distance(pairs, generator.permutation(first)) for _ in range(NUM_SPLITS)]
    return {
        "real_mean": real.mean(axis=0).round(4).tolist(),
        "synthetic_mean": synthetic.mean(axis=0).round(4).tolist(),
        "real_deviation": real.std(axis=0, ddof=1).round(4).tolist(),
        "synthetic_deviation": synthetic.std(axis=0, ddof=1).round(4).tolist(),
        "energy_distance": found,
        "energy_distance_by_chance_95": float(np.quantile(by_chance, 0.95)),
        "p_value": (1 + sum(value >= found for value in by_chance)) / (1 + NUM_SPLITS),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results file and figures")
    out, started = parser.parse_args().out, time.time()
    out.mkdir(parents=True, exist_ok=True)
    teacher, history = RecordedTeacher(), load_history()
    groups, applications = {}, {}
    for name in BENCHMARKS:
        benchmark = load_benchmark(name)
        own = [record for record in history if record.application == name]
        samples = synthesise(teacher, teacher.requests("augment", name)).records
        real, synthetic, past = map(preferences_of, (sum(benchmark, ()), samples, own))
        groups[TITLES[name]] = {"real": real, "synthetic": synthetic, "own history": past}
        applications[name] = {
            "paper_says_users_want": PAPER[name],
            "real_against_synthetic": compare(real, synthetic),
            "real_against_own_history": compare(real, past),
        }
        report(f"{name}: {applications[name]['real_against_synthetic']}")
    preference_heatmaps(out / "fig5.png", groups)
    path = write_results("fig5", {"applications": applications}, seeds=[SEED], started=started, folder=out)
    print(json.dumps({"results": str(path), "figure": str(out / "fig5.png")}))


if __name__ == "__main__":
    main()
