"""How well intents are read: errors over the four weights, failures and the annotators' own disagreement."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class TranslationError(NamedTuple):
    """Error of one E-LAM on a set of prompts (LAMeTA Sec. VI-B)."""

    mse: float  # mean squared error over prompts and weights
    mae: float  # mean absolute error
    failure_rate: float  # share of answers that could not be read
    squared_error: Float[np.ndarray, " prompts"]  # mean over the weights, one entry per prompt


def translation_error(
    predicted: Float[np.ndarray, "prompts 4"],
    actual: Float[np.ndarray, "prompts 4"],
    failed: Sequence[bool] = (),
) -> TranslationError:
    """MSE and MAE of predicted preferences; a failed answer counts with what its user gets, the mean vector."""
    difference = np.asarray(predicted, dtype=np.float64) - np.asarray(actual, dtype=np.float64)
    squared = np.square(difference).mean(axis=1)
    failure_rate = float(np.mean(failed)) if len(failed) else 0.0
    return TranslationError(float(squared.mean()), float(np.abs(difference).mean()), failure_rate, squared)


def annotator_noise_floor(annotations: Float[np.ndarray, "prompts annotators 4"]) -> TranslationError:
    """Error of each annotator against the mean of the others: what no reader of these prompts can be asked to beat.

    `squared_error` is averaged over the annotators of a prompt.
    """
    count = annotations.shape[1]
    others = (annotations.sum(axis=1, keepdims=True) - annotations) / (count - 1)
    difference = annotations - others
    squared = np.square(difference).mean(axis=(1, 2))
    return TranslationError(float(squared.mean()), float(np.abs(difference).mean()), 0.0, squared)
