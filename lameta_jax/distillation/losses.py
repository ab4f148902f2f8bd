"""Losses of weighted preference distillation: pure functions of log-probabilities.

LAMeTA Sec. IV-B, eqs. (27)-(32). An answer's log-probability is summed over its tokens, in nats.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from lameta_jax.intents.preference import angular_distance

Scalar = Float[Array, ""]


def preference_probability(
    chosen_reward: Float[Array, "*batch"], rejected_reward: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Probability that the chosen answer beats the rejected one (Bradley-Terry).

    Reference: LAMeTA eq. (27).

    >>> float(preference_probability(jnp.array(0.0), jnp.array(0.0)))
    0.5
    """
    return jax.nn.sigmoid(chosen_reward - rejected_reward)


def implicit_reward(
    logps: Float[Array, "*batch"], reference_logps: Float[Array, "*batch"], beta: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Reward under which the policy is optimal: `beta log(pi / pi_ref)`, without the prompt's constant.

    The constant `beta log Z(p)` cancels in every comparison of two answers to one prompt, eq. (30).

    Reference: LAMeTA eq. (29).
    """
    return beta * (logps - reference_logps)


def weighted_beta(
    preferences: Float[Array, "samples 4"],
    mean_preference: Float[Array, " 4"],
    beta_base: Scalar,
    slope: Scalar,
) -> Float[Array, " samples"]:
    """Temperature of every sample: `beta_base (1 - slope Dis(s_p, s_mean))`.

    Samples far from the mean of their data set count less. Dis is at most 1/2 on the simplex, so the slope (the
    paper's lambda) must lie in [0, 2) for every temperature to be positive.

    Reference: LAMeTA eq. (32).
    """
    mean = jnp.broadcast_to(mean_preference[None], preferences.shape)
    return beta_base * (1.0 - slope * angular_distance(preferences, mean))


def weighted_dpo_loss(
    chosen_logps: Float[Array, " samples"],
    rejected_logps: Float[Array, "samples rejected"],
    reference_chosen_logps: Float[Array, " samples"],
    reference_rejected_logps: Float[Array, "samples rejected"],
    beta: Float[Array, " samples"],
    label_smoothing: Scalar | float = 0.0,
) -> Scalar:
    r"""Direct preference optimisation with a temperature per sample and several rejected answers per chosen one.

        L = - mean_{i,j} [ (1 - epsilon) log sigma(m_ij) + epsilon log sigma(-m_ij) ]
        m_ij = beta_i [ (log pi(s_i) - log pi_ref(s_i)) - (log pi(c_ij) - log pi_ref(c_ij)) ]

    The reference log-probabilities are constants, computed once per pair before training. Where policy and
    reference agree the loss is log 2, whatever beta. The label smoothing epsilon in [0, 1/2) is the share of pairs
    that are taken to be the wrong way round; the paper has none.

    Reference: LAMeTA eq. (31); Rafailov et al., Direct Preference Optimization, 2023, arXiv:2305.18290, eq. (7).

    >>> one, two = jnp.array([-3.0]), jnp.array([[-5.0, -4.0]])
    >>> round(float(weighted_dpo_loss(one, two, one, two, jnp.array([0.1]))), 4)
    0.6931
    """
    chosen = implicit_reward(chosen_logps, reference_chosen_logps, beta)
    rejected = implicit_reward(
        rejected_logps, reference_rejected_logps, jnp.broadcast_to(beta[:, None], rejected_logps.shape)
    )
    margin = chosen[:, None] - rejected
    right, wrong = jax.nn.log_sigmoid(margin), jax.nn.log_sigmoid(-margin)
    return -jnp.mean((1.0 - label_smoothing) * right + label_smoothing * wrong)


def negative_log_likelihood(logps: Float[Array, " samples"]) -> Scalar:
    """Mean of `-log pi(s | p)`: the loss of supervised fine-tuning and, weighted, the anchor of IoKD."""
    return -jnp.mean(logps)
