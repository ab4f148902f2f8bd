"""How good a set of chains is over all preferences at once: the metrics of multi-objective reinforcement learning.

Reference: Hayes et al., A practical guide to multi-objective reinforcement learning and planning, 2022, Sec. 6.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

from lameta_jax.network.qoe import ChainFactors


class MultiObjective(NamedTuple):
    """Of chains composed for users whose preferences cover the simplex."""

    expected_utility: float  # mean QoE
    maximum_utility_loss: float  # largest difference to the optimum that any of the users has
    hypervolume: float  # of what the chains dominate, as a share of the box between reference and ideal


def multi_objective_metrics(
    qoe: Float[Array | np.ndarray, " users"],
    optimum_qoe: Float[Array | np.ndarray, " users"],
    factors: ChainFactors,
    ideal: Float[np.ndarray, "4"],
    reference: Float[np.ndarray, "4"],
) -> MultiObjective:
    """Metrics of one chain per user.

    Args:
      qoe: subjective QoE of each user's chain.
      optimum_qoe: of the exact optimum.
      factors: of the chains that work; leaves may be fewer than users.
      ideal: the best value of each objective of `objectives` that any chain has.
      reference: the worst one, from which volume is counted.
    """
    scaled = (objectives(factors) - ideal) / (reference - ideal)
    return MultiObjective(
        expected_utility=float(np.mean(qoe)),
        maximum_utility_loss=float(np.max(np.asarray(optimum_qoe) - np.asarray(qoe))),
        hypervolume=hypervolume(scaled, np.ones(4)),
    )


def objectives(factors: ChainFactors) -> Float[np.ndarray, "chains 4"]:
    """The four factors as things to be minimised, in the order of a preference: ln(1 / C), B, ln L, P.

    Logarithms where the QoE (15) has them, so that no few extreme chains make up the whole volume.
    """
    columns = (
        -np.log(factors.capability),
        factors.information_loss,
        np.log(factors.latency),
        factors.outage,
    )
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=-1)


def hypervolume(
    points: Float[np.ndarray, "points objectives"], reference: Float[np.ndarray, " objectives"]
) -> float:
    """Volume of the region that the points dominate, up to the reference; all objectives are minimised.

    Reference: Zitzler and Thiele, Multiobjective evolutionary algorithms: a comparative case study and the strength
    Pareto approach, 1999; computed by moocore, which comes with the extra `studies`.
    """
    import moocore

    return float(moocore.hypervolume(np.asarray(points, dtype=np.float64), ref=reference))
