r"""Theorems 1 and 2 of MAN as functions of every constant, their conditions, and what these imply for each other.

Both bounds are O(...): a constant that the paper does not state multiplies them (`constant`, each term of Theorem 2 has
one). Units say what it must hide. With losses in units of "loss" and models in units of "weight":

  (8)  G^2 is (loss / weight)^2, all else in (8) is a pure number: the hidden constant is an inverse curvature,
       weight^2 / loss. It is no universal number; 1 / c_g (or 1 / mu) has the right unit, and is what the sum of the
       geometric series behind [1 - (1 - gamma c_g)^{ET}] leaves over.
  (9)  sigma^2 / (mu E) is a loss. L^2 c_I^2 is a loss times a curvature: the second term hides an inverse curvature
       too, as L c_I^2 would not.

rho: Assumption 1(iii) calls it the Lipschitz constant of the loss, and (iv) bounds the norm of the gradient by G, so
rho = G is the smallest value that always suffices. Units say otherwise: in mu / (8 rho G) and 2L + rho beta G it must
be loss / weight^3, the Lipschitz constant of the Hessian, as in the analysis of one meta-learning round that (8) looks
like (Fallah, Mokhtari and Ozdaglar, Generalization of model-agnostic meta-learning algorithms: recurring and unseen
tasks, 2021). Here rho is an argument like any other: pass either. Assumptions (ii) and (iv) exclude each other on all
of R^d; they hold together in a ball.

L, mu, rho and G are positive; E and T are at least 1.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool, Float


def meta_contraction(
    smoothness: ArrayLike,
    strong_convexity: ArrayLike,
    lipschitz: ArrayLike,
    gradient_bound: ArrayLike,
    inner_rate: ArrayLike,
) -> Float[Array, "..."]:
    """c_g of Theorem 1, in units of curvature: a meta-step of rate gamma keeps a share 1 - gamma c_g of a deviation.

        c_g = 2 mu (2L + rho beta G) / (16 (2L + rho beta G) + mu)

    As printed. It equals L' mu' / (L' + mu') for a meta-objective that is L' = 4L + 2 rho beta G smooth and mu' =
    mu / 8 strongly convex, hence between 0 and mu / 8.
    """
    curvature = 2 * jnp.asarray(smoothness) + jnp.asarray(lipschitz) * inner_rate * gradient_bound
    return 2 * jnp.asarray(strong_convexity) * curvature / (16 * curvature + strong_convexity)


def generalisation_bound(
    *,
    num_collaborators: ArrayLike,
    num_agents: ArrayLike,
    num_samples: ArrayLike,
    batch_size: ArrayLike,
    num_steps: ArrayLike,
    num_rounds: ArrayLike,
    smoothness: ArrayLike,
    strong_convexity: ArrayLike,
    lipschitz: ArrayLike,
    gradient_bound: ArrayLike,
    inner_rate: ArrayLike,
    meta_rate: ArrayLike,
    constant: ArrayLike = 1.0,
) -> Float[Array, "..."]:
    """Theorem 1, MAN (8): bound of the generalisation error of the foundation meta-model.

        E_gen <= O(G^2 (1 + beta L B) S / (K D)) [1 - (1 - gamma c_g)^{ET}]

    Arguments broadcast against each other.

    Args:
      num_collaborators: S, agents per round.
      num_agents: K.
      num_samples: D, labelled samples of each agent.
      batch_size: B, samples of one step of adaptation.
      num_steps: E, steps of adaptation.
      num_rounds: T, meta-updates.
      smoothness: L.
      strong_convexity: mu.
      lipschitz: rho; see the head of this file.
      gradient_bound: G.
      inner_rate: beta.
      meta_rate: gamma.
      constant: what O(...) hides; unknown, an inverse curvature by its unit. 1 only sets the scale.
    """
    contraction = meta_contraction(smoothness, strong_convexity, lipschitz, gradient_bound, inner_rate)
    batch_share = 1 + jnp.asarray(inner_rate) * smoothness * batch_size
    stability = (
        jnp.asarray(gradient_bound) ** 2 * batch_share * num_collaborators / (num_agents * num_samples)
    )
    # As a difference of powers this loses all digits while few rounds have been played.
    progress = -jnp.expm1(
        jnp.asarray(num_steps) * num_rounds * jnp.log1p(-jnp.asarray(meta_rate) * contraction)
    )
    return jnp.asarray(constant) * stability * progress


def max_inner_rate(
    smoothness: ArrayLike, strong_convexity: ArrayLike, lipschitz: ArrayLike, gradient_bound: ArrayLike
) -> Float[Array, "..."]:
    """Largest beta that Theorem 1 allows, min{1 / 2L, mu / (8 rho G)}; rho = 0 leaves the first."""
    product = 8 * jnp.asarray(lipschitz) * gradient_bound
    second = jnp.where(product > 0, strong_convexity / jnp.where(product > 0, product, 1.0), jnp.inf)
    return jnp.minimum(1 / (2 * jnp.asarray(smoothness)), second)


def max_meta_rate(
    smoothness: ArrayLike, lipschitz: ArrayLike, gradient_bound: ArrayLike, inner_rate: ArrayLike
) -> Float[Array, "..."]:
    """Largest gamma that Theorem 1 allows, 1 / (4L + 2 beta rho G)."""
    return 1 / (4 * jnp.asarray(smoothness) + 2 * jnp.asarray(inner_rate) * lipschitz * gradient_bound)


def rates_allowed(
    smoothness: ArrayLike,
    strong_convexity: ArrayLike,
    lipschitz: ArrayLike,
    gradient_bound: ArrayLike,
    inner_rate: ArrayLike,
    meta_rate: ArrayLike,
) -> Bool[Array, "..."]:
    """Whether both conditions of Theorem 1 on the learning rates hold; rounding is forgiven."""
    inner = max_inner_rate(smoothness, strong_convexity, lipschitz, gradient_bound)
    meta = max_meta_rate(smoothness, lipschitz, gradient_bound, inner_rate)
    return (jnp.asarray(inner_rate) <= inner * (1 + 1e-6)) & (jnp.asarray(meta_rate) <= meta * (1 + 1e-6))


def personalisation_rate(strong_convexity: ArrayLike, num_steps: ArrayLike) -> Float[Array, "..."]:
    """beta of Theorem 2, 2 / (mu (E + 1)): as printed the same in all E steps."""
    return 2 / (jnp.asarray(strong_convexity) * (jnp.asarray(num_steps) + 1))


def personalisation_bound(
    *,
    num_steps: ArrayLike,
    distance: ArrayLike,
    gradient_variance: ArrayLike,
    smoothness: ArrayLike,
    strong_convexity: ArrayLike,
    noise_constant: ArrayLike = 1.0,
    distance_constant: ArrayLike = 1.0,
) -> Float[Array, "..."]:
    """Theorem 2, MAN (9): bound of the personalisation error after E steps of rate 2 / (mu (E + 1)).

        E_per <= O(sigma^2 / (mu E)) + O(L^2 c_I^2 (1 - mu / L)^E)

    Arguments broadcast against each other.

    Args:
      num_steps: E.
      distance: c_I, from the meta-model to the agent's optimum.
      gradient_variance: sigma^2 of a stochastic gradient.
      smoothness: L.
      strong_convexity: mu.
      noise_constant: what the first O(...) hides; a pure number, unknown.
      distance_constant: what the second O(...) hides; unknown, an inverse curvature by its unit.
    """
    noise = jnp.asarray(gradient_variance) / (jnp.asarray(strong_convexity) * num_steps)
    remains = (1 - jnp.asarray(strong_convexity) / smoothness) ** jnp.asarray(num_steps)
    return (
        jnp.asarray(noise_constant) * noise
        + jnp.asarray(distance_constant) * (jnp.asarray(smoothness) * distance) ** 2 * remains
    )


def derived_personalisation_bound(
    *,
    num_steps: ArrayLike,
    distance: ArrayLike,
    gradient_variance: ArrayLike,
    smoothness: ArrayLike,
    strong_convexity: ArrayLike,
) -> Float[Array, "..."]:
    """A bound of the personalisation error under the rate of Theorem 2 with no hidden constant; not in the paper.

        E_per <= L sigma^2 / (2 mu^2 E) + L/2 c_I^2 ((E - 1) / (E + 1))^{2E}    for E >= L / mu

    A gradient step of rate beta <= 2 / (mu + L) brings two models nearer by 1 - beta mu, and sampling adds beta^2
    sigma^2 to the expected square of the distance d_e to the optimum: E d_{e+1}^2 <= (1 - beta mu)^2 E d_e^2 + beta^2
    sigma^2. Summed over E steps, with beta = 2 / (mu (E + 1)) and E_per <= L/2 d_E^2, that is the above. Its second
    term tends to L/2 c_I^2 e^{-4}: with this rate the initial deviation does not vanish however many steps are made,
    while that of (9) does. Infinite for E < L / mu, where the steps may be too long.

    Arguments as in `personalisation_bound`; L and mu of the expected loss suffice.
    """
    steps = jnp.asarray(num_steps, dtype=float)
    ratio = jnp.asarray(smoothness) / strong_convexity
    noise = ratio * gradient_variance / (2 * jnp.asarray(strong_convexity) * steps)
    remains = ((steps - 1) / (steps + 1)) ** (2 * steps)
    start = jnp.asarray(smoothness) / 2 * jnp.asarray(distance) ** 2 * remains
    return jnp.where(steps >= ratio, noise + start, jnp.inf)


def steps_for_stability(smoothness: ArrayLike, strong_convexity: ArrayLike) -> Float[Array, "..."]:
    """E above which the rate of Theorem 2 is below 2 / L, E > L / mu - 1; with fewer steps, deviations can grow."""
    return jnp.asarray(smoothness) / strong_convexity - 1


def steps_for_both_theorems(
    smoothness: ArrayLike, strong_convexity: ArrayLike, lipschitz: ArrayLike, gradient_bound: ArrayLike
) -> Float[Array, "..."]:
    """E from which the rate of Theorem 2 meets Theorem 1's condition, E >= max{4L / mu, 16 rho G / mu^2} - 1."""
    allowed = max_inner_rate(smoothness, strong_convexity, lipschitz, gradient_bound)
    return 2 / (jnp.asarray(strong_convexity) * allowed) - 1
