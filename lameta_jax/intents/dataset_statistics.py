"""What a data set holds: preferences and their spread, and how near its synthetic prompts come to real ones."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from lameta_jax.intents.preference import angular_distance
from lameta_jax.intents.similarity import cosine_similarity


class PreferenceSummary(NamedTuple):
    """Preferences of several samples."""

    num_samples: int
    mean: tuple[float, ...]  # of each factor
    standard_deviation: tuple[float, ...]  # of each factor, over the samples
    mean_distance: float | None  # mean angular distance (24) of all pairs; None for a single sample


class SimilaritySummary(NamedTuple):
    """Cosine similarities."""

    mean: float
    largest: float


class DatasetStatistics(NamedTuple):
    """What happened on the way to a data set, and what is in it."""

    num_history: int  # |D_h|
    num_own: int  # |D_u|
    num_relevant: int  # |D_rel|, without what D_u holds already
    num_demonstrations: int  # |D_demo|
    num_explained: int  # demonstrations whose reasoning the teacher was asked for (22)
    num_unexplained: int  # of these, left without: the answer was empty or too long
    num_wanted: int  # N_aug
    num_requests: int  # for samples
    num_written: int  # samples in the answers, good or bad
    num_kept: int
    num_surplus: int  # good, but more than wanted
    num_missing: int  # wanted, but not there when the requests were used up
    rejects: Mapping[str, int]  # samples left out, by reason
    real: PreferenceSummary  # of D_demo
    synthetic: PreferenceSummary | None  # None without synthetic samples
    nearest_real: SimilaritySummary | None  # of every synthetic prompt to the real one it resembles most

    def as_json(self) -> dict[str, Any]:
        """The same as nested dictionaries."""
        return {
            name: part._asdict() if isinstance(part, PreferenceSummary | SimilaritySummary) else part
            for name, part in self._asdict().items()
        }


_distances = jax.jit(angular_distance)  # one program, not one per operation, for each number of samples


def summarise(preferences: Float[np.ndarray, "samples 4"]) -> PreferenceSummary:
    """Mean, spread and mean pairwise angular distance of one or more preferences."""
    count = len(preferences)
    rows = jnp.asarray(preferences, dtype=float)
    distances = np.asarray(_distances(rows[:, None, :], rows[None, :, :]), dtype=np.float64)
    return PreferenceSummary(
        count,
        tuple(preferences.mean(axis=0).tolist()),
        tuple(preferences.std(axis=0).tolist()),
        float(distances.sum() / (count * (count - 1))) if count > 1 else None,  # the diagonal is 0
    )


def nearest(
    embeddings: Float[np.ndarray, "synthetic size"], real: Float[np.ndarray, "real size"]
) -> SimilaritySummary:
    """Cosine similarity of every synthetic prompt to the real prompt it resembles most."""
    best = cosine_similarity(embeddings, real).max(axis=1)
    return SimilaritySummary(float(best.mean()), float(best.max()))
