"""QoE of chains and the exact optimum in NumPy, float32: what vectorised programs without JAX look like.

`plain_qoe` is the formulas one after the other, for all users and chains at once. The rest is tuned: what belongs to an
agent is computed once per agent and gathered per chain; every logarithm is taken once per chain, not once per user;
users come in blocks whose arrays stay in the cache, and work arrays are used again.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammainc

from lameta_jax.network.network import AgenticNetwork, Request

USERS_AT_ONCE = 64
KIND = np.float32


class NumpyNetwork(NamedTuple):
    """The arrays of a network and of the request to it; the first three per agent."""

    service_rate: np.ndarray
    service_cv: np.ndarray
    capability: np.ndarray
    crash: np.ndarray  # |F| / |O|, per agent
    link_ber: np.ndarray
    arrival_rate: np.float32
    capability_threshold: np.float32
    max_latency: np.float32


class NumpyFactors(NamedTuple):
    """The four factors of every chain."""

    capability: np.ndarray
    information_loss: np.ndarray
    latency: np.ndarray
    outage: np.ndarray


def numpy_network(network: AgenticNetwork, request: Request) -> NumpyNetwork:
    """A network of this package as NumPy arrays."""
    return NumpyNetwork(
        service_rate=np.asarray(network.service_rate, KIND),
        service_cv=np.asarray(network.service_cv, KIND),
        capability=np.asarray(network.capability, KIND),
        crash=np.asarray(network.outages, KIND) / np.asarray(network.observations, KIND),
        link_ber=np.asarray(network.link_ber, KIND),
        arrival_rate=KIND(network.arrival_rate),
        capability_threshold=KIND(request.capability_threshold),
        max_latency=KIND(request.max_latency),
    )


def agent_latency(network: NumpyNetwork) -> np.ndarray:
    """Pollaczek and Khinchine, LAMeTA eqs. (7), (10); infinite where the agent cannot keep up."""
    rate, arrivals = network.service_rate, network.arrival_rate
    with np.errstate(divide="ignore"):
        waiting = arrivals / rate * (1 + network.service_cv**2) / (2 * (rate - arrivals))
        return np.where(arrivals < rate, 1 / rate + waiting, KIND(np.inf))


def chain_factors(network: NumpyNetwork, chains: np.ndarray, links: np.ndarray) -> NumpyFactors:
    """LAMeTA eqs. (2), (3), (8), (14) for chains [chains, hops] over links [chains, hops - 1]."""
    # P_over falls with the rate, so that of a chain, whose rate is the smallest, is the largest of its agents'.
    overload = gammainc(np.floor(network.service_rate) + 1, network.arrival_rate, dtype=KIND)
    working = np.prod((1 - network.crash)[chains], axis=1) * (1 - np.max(overload[chains], axis=1))
    return NumpyFactors(
        capability=np.prod(network.capability[chains], axis=1) / KIND(chains.shape[1]),
        information_loss=1 - np.prod((1 - network.link_ber)[links], axis=1),
        latency=np.sum(agent_latency(network)[chains], axis=1),
        outage=1 - working,
    )


def realised_qoe(
    network: NumpyNetwork, factors: NumpyFactors, preferences: np.ndarray, failed: float = -1.0
) -> np.ndarray:
    """QoE [users, chains] in the power form, `failed` where (18b) or (18c) is broken."""
    qoe = np.empty((len(preferences), len(factors.latency)), KIND)
    bad = ~_feasible(network, factors)
    logs = _logarithms(network, factors)
    work = np.empty((2, min(USERS_AT_ONCE, len(preferences)), qoe.shape[1]), KIND)
    for start in range(0, len(preferences), USERS_AT_ONCE):
        block = qoe[start : start + USERS_AT_ONCE]
        _felt(logs, preferences[start : start + USERS_AT_ONCE], block, work[:, : len(block)])
        block[:, bad] = failed
    return qoe


def plain_qoe(
    network: NumpyNetwork,
    chains: np.ndarray,
    links: np.ndarray,
    preferences: np.ndarray,
    failed: float = -1.0,
) -> np.ndarray:
    """`realised_qoe` of `chain_factors` as the formulas read, everything per chain, no work array used twice."""
    rate, cv, arrivals = network.service_rate[chains], network.service_cv[chains], network.arrival_rate
    with np.errstate(divide="ignore"):
        waiting = arrivals / rate * (1 + cv**2) / (2 * (rate - arrivals))
        latency = np.sum(np.where(arrivals < rate, 1 / rate + waiting, KIND(np.inf)), axis=1)
    capability = np.prod(network.capability[chains], axis=1) / KIND(chains.shape[1])
    correct = np.prod(1 - network.link_ber[links], axis=1)
    overload = gammainc(np.floor(rate.min(axis=1)) + 1, arrivals, dtype=KIND)
    working = np.prod(1 - network.crash[chains], axis=1) * (1 - overload)
    w = 4 * preferences.astype(KIND)
    with np.errstate(invalid="ignore"):
        bracket = correct ** w[:, 1, None] * w[:, 0, None] * np.log(capability / network.capability_threshold)
        bracket = bracket - w[:, 2, None] * np.log(latency)
        felt = np.where(bracket < 0, bracket, bracket * working ** w[:, 3, None])
    feasible = (latency <= network.max_latency) & (capability >= network.capability_threshold)
    return np.where(feasible, felt, KIND(failed))


def optimum(
    network: NumpyNetwork, chains: np.ndarray, links: np.ndarray, preferences: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best feasible chain of every user, [users, hops], and its QoE."""
    factors = chain_factors(network, chains, links)
    kept = np.flatnonzero(_feasible(network, factors))
    logs = _logarithms(network, NumpyFactors(*(values[kept] for values in factors)))
    best, qoe = np.empty(len(preferences), int), np.empty(len(preferences), KIND)
    work = np.empty((3, min(USERS_AT_ONCE, len(preferences)), len(kept)), KIND)
    for start in range(0, len(preferences), USERS_AT_ONCE):
        part = slice(start, min(start + USERS_AT_ONCE, len(preferences)))
        block = work[0, : part.stop - part.start]
        _felt(logs, preferences[part], block, work[1:, : len(block)])
        best[part] = block.argmax(axis=1)
        qoe[part] = np.take_along_axis(block, best[part, None], axis=1)[:, 0]
    return chains[kept[best]], qoe


def _feasible(network: NumpyNetwork, factors: NumpyFactors) -> np.ndarray:
    fast = factors.latency <= network.max_latency
    return fast & (factors.capability >= network.capability_threshold)


def _logarithms(network: NumpyNetwork, factors: NumpyFactors) -> tuple[np.ndarray, ...]:
    """ln(C / C_th), ln(1 - B), ln L and ln(1 - P) of every chain."""
    latency = np.minimum(
        factors.latency, np.finfo(KIND).max
    )  # unstable agents: finite, as they are masked later
    return (
        np.log(factors.capability / network.capability_threshold),
        np.log1p(-factors.information_loss),
        np.log(latency),
        np.log1p(-factors.outage),
    )


def _felt(logs: tuple[np.ndarray, ...], preferences: np.ndarray, out: np.ndarray, work: np.ndarray) -> None:
    """(1 - P)^{w_P} ((1 - B)^{w_B} w_C ln(C / C_th) - w_L ln L) with w = 4 s, into `out` [users, chains]."""
    capability, correct, latency, working = logs
    weights = 4 * preferences.astype(KIND)
    other, third = work
    np.multiply(weights[:, 1, None], correct, out=out)
    np.exp(out, out=out)
    np.multiply(weights[:, 0, None], capability, out=other)
    np.multiply(out, other, out=out)
    np.multiply(weights[:, 2, None], latency, out=other)
    np.subtract(out, other, out=out)
    np.multiply(weights[:, 3, None], working, out=other)
    np.exp(other, out=other)
    np.multiply(out, other, out=third)
    np.minimum(out, third, out=other)  # a negative bracket is not made smaller by outage: keep it
    np.copyto(out, third, where=out > 0)
