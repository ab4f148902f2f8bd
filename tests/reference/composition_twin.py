"""Slow NumPy twins of composition, written from LAMeTA Sec. V; they share no code with the package."""

import math

import numpy as np


def advantages(rewards, values, next_values, terminated, truncated, gamma, gae_lambda):
    """(42) for one trajectory as the double sum it is printed as, cut where an episode ends."""
    steps = len(rewards)
    result = np.zeros(steps)
    for start in range(steps):
        for later in range(start, steps):
            future = 0.0 if terminated[later] else next_values[later]
            delta = rewards[later] + gamma * future - values[later]
            result[start] += (gamma * gae_lambda) ** (later - start) * delta
            if terminated[later] or truncated[later]:
                break
    return result


def clipped_surrogate(log_prob, old_log_prob, advantage, clip_eps):
    """Minus (43) for one action."""
    ratio = math.exp(log_prob - old_log_prob)
    clipped = min(max(ratio, 1 - clip_eps), 1 + clip_eps)
    return -min(ratio * advantage, clipped * advantage)


def log_softmax(logits, mask):
    """Log-probabilities of the allowed actions; minus infinity for the others."""
    logits = np.where(mask, logits, -np.inf)
    largest = logits.max()
    return logits - largest - np.log(np.sum(np.exp(logits - largest)))


def entropy(log_probs):
    """In nats."""
    return -sum(math.exp(value) * value for value in log_probs if np.isfinite(value))


def graph_convolution(link_ends, hidden, weights):
    """(36) before the ReLU with dense matrices: D^-1/2 (A + I) D^-1/2 H W."""
    adjacency = np.eye(len(hidden))
    for one, other in link_ends:
        adjacency[one, other] = adjacency[other, one] = 1
    scale = np.diag(adjacency.sum(axis=1) ** -0.5)
    return scale @ adjacency @ scale @ hidden @ weights


def power_qoe(mapping, chain, preference):
    """Subjective QoE ("power") of a chain of agent ids with V = 1, so that L = 1 / (mu - lambda)."""
    agents = {agent["id"]: agent for agent in mapping["agents"]}
    bers = {frozenset(link["between"]): link["ber"] for link in mapping["links"]}
    rate = mapping["arrival_rate"]
    capability = math.prod(agents[name]["capability"] for name in chain) / len(chain)
    latency = sum(1 / (agents[name]["service_rate"] - rate) for name in chain)
    correct = math.prod(1 - bers[frozenset(pair)] for pair in zip(chain, chain[1:], strict=False))
    slowest = math.floor(min(agents[name]["service_rate"] for name in chain))
    served = sum(math.exp(-rate) * rate**k / math.factorial(k) for k in range(slowest + 1))
    up = math.prod(1 - agents[name]["outages"] / agents[name]["observations"] for name in chain)
    w_capability, w_information, w_latency, w_outage = (4 * weight for weight in preference)
    bracket = correct**w_information * w_capability * math.log(capability / mapping["capability_threshold"])
    bracket -= w_latency * math.log(latency)
    return (up * served) ** w_outage * bracket if bracket >= 0 else bracket
