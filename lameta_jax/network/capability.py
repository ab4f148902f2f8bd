"""Capability of agents and chains from their training budget, LAMeTA eqs. (1a)-(2).

The scaling law is that of Hoffmann et al., Training Compute-Optimal Large Language Models, 2022,
arXiv:2203.15556. The first three functions use plain arithmetic only, so that a NumPy float64 array stays one
whatever JAX's mode.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

ZETA, ETA = 406.4, 410.7  # zeta, eta of (1a)
ALPHA_1, ALPHA_2 = 0.34, 0.28  # exponents of parameters and of tokens
IDEAL_LOSS = 0.0  # L_0: the paper regards it as 0

Values = Float[Array, "*batch"] | Float[np.ndarray, "*batch"]


def optimal_parameters(compute_budget: Values) -> Values:
    r"""Compute-optimal number of parameters of a model trained with `compute_budget` FLOP.

        |N|_OP = (alpha_1 zeta / (alpha_2 eta))^{1/(alpha_1+alpha_2)} (C/6)^{alpha_2/(alpha_1+alpha_2)}

    Reference: LAMeTA eq. (1b).
    """
    exponent = 1 / (ALPHA_1 + ALPHA_2)
    return (ALPHA_1 * ZETA / (ALPHA_2 * ETA)) ** exponent * (compute_budget / 6) ** (ALPHA_2 * exponent)


def optimal_tokens(compute_budget: Values) -> Values:
    r"""Compute-optimal number of training tokens for `compute_budget` FLOP.

        |D|_OP = (alpha_2 eta / (alpha_1 zeta))^{1/(alpha_1+alpha_2)} (C/6)^{alpha_1/(alpha_1+alpha_2)}

    Reference: LAMeTA eq. (1c).
    """
    exponent = 1 / (ALPHA_1 + ALPHA_2)
    return (ALPHA_2 * ETA / (ALPHA_1 * ZETA)) ** exponent * (compute_budget / 6) ** (ALPHA_1 * exponent)


def pretraining_loss(compute_budget: Values) -> Values:
    r"""Pre-training loss of a compute-optimal model, in nats per token.

        L = L_0 + zeta / |N|_OP^{alpha_1} + eta / |D|_OP^{alpha_2}

    Args:
      compute_budget: C_i, training FLOP, > 0.

    Reference: LAMeTA eq. (1a).
    """
    from_parameters = ZETA * optimal_parameters(compute_budget) ** -ALPHA_1
    from_tokens = ETA * optimal_tokens(compute_budget) ** -ALPHA_2
    return IDEAL_LOSS + from_parameters + from_tokens


def agent_capability(compute_budget: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Probability that an agent completes its task, e^{-loss} (text above LAMeTA eq. (2))."""
    return jnp.exp(-pretraining_loss(compute_budget))


def chain_capability(capability: Float[Array, "*batch hops"]) -> Float[Array, "*batch"]:
    r"""Capability of a chain, C = (1/n) prod_i e^{-loss_i}, with the 1/n as printed.

    Args:
      capability: e^{-loss_i} of each agent of the chain, in (0, 1].

    Reference: LAMeTA eq. (2).

    >>> round(float(chain_capability(jnp.array([0.5, 0.4]))), 6)  # 0.5 * 0.4 / 2
    0.1
    """
    return jnp.prod(capability, axis=-1) / capability.shape[-1]
