"""Table rows of the two stages: E-LAM errors and composition quality, with 95% intervals over test users."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lameta_jax.distillation.metrics import TranslationError, annotator_noise_floor, translation_error
from lameta_jax.distillation.probe import ridge_probe
from lameta_jax.elam.model import Distilled
from lameta_jax.elam.sentence_encoder import sentence_embeddings
from lameta_jax.intents.preference import EVEN
from lameta_jax.intents.requests import translation_request
from lameta_jax.intents.teacher import Teacher
from lameta_jax.pipeline.composition import Outcome, fractions
from lameta_jax.pipeline.distillation import Predictions, predictions_of, read_intents
from lameta_jax.pipeline.intents import ApplicationData, Labelled
from lameta_jax.statistics import mean_interval

Row = dict[str, Any]


def interval(values: Float[np.ndarray, " samples"]) -> list[float]:
    """95% interval of the mean as [low, high]."""
    _, low, high = mean_interval(jnp.asarray(values, dtype=float))
    return [float(low), float(high)]


def error_row(method: str, elam: str | None, error: TranslationError) -> Row:
    """One row of the E-LAM table."""
    return {
        "method": method,
        "elam": elam,
        "mse": error.mse,
        "mse_ci": interval(error.squared_error),
        "mae": error.mae,
        "failure_rate": error.failure_rate,
        "num_prompts": len(error.squared_error),
    }


def elam_error(distilled: Distilled, test: Labelled) -> TranslationError:
    """Error of an E-LAM on test prompts."""
    predictions = read_intents(distilled, test.levels)
    return translation_error(predictions.preferences, test.preferences, predictions.failed.tolist())


def yardstick_rows(application: ApplicationData, history: Labelled, teacher: Teacher) -> list[Row]:
    """What the E-LAMs stand beside: even and mean vector, linear probe, the large model itself, annotators' noise."""
    test, training = application.test, application.training
    actual = test.preferences
    even = np.broadcast_to(np.array(EVEN), actual.shape)
    mean = np.broadcast_to(training.preferences.mean(axis=0), actual.shape)
    probe = ridge_probe(
        sentence_embeddings(np.concatenate([history.levels, training.levels])),
        np.concatenate([history.preferences, training.preferences]),
        sentence_embeddings(test.levels),
    )
    taught = teacher_predictions(application, teacher)
    annotations = np.array([record.annotations for record in test.records])
    return [
        error_row("even", None, translation_error(even, actual)),
        error_row("mean vector", None, translation_error(mean, actual)),
        error_row("linear probe", None, translation_error(probe, actual)),
        error_row("teacher", None, translation_error(taught.preferences, actual, taught.failed.tolist())),
        error_row("annotator noise floor", None, annotator_noise_floor(annotations)),
    ]


def teacher_predictions(application: ApplicationData, teacher: Teacher) -> Predictions:
    """The large model's own zero-shot translations of the test prompts."""
    answers = [teacher.ask(translation_request(record)) for record in application.test.records]
    return predictions_of(answers, application.training.preferences.mean(axis=0))


def composition_rows(outcomes: Mapping[str, Outcome]) -> list[Row]:
    """Rows of the composition table. The gap is averaged over users: mean of 1 - QoE / optimum."""
    rows = []
    for method, share in fractions(dict(outcomes)).items():
        outcome = outcomes[method]
        rows.append(
            {
                "method": method,
                "qoe": float(outcome.qoe.mean()),
                "qoe_ci": interval(outcome.qoe),
                "net_qoe": float(outcome.net_qoe.mean()),
                "fraction": float(share.mean()),
                "gap": float(1.0 - share.mean()),
                "gap_ci": interval(1.0 - share),
                "feasible": float(outcome.feasible.mean()),
                "num_users": len(outcome.qoe),
            }
        )
    return rows
