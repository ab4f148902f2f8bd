"""In-context learning in plain float64 lists, written from the paper: (44)-(46) and what we assume beside it.

A history is a list of (prompt, preference, reward), oldest first, that is never cut off.
"""

import math
from itertools import combinations

import numpy as np


def window(history, capacity, k):
    """The k most recent of the last `capacity` records, oldest first."""
    return history[-capacity:][-k:]


def cosine(s, other):
    return sum(a * b for a, b in zip(s, other, strict=True)) / (math.hypot(*s) * math.hypot(*other))


def consistency(records):
    pairs = [cosine(first, second) for (_, first, _), (_, second, _) in combinations(records, 2)]
    return sum(pairs) / len(pairs) if pairs else 0.0


def trend(records):
    if len(records) < 2:
        return 0.0
    slope, _ = np.polyfit(range(len(records)), [reward for _, _, reward in records], 1)
    return slope


def mean(records):
    return [sum(column) / len(records) for column in zip(*(s for _, s, _ in records), strict=True)]


def calibrated(s, s_bar, d0):
    """(46)"""
    iota = math.exp(-math.acos(min(1.0, cosine(s, s_bar))) / math.pi / d0)
    return [iota * a + (1 - iota) * b for a, b in zip(s, s_bar, strict=True)]


def conditioned(s, records, v):
    """Posterior mean of the user's weights: the prediction has variance v, the next of n intents S^2 (1 + 1/n)."""
    n = len(records)
    if n < 2 or v == 0:
        return list(s)
    variance = np.mean([np.var(column, ddof=1) for column in zip(*(p for _, p, _ in records), strict=True)])
    precisions = 1 / v, 1 / (variance * (1 + 1 / n))
    return [
        (precisions[0] * a + precisions[1] * b) / sum(precisions)
        for a, b in zip(s, mean(records), strict=True)
    ]


def in_context(history, predicted, failed, fallback, config):
    """(preference, name of the regime)"""
    records = window(history, config.capacity, config.num_recent)
    if failed:
        return (mean(records) if records else list(fallback)), "invalid"
    if records:
        s_bar = mean(records)
        if math.acos(min(1.0, cosine(predicted, s_bar))) / math.pi > config.max_distance:
            return calibrated(predicted, s_bar, config.distance_scale), "divergent"
    if consistency(records) >= config.min_consistency and trend(records) > config.min_trend:
        return conditioned(predicted, records, config.prediction_variance), "consistent"
    return list(predicted), "plain"
