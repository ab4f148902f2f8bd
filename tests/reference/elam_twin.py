"""The percent decoder in plain float64 NumPy, one prompt at a time."""

import math

import numpy as np


def gelu(x):
    """Hendrycks and Gimpel's tanh form."""
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x))


def percent_log_probs(params, features, said, widths):
    """Log-probabilities of the percents 0 to 100 after those that were said."""
    place = len(said)
    shares = [percent / 100.0 for percent in said]
    left = 1.0 - sum(shares)
    inputs = np.array(shares + [0.0] * (4 - place) + [left])
    hidden = features @ params["read"]["kernel"] + params["read"]["bias"]
    hidden = hidden + inputs @ params["said"]["kernel"] + params["factor"][place]
    output = gelu(hidden) @ params["output"]["kernel"] + params["output"]["bias"]
    centre = max(left, 0.0) * sigmoid(output[0])
    width = widths[0] + widths[1] * sigmoid(output[1])
    scores = [-((percent / 100.0 - centre) ** 2) / (2.0 * width**2) for percent in range(101)]
    top = max(scores)
    total = top + math.log(sum(math.exp(score - top) for score in scores))
    return np.array([score - total for score in scores])


def log_prob(params, features, answer, widths):
    """log pi(answer | prompt)."""
    return sum(
        percent_log_probs(params, features, answer[:place], widths)[answer[place]] for place in range(4)
    )


def generate(params, features, widths):
    """The likeliest percent after the likeliest percents."""
    answer = []
    for _ in range(4):
        answer.append(int(np.argmax(percent_log_probs(params, features, answer, widths))))
    return answer
