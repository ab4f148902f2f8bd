"""Intents in plain float64 NumPy, written from the paper: (20), (24), (25)."""

import math

import numpy as np


def angular_distance(s, other):
    """(24) to the letter."""
    cosine = sum(a * b for a, b in zip(s, other, strict=True)) / (math.hypot(*s) * math.hypot(*other))
    return math.acos(min(1.0, max(-1.0, cosine))) / math.pi


def top_distances(s, history, k):
    """Distances of the k preferences of the history that (25) picks, farthest first."""
    return sorted((angular_distance(s, other) for other in history), reverse=True)[:k]


def relevant(users, history, min_similarity):
    """(20a): places in the history whose best cosine with any user reaches the threshold."""
    kept = []
    for place, record in enumerate(history):
        cosines = [np.dot(user, record) / (np.linalg.norm(user) * np.linalg.norm(record)) for user in users]
        if max(cosines) >= min_similarity:
            kept.append(place)
    return kept
