"""LAMeTA Fig. 6: how well intents are read, all methods, two E-LAM sizes, two applications, ten seeds.

    lameta reproduce fig6             # or python experiments/fig6.py [--seeds 10] [--out DIR] [--ship]

Every trained method starts from the same raw E-LAM of a seed and learns from the same D_IoKD with the hyperparameters
that experiments/select_distillation.py chose on validation prompts. "frozen" trains the decoder only; "LoRA" fine-tunes
the encoder's last layer too. "raw" has read all of the history, 75 prompts of the application among it; "raw, of other
applications" has not. Intervals are 95% t intervals over seeds; comparisons are paired by seed, and beside them
by test prompt, which also carries the chance of having drawn these 40 prompts.
"""

import numpy as np
from common import arguments, finish, interval, report
from figures import error_bars
from iokd_study import TITLES, Cell, Study

from lameta_jax.distillation.methods import METHODS
from lameta_jax.elam.distilled_files import save_distilled
from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.shipped import shipped_path
from lameta_jax.intents.corpus import BENCHMARKS, digest
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.rows import yardstick_rows

FROZEN = ("sft", "dpo", "dpo, anchored", "iokd, no anchor", "iokd")
LORA = ("dpo", "iokd")
FIELDS = ("mse", "mae", "failure_rate", "reward_margin", "reward_accuracy", "calibration_error")
PAPER = {  # Sec. VI-B: MSE of the raw models, and by how much IoKD is below DPO
    "raw MSE, large": {"multimedia": 0.0234, "qa": 0.0282},
    "IoKD below DPO, large": {"multimedia": 0.216, "qa": 0.051},
    "IoKD below DPO, small": {"multimedia": 0.041, "qa": 0.225},
}


def measure_all(study: Study, seeds: list[int]) -> dict[tuple[str, str, str], list[dict]]:
    """Runs by size, application and label, one per seed."""
    runs: dict[tuple[str, str, str], list[dict]] = {}

    def measure(cell: Cell, make) -> None:
        runs.setdefault(cell[1:], []).append(study.measure(cell, make))

    cells = [(seed, size, name) for seed in seeds for size in ELAM_LAYERS for name in BENCHMARKS]
    for place in cells:
        measure(Cell(*place, "raw"), lambda place=place: study.raw(*place[:2]))
        cell = Cell(*place, "raw, of other applications")
        measure(cell, lambda cell=cell: study.raw_of_others(cell))
        for method in FROZEN:
            cell, config = Cell(*place, f"{method}, frozen"), METHODS[method]
            measure(cell, lambda cell=cell, config=config: study.frozen(cell, config))
    for method in LORA:
        for place in cells:
            cell, config = Cell(*place, f"{method}, LoRA"), METHODS[method]
            measure(cell, lambda cell=cell, config=config: study.fine_tuned(cell, config))
    return runs


def summary(runs: list[dict]) -> dict:
    """Of one method: every figure with its interval over seeds."""
    row = {field: interval([run[field] for run in runs]) for field in FIELDS}
    row["factor_mae"] = np.mean([run["factor_mae"] for run in runs], axis=0).round(5).tolist()
    return row | {"seconds": float(np.median([run["seconds"] for run in runs])), "seeds": len(runs)}


def comparison(better: list[dict], worse: list[dict]) -> dict:
    """MSE of the first minus that of the second, paired by seed and by prompt, and their ratio."""
    first, second = ([run["mse"] for run in runs] for runs in (better, worse))
    by_prompt = np.mean([run["squared_error"] for run in better], axis=0) - np.mean(
        [run["squared_error"] for run in worse], axis=0
    )
    return {
        "difference": interval(np.subtract(first, second)),
        "difference_by_prompt": interval(by_prompt),
        "ratio": interval(np.divide(first, second)),
    }


def ship(study: Study) -> None:
    """Store seed 0's fine-tuned IoKD models in the package."""
    for size in ELAM_LAYERS:
        for name in BENCHMARKS:
            model = study.fine_tuned(Cell(0, size, name, ""), METHODS["iokd"])
            notes = {
                "made_by": "experiments/fig6.py --ship",
                "seed": "0",
                "history_sha256": digest(study.data.history.records),
                "training_sha256": digest(study.data.applications[name].training.records),
            }
            save_distilled(shipped_path(size, name), model, notes)
            report(f"shipped {size} {name}")


def main() -> None:
    options = arguments("fig6", 10, __doc__, ship="store seed 0's fine-tuned models in the package")
    study = Study(options.runs)
    if options.ship:
        ship(study)
    seeds = list(range(options.seeds))
    runs = measure_all(study, seeds)
    pairs = [
        ("iokd", "raw"),
        ("iokd", "raw, of other applications"),
        ("iokd", "dpo"),
        ("iokd", "dpo, anchored"),
        ("iokd", "sft"),
    ]
    methods, comparisons = {}, {}
    for (size, name, label), found in runs.items():
        methods.setdefault(name, {}).setdefault(size, {})[label] = summary(found)
        for method, other in pairs:
            for encoder in ("frozen", "LoRA"):
                rival = other if other.startswith("raw") else f"{other}, {encoder}"
                if label == f"{method}, {encoder}" and (size, name, rival) in runs:
                    comparisons[f"{name} {size}: {label} - {rival}"] = comparison(
                        found, runs[size, name, rival]
                    )
    teacher = RecordedTeacher()
    yardsticks = {
        name: yardstick_rows(part, study.data.history, teacher)
        for name, part in study.data.applications.items()
    }
    results = {
        "note": "Prompts were written and annotated by large language models; there were no human annotators.",
        "paper": PAPER,
        "methods": methods,
        "comparisons": comparisons,
        "yardsticks": yardsticks,
    }
    error_bars(options.out / "fig6.png", methods, yardsticks, TITLES)
    finish("fig6", results, seeds=seeds, started=study.started, folder=options.out)


if __name__ == "__main__":
    main()
