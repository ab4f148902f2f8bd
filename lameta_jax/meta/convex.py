"""Convex problems of several agents whose constants in MAN's assumptions are known: what they share.

Every agent draws inputs from the same law, and labels that follow weights of its own, its target. `Ridge` and
`Logistic` add a loss to that. Their population losses have closed forms, or are one-dimensional integrals.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

InputLaw = Literal["gaussian", "sphere"]
"""Inputs with the covariance that is asked for: normal, or from an ellipsoid's surface, whose norms are bounded."""


class Batch(NamedTuple):
    """Labelled samples."""

    inputs: Float[Array, "*batch samples dims"]
    labels: Float[Array, "*batch samples"]


class Constants(NamedTuple):
    """Constants of MAN's Assumptions 1 and 2, for every sample and every model of the ball that was asked for."""

    smoothness: float  # L
    strong_convexity: float  # mu
    gradient_bound: float  # G; also rho as (iii) prints it, the Lipschitz constant of the loss
    hessian_lipschitz: float  # rho as units require it
    gradient_variance: float  # sigma^2 of the gradient at one sample


def matrix_root(covariance: Float[Array, "dims dims"]) -> Float[Array, "dims dims"]:
    """The symmetric square root of a positive semi-definite matrix."""
    values, vectors = jnp.linalg.eigh(covariance)
    return jnp.einsum("ij,j,kj->ik", vectors, jnp.sqrt(jnp.maximum(values, 0)), vectors)


def draw_inputs(
    key: Key[Array, ""], covariance: Float[Array, "dims dims"], shape: tuple[int, ...], law: InputLaw
) -> Float[Array, "*shape dims"]:
    """Inputs with mean 0 and this covariance."""
    dims = covariance.shape[0]
    normal = jax.random.normal(key, (*shape, dims))
    if law == "sphere":
        normal = normal * (dims**0.5 / jnp.linalg.norm(normal, axis=-1, keepdims=True))
    return normal @ matrix_root(covariance)


def input_bound(covariance: Float[Array, "dims dims"], law: InputLaw, stated: float | None) -> float:
    """Largest norm of an input: of the sphere law the exact one, of the Gaussian law the one that the caller states.

    Raises:
      ValueError: the Gaussian law without a stated radius, as it has no bound of its own.
    """
    if law == "sphere":
        return float(np.sqrt(covariance.shape[0] * np.linalg.eigvalsh(np.asarray(covariance))[-1]))
    if stated is None:
        raise ValueError(
            "Gaussian inputs are not bounded: state the radius within which constants shall hold"
        )
    return stated


def spread_targets(
    key: Key[Array, ""], num_agents: int, dims: int, heterogeneity: float, norm: float = 1.0
) -> Float[Array, "agents dims"]:
    """Targets of agents: a common vector of this norm, and shifts of length `heterogeneity` in random directions."""
    shifts = jax.random.normal(key, (num_agents, dims))
    shifts = heterogeneity * shifts / jnp.linalg.norm(shifts, axis=1, keepdims=True)
    return shifts + jnp.full((1, dims), norm / dims**0.5)


def projection_quadrature(law: InputLaw, dims: int, order: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for expectations over a one-dimensional projection of whitened inputs, which has variance 1.

    Gauss-Hermite for the Gaussian law. A coordinate of the sphere of radius sqrt(d) is sqrt(d) sin(a) with density of a
    proportional to cos(a)^{d-2}: Gauss-Legendre in a, for 2 dimensions and more.
    """
    if law == "gaussian":
        nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    else:
        angles, weights = np.polynomial.legendre.leggauss(order)
        angles = angles * np.pi / 2
        nodes, weights = np.sqrt(dims) * np.sin(angles), weights * np.cos(angles) ** (dims - 2)
    return nodes, weights / weights.sum()
