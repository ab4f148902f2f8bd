"""Quality of experience of a chain: objective, LAMeTA eq. (15), and subjective, eqs. (16), (35).

A chain's QoE is a function of its four factors. `preference` is s = [w_C, w_B, w_L, w_P] on the simplex.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.network.capability import chain_capability
from lameta_jax.network.channel import chain_information_loss
from lameta_jax.network.network import AgenticNetwork, Request
from lameta_jax.network.outage import chain_outage, crash_probability, overload_probability
from lameta_jax.network.queueing import agent_latency, chain_latency
from lameta_jax.types import CAPABILITY, INFORMATION, LATENCY, OUTAGE, Scalar

QOE_FORMS = ("power", "printed")
# Smallest weight inside the logarithms of the printed form, which is infinite at weight 0.
MIN_PRINTED_WEIGHT = 1e-3


class ChainFactors(NamedTuple):
    """The four factors of a chain's QoE."""

    capability: Float[Array, "*batch"]  # C, eq. (2)
    information_loss: Float[Array, "*batch"]  # B, eq. (3)
    latency: Float[Array, "*batch"]  # L, eq. (8), minutes
    outage: Float[Array, "*batch"]  # P_outage, eq. (14)


class AgentFactors(NamedTuple):
    """What an agent brings into any chain that it is part of, whatever the user wants."""

    capability: Float[Array, "*agents"]  # C_i
    latency: Float[Array, "*agents"]  # L_i, eq. (7), minutes
    crash: Float[Array, "*agents"]  # |F_i| / |O_i|
    overload: Float[Array, "*agents"]  # P_over of a chain whose busiest agent this is, eq. (13)


def agent_factors(network: AgenticNetwork) -> AgentFactors:
    """Of all agents: where many chains are valued, this is done once."""
    return AgentFactors(
        capability=network.capability,
        latency=agent_latency(network.arrival_rate, network.service_rate, network.service_cv),
        crash=crash_probability(network.outages, network.observations),
        overload=overload_probability(network.arrival_rate, network.service_rate),
    )


def chain_factors(
    network: AgenticNetwork,
    chain: Int[Array, " hops"],
    link: Int[Array, " hops-1"],
    agents: AgentFactors | None = None,
) -> ChainFactors:
    """Factors of one chain, given the links between its agents (`chain_links`); `vmap` for many chains.

    The busiest agent, (11) and (12), has the largest probability of overload, so a chain's is the largest of all.

    Args:
      agents: what `agent_factors` gives for the network; none: computed for the agents of the chain alone.
    """
    if agents is None:
        columns = ("capability", "service_rate", "service_cv", "outages", "observations")
        own = agent_factors(replace(network, **{name: getattr(network, name)[chain] for name in columns}))
    else:
        own = jax.tree.map(lambda leaf: leaf[chain], agents)
    return ChainFactors(
        capability=chain_capability(own.capability),
        information_loss=chain_information_loss(network.link_ber[link]),
        latency=chain_latency(own.latency),
        outage=chain_outage(own.crash, jnp.max(own.overload, axis=-1)),
    )


def chain_price(network: AgenticNetwork, chain: Int[Array, "*batch hops"]) -> Float[Array, "*batch"]:
    """What one service by a chain costs in US$, the sum over its agents."""
    return jnp.sum(network.price[chain], axis=-1)


def objective_qoe(factors: ChainFactors, capability_threshold: Scalar) -> Float[Array, "*batch"]:
    r"""QoE that weighs the four factors alike.

        Q = (1 - P) ((1 - B) ln(C / C_th) - ln L),   L in minutes

    Reference: LAMeTA eq. (15), to the letter: a negative bracket is made less negative by a larger outage.
    """
    capability, information_loss, latency, outage = factors
    capability_term = _finite_log(capability) - jnp.log(capability_threshold)
    return (1 - outage) * ((1 - information_loss) * capability_term - _finite_log(latency))


def subjective_qoe(
    factors: ChainFactors,
    preference: Float[Array, "*users 4"],
    capability_threshold: Scalar,
    form: str = "power",
) -> Float[Array, "*batch"]:
    r"""QoE as one user with preference s feels it, whether or not the constraints hold.

    "power" (w = 4 s, so that even weights give (15) exactly and a factor's pull grows with its weight):

        Q* = (1 - P)^{w_P} ((1 - B)^{w_B} w_C ln(C / C_th) - w_L ln L)

    where (1 - P)^{w_P} is left out if the bracket is negative: there it would reward outage.

    "printed" (LAMeTA eq. (35) without the fee, weights s, floored at 1e-3 inside the logarithms only):

        Q* = (1 - w_P P) ((1 - w_B B) ln(w_C C / C_th) - ln(w_L L))

    Assumption: the power form is ours; as printed, w_C and w_L are additive constants, so that the best chain
    hardly depends on them.

    Args:
      factors: of one chain, or of a batch of the same shape as `preference` without its last axis.
      preference: s, on the simplex, in the order of `FACTOR_NAMES`.
      capability_threshold: C_th, > 0.
      form: one of QOE_FORMS.
    """
    capability, information_loss, latency, outage = factors
    threshold = jnp.log(capability_threshold)
    if form == "power":
        w = 4 * preference
        correct = _power_of_complement(information_loss, w[..., INFORMATION])
        capability_term = correct * w[..., CAPABILITY] * (_finite_log(capability) - threshold)
        bracket = capability_term - w[..., LATENCY] * _finite_log(latency)
        working = _power_of_complement(outage, w[..., OUTAGE])
        return bracket * jnp.where(bracket < 0, jnp.ones_like(working), working)
    if form == "printed":
        w = preference
        log_w = jnp.log(jnp.maximum(w, MIN_PRINTED_WEIGHT))
        log_capability = log_w[..., CAPABILITY] + _finite_log(capability) - threshold
        log_latency = log_w[..., LATENCY] + _finite_log(latency)
        correct = 1 - w[..., INFORMATION] * information_loss
        return (1 - w[..., OUTAGE] * outage) * (correct * log_capability - log_latency)
    raise ValueError(f"form = {form!r} must be one of {', '.join(QOE_FORMS)}")


def meets_constraints(factors: ChainFactors, request: Request) -> Bool[Array, "*batch"]:
    """Whether a chain is fast and capable enough, LAMeTA (18b) and (18c)."""
    fast = factors.latency <= request.max_latency
    return fast & (factors.capability >= request.capability_threshold)


def realised_qoe(
    factors: ChainFactors,
    preference: Float[Array, "*users 4"],
    request: Request,
    succeeded: Bool[Array, "*batch"],
    form: str = "power",
    failure_qoe: Scalar = -1.0,
    charge: Scalar | Float[Array, "*batch"] = 0.0,
) -> Float[Array, "*batch"]:
    """QoE that the user gets: `subjective_qoe`, or `failure_qoe` where (18b), (18c) or (18d) is broken.

    Args:
      succeeded: (18d), whether the chain is what the request asked for.
      failure_qoe: what a failed service is worth to its user.
      charge: QoE that a working service costs, such as a price weight times `chain_price`.
    """
    felt = subjective_qoe(factors, preference, request.capability_threshold, form)
    return jnp.where(meets_constraints(factors, request) & succeeded, felt - charge, failure_qoe)


def _finite_log(value: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """ln, kept finite (gradient 0) where a product has underflowed or an unstable agent never answers."""
    limits = jnp.finfo(value.dtype)
    clipped = jnp.clip(value, limits.tiny, limits.max)
    # Outside, no gradient comes through: that of log at the smallest number overflows where clip would cancel it.
    return jnp.log(jnp.where(clipped == value, value, jax.lax.stop_gradient(clipped)))


def _power_of_complement(
    probability: Float[Array, "*batch"], exponent: Float[Array, "*users"]
) -> Float[Array, "*both"]:
    """(1 - p)^w for w >= 0 with 0^0 = 1; its gradient is 0 at p = 1, where the true one may be infinite."""
    # Asked of the logarithm and not of p, so that for many users nothing but the logarithm is read again.
    log_complement = jnp.log1p(-jnp.where(probability >= 1, 1.0, probability))
    certain = jnp.isneginf(log_complement)
    at_certain = jnp.where(exponent > 0, 0.0, 1.0).astype(log_complement.dtype)
    return jnp.where(certain, at_certain, jnp.exp(exponent * jnp.where(certain, 0.0, log_complement)))
