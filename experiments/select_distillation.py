"""Choose the E-LAM hyperparameters by five-fold cross-validation; no benchmark test prompt is read.

Every fold leaves out a fifth of the application's D_IoKD: the raw model does not see it in the history either.
Writes experiments/results/select_distillation.json.
"""

import time
from dataclasses import replace

import jax
import numpy as np
from common import report, write_results

from lameta_jax.distillation.metrics import translation_error
from lameta_jax.distillation.train import IoKDConfig, TrainerConfig
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.intents import (
    IntentConfig,
    IntentData,
    Labelled,
    distil_iokd,
    distil_raw,
    prepare_intents,
    read_intents,
)

FOLDS = 5
PRETRAINING = {
    f"steps={steps} weight_decay={decay}": TrainerConfig(num_steps=steps, weight_decay=decay)
    for steps, decay in [(100, 1.0), (200, 1.0), (200, 2.0)]
}
IOKD = {
    f"beta={beta} slope={slope} anchor={anchor} steps={steps} weight_decay={decay}": IoKDConfig(
        beta_base=beta,
        beta_slope=slope,
        anchor_weight=anchor,
        trainer=TrainerConfig(num_steps=steps, weight_decay=decay),
    )
    for beta, slope, anchor, steps, decay in [
        (0.1, 1.0, 0.0, 200, 1.0),
        (0.1, 1.0, 0.03, 200, 1.0),
        (0.1, 1.0, 0.1, 200, 1.0),
        (0.1, 1.0, 1.0, 200, 1.0),
        (0.03, 1.0, 0.1, 200, 1.0),
        (0.1, 0.0, 0.1, 200, 1.0),
        (0.1, 1.0, 0.1, 200, 2.0),
        (0.1, 1.0, 0.1, 400, 1.0),
    ]
}


def split(group: Labelled, keep: np.ndarray) -> Labelled:
    return Labelled(tuple(np.array(group.records, dtype=object)[keep]), group.levels[keep])


def fold_errors(data: IntentData, config: IntentConfig, method: str, size: str) -> dict[str, float]:
    """Mean held-out MSE over the folds, per application."""
    errors = {}
    for name, application in data.applications.items():
        order = np.random.default_rng(0).permutation(len(application.training.records)) % FOLDS
        values = []
        for fold in range(FOLDS):
            held_out = split(application.training, order == fold)
            hidden = {record.id for record in held_out.records}
            history = split(
                data.history, np.array([record.id not in hidden for record in data.history.records])
            )
            model = distil_raw(jax.random.key(fold), size, history, config)
            if method == "iokd":
                rest = application._replace(training=split(application.training, order != fold))
                model, _ = distil_iokd(model, rest, history, config)
            predicted = read_intents(model, held_out.levels)
            values.append(translation_error(predicted.preferences, held_out.preferences).mse)
        errors[name] = float(np.mean(values))
    return errors


def main() -> None:
    started = time.time()
    config = IntentConfig()
    report("encoding the corpus")
    data = prepare_intents(SentenceEncoder(), RecordedTeacher(), BENCHMARKS, config)
    results: dict[str, dict] = {"raw": {}, "iokd": {}}
    for label, trainer in PRETRAINING.items():
        results["raw"][label] = fold_errors(data, replace(config, pretraining=trainer), "raw", "large")
        report(f"raw {label}: {results['raw'][label]}")
    best = min(PRETRAINING, key=lambda label: sum(results["raw"][label].values()))
    config = replace(config, pretraining=PRETRAINING[best])
    for label, iokd in IOKD.items():
        results["iokd"][label] = fold_errors(data, replace(config, iokd=iokd), "iokd", "large")
        report(f"iokd {label}: {results['iokd'][label]}")
    chosen = {"raw": best, "iokd": min(IOKD, key=lambda label: sum(results["iokd"][label].values()))}
    summary = {"elam": "large", "folds": FOLDS, "held_out_mse": results, "chosen": chosen}
    report(
        f"wrote {write_results('select_distillation', summary, seeds=list(range(FOLDS)), started=started)}"
    )


if __name__ == "__main__":
    main()
