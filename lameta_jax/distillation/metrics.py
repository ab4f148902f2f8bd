"""How well intents are read: errors over the four weights, failures and the annotators' own disagreement."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class TranslationError(NamedTuple):
    """Error of one E-LAM on a set of prompts (LAMeTA Sec. VI-B)."""

    mse: float  # mean squared error over prompts and weights
    mae: float  # mean absolute error
    failure_rate: float  # share of answers that could not be read
    squared_error: Float[np.ndarray, " prompts"]  # mean over the weights, one entry per prompt
    factor_mae: Float[np.ndarray, " 4"]  # mean absolute error of each weight


def translation_error(
    predicted: Float[np.ndarray, "prompts 4"],
    actual: Float[np.ndarray, "prompts 4"],
    failed: Sequence[bool] = (),
) -> TranslationError:
    """MSE and MAE of predicted preferences; a failed answer counts with what its user gets, the mean vector."""
    difference = np.asarray(predicted, dtype=np.float64) - np.asarray(actual, dtype=np.float64)
    failure_rate = float(np.mean(failed)) if len(failed) else 0.0
    return _error(difference[:, None], failure_rate)


def _error(difference: Float[np.ndarray, "prompts readers 4"], failure_rate: float) -> TranslationError:
    squared, absolute = np.square(difference), np.abs(difference)
    return TranslationError(
        mse=float(squared.mean()),
        mae=float(absolute.mean()),
        failure_rate=failure_rate,
        squared_error=squared.mean(axis=(1, 2)),
        factor_mae=absolute.mean(axis=(0, 1)),
    )


def annotator_noise_floor(annotations: Float[np.ndarray, "prompts annotators 4"]) -> TranslationError:
    """Error of each annotator against the mean of the others: what no reader of these prompts can be asked to beat.

    `squared_error` is averaged over the annotators of a prompt.
    """
    count = annotations.shape[1]
    others = (annotations.sum(axis=1, keepdims=True) - annotations) / (count - 1)
    return _error(annotations - others, 0.0)


class RewardStatistics(NamedTuple):
    """How far a model has moved from its reference towards the chosen answers."""

    margin: float  # mean implicit reward of chosen minus rejected answers, in nats times beta
    accuracy: float  # share of pairs whose margin is positive


def reward_statistics(
    logps: Float[np.ndarray, "prompts answers"],
    reference_logps: Float[np.ndarray, "prompts answers"],
    beta: Float[np.ndarray, " prompts"],
) -> RewardStatistics:
    """Reward margin and accuracy; the first answer to a prompt is the chosen one.

    Reference: LAMeTA eqs. (27), (30).
    """
    gained = logps - reference_logps
    margin = beta[:, None] * (gained[:, :1] - gained[:, 1:])
    return RewardStatistics(float(margin.mean()), float((margin > 0).mean()))


CENTRAL_SHARES = np.arange(1, 10) / 10


def calibration_error(
    logits: Float[np.ndarray, "prompts places percents"], actual: Int[np.ndarray, "prompts places"]
) -> float:
    """How far the model's own uncertainty is off: mean of `|share of actual percents within - q|`.

    For q in 0.1 to 0.9 it counts how many actual percents lie within the central interval to which the model gives
    the probability q, by the probability integral transform with the middle of a step. 0 is perfect.

    Args:
      logits: log-probabilities of every percent, given the prompt and the actual percents at the places before.
    """
    probability = np.exp(np.asarray(logits, dtype=np.float64))
    at = np.take_along_axis(probability, actual[..., None], axis=-1)[..., 0]
    below = np.take_along_axis(np.cumsum(probability, axis=-1), actual[..., None], axis=-1)[..., 0] - at
    distance = 2.0 * np.abs(below + at / 2.0 - 0.5)
    covered = (distance[..., None] <= CENTRAL_SHARES).mean(axis=(0, 1))
    return float(np.abs(covered - CENTRAL_SHARES).mean())
