"""Both stages over five seeds: E-LAM errors and realised QoE of every composer, against the exact optimum.

    python experiments/main_comparison.py            # writes experiments/results/main_comparison.json
    python experiments/main_comparison.py --ship     # also stores seed 0's policy inside the package

A seed draws the decoders' and the policies' initial weights and all episodes; the test users (40 per application)
are the same for all seeds. Finished seeds are kept under runs/main_comparison and not run again.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import numpy as np
from common import RUNS, interval, report, write_results

from lameta_jax.composition.policy_files import TrainedPolicy, save_policy
from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.composition import (
    CompositionConfig,
    compare_composers,
    fractions,
    measure_single_elams,
    train_composer,
    train_even_composer,
    training_pools,
)
from lameta_jax.pipeline.distillation import cross_translate, distil_decoder, distil_raw, read_intents
from lameta_jax.pipeline.intents import IntentConfig, IntentData, prepare_intents
from lameta_jax.pipeline.rows import elam_error, yardstick_rows

SEEDS = [0, 1, 2, 3, 4]
SIZES = tuple(ELAM_LAYERS)
FOLDER = RUNS / "main_comparison"


def distil_all(seed: int, data: IntentData, config: IntentConfig):
    """E-LAMs of both sizes and applications: errors, translations of the test and of the training prompts."""
    errors, test, crossed = {}, {name: [] for name in BENCHMARKS}, {name: [] for name in BENCHMARKS}
    for size, key in zip(SIZES, jax.random.split(jax.random.key(seed), len(SIZES)), strict=True):
        raw = distil_raw(key, size, data.history, config)
        for name, part in data.applications.items():
            model, _ = distil_decoder(key, raw, part, data.history, config.method)
            for method, distilled in {"raw": raw, "iokd": model}.items():
                error = elam_error(distilled, part.test)
                errors[f"{name} {method} {size}"] = {
                    "mse": error.mse,
                    "mae": error.mae,
                    "failure_rate": error.failure_rate,
                }
            test[name].append(read_intents(model, part.test.levels).preferences)
            crossed[name].append(cross_translate(key, raw, part, data.history, config.method))
    return errors, *(
        {name: np.stack(parts, axis=1) for name, parts in group.items()} for group in (test, crossed)
    )


def run_seed(seed: int, data: IntentData, ship: bool) -> dict:
    """Everything of one seed."""
    config, scenario = CompositionConfig(), load_named("lameta-81")
    errors, test, crossed = distil_all(seed, data, IntentConfig())
    key_policy, key_even, key_measure = jax.random.split(jax.random.key(1000 + seed), 3)
    trained = {name: part.training.preferences for name, part in data.applications.items()}
    srl_users, even_users = training_pools(trained, crossed)
    started = time.time()
    srl = train_composer(key_policy, scenario, srl_users, config)
    seconds = time.time() - started
    even = train_even_composer(key_even, scenario, even_users, config)
    if ship:
        path = Path("lameta_jax/data/policies/pointer.safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        save_policy(path, TrainedPolicy(config=srl.policy_config, params=srl.params))
    composition = {}
    for name, part in data.applications.items():
        preferences = part.test.preferences
        composers = {"SRL": srl.actor}
        outcomes = compare_composers(
            key_measure, scenario, preferences, test[name], composers, even.actor, config
        )
        outcomes |= measure_single_elams(key_measure, scenario, preferences, test[name], srl.actor, config)
        shares = fractions(outcomes)
        for method, outcome in outcomes.items():
            composition[f"{name} {method}"] = {
                "qoe": float(outcome.qoe.mean()),
                "net_qoe": float(outcome.net_qoe.mean()),
                "fraction": float(shares[method].mean()),
                "feasible": float(outcome.feasible.mean()),
                "elam_calls": outcome.elam_calls.mean(axis=0).tolist(),
            }
    return {"elam": errors, "composition": composition, "srl_training_seconds": seconds}


def over_seeds(runs: list[dict], part: str, fields: tuple[str, ...]) -> dict:
    """Mean and 95% interval over the seeds of every number of a part."""
    return {
        name: {field: interval([run[part][name][field] for run in runs]) for field in fields}
        for name in runs[0][part]
    }


def verdicts(runs: list[dict], composition: dict) -> dict:
    """What the study claims, as numbers: shares of the plug-in optimum and whether intervals overlap."""
    claims = {}
    for name in BENCHMARKS:
        claims[f"{name} SRL (own preference) / optimum"] = composition[f"{name} SRL (own preference)"][
            "fraction"
        ]
        for size in SIZES:
            ratios = [
                run["composition"][f"{name} SRL with {size}"]["fraction"]
                / run["composition"][f"{name} plug-in optimum ({size})"]["fraction"]
                for run in runs
            ]
            claims[f"{name} SRL with {size} / plug-in optimum ({size})"] = interval(ratios)
        low = composition[f"{name} SRL"]["qoe"]["low"]
        for baseline in ("random", "greedy", "DRL-even"):
            claims[f"{name} SRL above {baseline}, intervals apart"] = bool(
                low > composition[f"{name} {baseline}"]["qoe"]["high"]
            )
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ship", action="store_true", help="store seed 0's policy inside the package")
    ship = parser.parse_args().ship
    started = time.time()
    FOLDER.mkdir(parents=True, exist_ok=True)
    report("encoding the corpus")
    data = prepare_intents(SentenceEncoder(), RecordedTeacher(), BENCHMARKS, IntentConfig())
    runs = []
    for seed in SEEDS:
        path = FOLDER / f"seed-{seed}.json"
        if not path.exists() or (ship and seed == 0):
            path.write_text(json.dumps(run_seed(seed, data, ship and seed == 0)))
        runs.append(json.loads(path.read_text()))
        report(f"seed {seed} done after {time.time() - started:.0f} s")
    composition = over_seeds(runs, "composition", ("qoe", "net_qoe", "fraction", "feasible"))
    yardsticks = {
        name: yardstick_rows(part, data.history, RecordedTeacher())
        for name, part in data.applications.items()
    }
    sizes = {
        name: {
            "training": len(part.training.records),
            "relevant": part.num_relevant,
            "synthetic": part.num_synthetic,
        }
        for name, part in data.applications.items()
    }
    results = {
        "note": "Prompts were written and annotated by large language models; there were no human annotators. "
        "QoE is subjective QoE (power form), fees apart; latency enters in minutes. Intervals: 95%, over seeds.",
        "verdicts": verdicts(runs, composition),
        "elam": over_seeds(runs, "elam", ("mse", "mae", "failure_rate")),
        "yardsticks": yardsticks,
        "composition": composition,
        "data": sizes,
        "seeds": runs,
    }
    report(f"wrote {write_results('main_comparison', results, seeds=SEEDS, started=started)}")


if __name__ == "__main__":
    main()
