"""The yardstick of every E-LAM: ridge regression on frozen sentence embeddings."""

import numpy as np
from jaxtyping import Float


def ridge_probe(
    embeddings: Float[np.ndarray, "samples size"],
    preferences: Float[np.ndarray, "samples 4"],
    unseen: Float[np.ndarray, "prompts size"],
    penalty: float = 1.0,
) -> Float[np.ndarray, "prompts 4"]:
    """Preferences of unseen prompts by ridge regression with an unpenalised intercept, in closed form.

    An E-LAM that does not beat this has learned nothing that a linear probe would not.
    """
    centre, mean = embeddings.mean(axis=0), preferences.mean(axis=0)
    x = (embeddings - centre[None]).astype(np.float64)
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ (preferences - mean[None]))
    return (unseen - centre[None]) @ weights + mean[None]
