"""Losses and errors of distillation in plain Python floats, written from the paper: (31), (32)."""

import math

import numpy as np
from reference.intents_twin import angular_distance


def weighted_beta(preferences, base, slope):
    """(32), with the mean of the whole data set."""
    mean = np.mean(preferences, axis=0)
    return [base * (1.0 - slope * angular_distance(s, mean)) for s in preferences]


def dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta, smoothing=0.0):
    """(31): mean over samples and over the rejected answers of each; some pairs may be the wrong way round."""
    losses = []
    for i, one in enumerate(chosen):
        for j, other in enumerate(rejected[i]):
            margin = beta[i] * (one - reference_chosen[i]) - beta[i] * (other - reference_rejected[i][j])
            right, wrong = math.log1p(math.exp(-margin)), math.log1p(math.exp(margin))
            losses.append((1.0 - smoothing) * right + smoothing * wrong)
    return sum(losses) / len(losses)


def noise_floor(annotations):
    """(MSE, MAE) of every annotator against the mean of the others."""
    squared, absolute = [], []
    for prompt in annotations:
        for place, one in enumerate(prompt):
            others = [other for number, other in enumerate(prompt) if number != place]
            for factor, value in enumerate(one):
                difference = value - sum(other[factor] for other in others) / len(others)
                squared.append(difference**2)
                absolute.append(abs(difference))
    return sum(squared) / len(squared), sum(absolute) / len(absolute)
