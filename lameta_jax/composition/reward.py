"""Rewards of chain composition: LAMeTA eq. (34) for one step, eq. (35) for the finished chain."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from lameta_jax.network.network import Request
from lameta_jax.network.qoe import ChainFactors, realised_qoe


def normalised_benefit(
    values: Float[Array, " items"], *, larger_is_better: bool, log_scale: bool = False
) -> Float[Array, " items"]:
    """The normalisation I(.) of LAMeTA eq. (34): min-max over the network, 1 the best and 0 the worst.

    The paper leaves I open; min-max over the agents (or links) of the slot is ours. Where every value is the
    same, nobody is worse than anybody and all get 1. Infinite values (the latency of an agent that cannot
    keep up with the arrivals) take no part in the range and get 0.

    Args:
      values: one factor over all agents, or the BER over all links.
      larger_is_better: True for the capability, False for BER, latency and crash probability.
      log_scale: normalise the logarithm instead (values must be positive).
    """
    finite = jnp.isfinite(values)
    scaled = jnp.log(jnp.where(finite, values, 1.0)) if log_scale else jnp.where(finite, values, 0.0)
    lowest = jnp.min(jnp.where(finite, scaled, jnp.inf), initial=jnp.inf)
    highest = jnp.max(jnp.where(finite, scaled, -jnp.inf), initial=-jnp.inf)
    spread = highest - lowest
    from_worst = scaled - lowest if larger_is_better else highest - scaled
    benefit = jnp.where(spread > 0, from_worst / jnp.where(spread > 0, spread, 1.0), 1.0)
    return jnp.where(finite, benefit, 0.0)


def step_reward(
    benefits: Float[Array, " 4"],
    preference: Float[Array, " 4"],
    fits: Bool[Array, ""],
    functional_reward: Float[Array, ""],
) -> Float[Array, ""]:
    """Immediate reward of adding one agent to the chain.

        r_step = r_flag + s . [I(C_i), I(BER_i), I(L_i), I(|F_i|/|O_i|)]

    Args:
      benefits: the normalised factors of the agent and of the link to it, larger is better, in the order of
        the preference. For the first agent BER = 0, the best there can be: its entry is 1. preference: s, as
        translated by the E-LAM in force. fits: whether the agent has the type required at this step.
        functional_reward: delta; r_flag is +delta where the agent fits and -delta where it does not.

    Reference: LAMeTA eq. (34).
    """
    return jnp.where(fits, functional_reward, -functional_reward) + jnp.sum(preference * benefits)


def episode_bonus(
    factors: ChainFactors,
    preference: Float[Array, " 4"],
    request: Request,
    succeeded: Bool[Array, ""],
    *,
    qoe_form: str,
    failure_qoe: float | Float[Array, ""],
) -> Float[Array, ""]:
    """Bonus for the finished chain: its QoE, or `failure_qoe` where it breaks (18b), (18c) or (18d).

    LAMeTA eq. (35) without its last term: the fee F(kappa) is charged when the E-LAM is called, step by step.

    Args:
      factors: the four factors of the chain.
      preference: the preference that values them.
      request: the thresholds of (18b) and (18c).
      succeeded: (18d), every agent fits, is linked to its predecessor and appears once.
      qoe_form: "power" or "printed".
      failure_qoe: what a failed chain is worth.
    """
    return realised_qoe(factors, preference, request, succeeded, form=qoe_form, failure_qoe=failure_qoe)
