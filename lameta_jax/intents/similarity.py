"""Semantic similarity filter: which records of the history resemble an application's own.

LAMeTA eq. (20). The embeddings come from the caller (Sentence-BERT: mean-pooled all-MiniLM-L6-v2 by default), so
that this file needs no language model.
"""

import numpy as np
from jaxtyping import Float


def cosine_similarity(
    first: Float[np.ndarray, "first size"], second: Float[np.ndarray, "second size"]
) -> Float[np.ndarray, "first second"]:
    """Cosine of the angle between every pair of embeddings; 0 where an embedding is zero.

    Reference: LAMeTA eq. (20b).
    """
    norms = np.linalg.norm(first, axis=1)[:, None] * np.linalg.norm(second, axis=1)[None, :]
    return (first @ second.T) / np.where(norms > 0, norms, 1.0)


def relevant(
    user_embeddings: Float[np.ndarray, "users size"],
    history_embeddings: Float[np.ndarray, "history size"],
    min_similarity: float,
) -> np.ndarray:
    """Indices, in order, of the history whose best match among the users' prompts reaches `min_similarity`.

    Reference: LAMeTA eq. (20a).
    """
    best = cosine_similarity(user_embeddings, history_embeddings).max(axis=0)
    return np.flatnonzero(best >= min_similarity)
