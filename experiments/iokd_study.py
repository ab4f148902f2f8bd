"""What the studies of intent understanding share: the data, one training with its test error, kept to be resumed."""

import json
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common import report

from lameta_jax.distillation.losses import weighted_beta
from lameta_jax.distillation.methods import DistillationConfig
from lameta_jax.distillation.metrics import calibration_error, reward_statistics, translation_error
from lameta_jax.elam.model import Distilled, abstract_decoder, adapted_levels, log_probs_function
from lameta_jax.elam.sentence_encoder import SentenceEncoder, TrunkStates
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.preference import whole_percents
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.distillation import (
    distil_decoder,
    distil_raw,
    elam_trunk,
    features_of,
    fine_tune,
    preference_data,
    read_intents,
    training_states,
)
from lameta_jax.pipeline.intents import ApplicationData, IntentConfig, prepare_intents

TITLES = {"multimedia": "multimedia (application 1)", "qa": "question answering (application 2)"}


class Cell(NamedTuple):
    """One training of a study."""

    seed: int
    size: str  # of the E-LAM
    application: str
    label: str  # what else tells it apart


class Study:
    """The corpus, encoded once, and trainings whose errors are kept under a folder."""

    def __init__(self, folder: Path, config: IntentConfig | None = None):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.config, self.started = folder, config or IntentConfig(), time.time()
        report("encoding the corpus")
        self.encoder = SentenceEncoder()
        self.data = prepare_intents(self.encoder, RecordedTeacher(), BENCHMARKS, self.config)
        self._raw: dict[tuple[int, str], Distilled] = {}
        self._states: dict[tuple[str, str], TrunkStates] = {}

    def raw(self, seed: int, size: str) -> Distilled:
        """The E-LAM that all methods of a seed start from."""
        if (seed, size) not in self._raw:
            self._raw[seed, size] = distil_raw(jax.random.key(seed), size, self.data.history, self.config)
        return self._raw[seed, size]

    def raw_of_others(self, cell: Cell) -> Distilled:
        """A raw E-LAM that has read nothing of the application: the rest of the history alone."""
        history = self.data.history
        others = np.flatnonzero([record.application != cell.application for record in history.records])
        return distil_raw(jax.random.key(cell.seed), cell.size, history.take(others), self.config)

    def frozen(
        self, cell: Cell, method: DistillationConfig, part: ApplicationData | None = None
    ) -> Distilled:
        """Distilled by a method, with a frozen encoder."""
        raw, part = self.raw(cell.seed, cell.size), part or self.data.applications[cell.application]
        return distil_decoder(jax.random.key(cell.seed), raw, part, self.data.history, method)[0]

    def fine_tuned(self, cell: Cell, method: DistillationConfig) -> Distilled:
        """Distilled by a method, with adapters in the encoder."""
        raw, part = self.raw(cell.seed, cell.size), self.data.applications[cell.application]
        key, place = jax.random.key(cell.seed), (cell.size, cell.application)
        if place not in self._states:
            self._states[place] = training_states(self.encoder, cell.size, part)
        return fine_tune(key, raw, part, self.data.history, method, self.encoder, self._states[place])[0]

    def measure(self, cell: Cell, make: Callable[[], Distilled]) -> dict:
        """Test error of what `make` trains; kept, so that no training is done twice."""
        path = self.folder / ("_".join(map(str, cell)).replace("/", "-") + ".json")
        if not path.exists():
            started = time.time()
            model = make()
            found = self._test_error(cell, model) | {"seconds": round(time.time() - started, 1)}
            path.write_text(json.dumps(cell._asdict() | found))
            report(f"{time.time() - self.started:6.0f} s  {' '.join(map(str, cell))}: MSE {found['mse']:.4f}")
        return json.loads(path.read_text())

    @cached_property
    def _trunks(self) -> dict[tuple[str, str], TrunkStates]:
        return {
            (size, name): elam_trunk(self.encoder, size, part.test)
            for size in ("small", "large")
            for name, part in self.data.applications.items()
        }

    def _levels(self, model: Distilled, cell: Cell) -> np.ndarray:
        if not model.adapters:
            return self.data.applications[cell.application].test.levels
        return np.asarray(adapted_levels(model, self.encoder, self._trunks[cell.size, cell.application]))

    def _test_error(self, cell: Cell, model: Distilled) -> dict:
        test, raw = self.data.applications[cell.application].test, self.raw(cell.seed, cell.size)
        levels = self._levels(model, cell)
        predictions = read_intents(model, levels)
        error = translation_error(predictions.preferences, test.preferences, predictions.failed.tolist())
        features = jnp.asarray(features_of(model, levels))
        pairs = preference_data(
            jax.random.key(0), features, test.preferences, self.data.history.preferences, DistillationConfig()
        )
        answers = jnp.concatenate([pairs.chosen[:, None], pairs.rejected], axis=1)
        logps = log_probs_function(cell.size)({"decoder": model.params}, None, features, answers)
        before = jnp.asarray(features_of(raw, test.levels))
        reference = log_probs_function(cell.size)({"decoder": raw.params}, None, before, answers)
        beta = weighted_beta(pairs.preferences, pairs.preferences.mean(0), jnp.asarray(0.1), jnp.asarray(0.0))
        reward = reward_statistics(*map(np.asarray, (logps, reference, beta)))
        logits = abstract_decoder(cell.size)[0](model.params, features, pairs.chosen, method="logits")
        return {
            "mse": error.mse,
            "mae": error.mae,
            "failure_rate": error.failure_rate,
            "factor_mae": error.factor_mae.tolist(),
            "squared_error": error.squared_error.tolist(),
            "reward_margin": reward.margin,
            "reward_accuracy": reward.accuracy,
            "calibration_error": calibration_error(
                np.asarray(logits), np.asarray(whole_percents(test.preferences))
            ),
        }


def subset(part: ApplicationData, chosen: np.ndarray) -> ApplicationData:
    """The application with some of its training samples only."""
    return part._replace(training=part.training.take(chosen))
