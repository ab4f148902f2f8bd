"""Slots: how the conditions of a network vary from one stretch of time to the next.

An agent that has failed is one that serves nobody: its service rate is 0, which no working agent has. So its latency
is infinite, any chain through it breaks (18b), and it needs no place of its own in the arrays: exact search, beam
search and evaluation avoid it as they are, and the decision process masks it. It differs from an unstable agent
(0 < mu <= lambda), which may be picked, to no avail.
"""

from dataclasses import dataclass, replace
from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from lameta_jax.network.network import AgenticNetwork


@dataclass(frozen=True, kw_only=True)
class SlotConfig:
    """How widely conditions vary between slots; all zero (the default) is the network as its file says."""

    arrival_rate_spread: float = 0.0  # standard deviation of ln(lambda), >= 0
    service_rate_spread: float = 0.0  # standard deviation of ln(mu_i), drawn per agent, >= 0
    fading_spread: float = 0.0  # standard deviation of ln(BER), drawn per link, >= 0
    redraw_outages: bool = False  # draw |F_i| ~ Binomial(|O_i|, |F_i| / |O_i|) per agent
    failure_probability: float = 0.0  # that an agent is out for the whole slot, each by itself, in [0, 1]

    def __post_init__(self):
        for name in ("arrival_rate_spread", "service_rate_spread", "fading_spread"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be >= 0")
        if not 0 <= self.failure_probability <= 1:
            raise ValueError(f"failure_probability = {self.failure_probability} must be in [0, 1]")


# no_type_check: under vmap and jit the same class holds batched arrays, or no arrays at all.
@no_type_check
@flax.struct.dataclass
class Conditions:
    """What a slot draws; everything else of a network (who there is, who is linked to whom) stays."""

    arrival_rate: Float[Array, ""]  # lambda, per minute
    service_rate: Float[Array, " agents"]  # mu, per minute; 0 for an agent that has failed
    link_ber: Float[Array, " links"]
    outages: Float[Array, " agents"]  # |F|


def nominal_conditions(network: AgenticNetwork) -> Conditions:
    """The conditions that a network comes with."""
    return Conditions(
        arrival_rate=network.arrival_rate,
        service_rate=network.service_rate,
        link_ber=network.link_ber,
        outages=network.outages,
    )


def with_conditions(network: AgenticNetwork, conditions: Conditions) -> AgenticNetwork:
    """The network in one slot."""
    return replace(
        network,
        arrival_rate=conditions.arrival_rate,
        service_rate=conditions.service_rate,
        link_ber=conditions.link_ber,
        outages=conditions.outages,
    )


def with_failures(conditions: Conditions, failed: Bool[Array, "*slots agents"]) -> Conditions:
    """The same conditions, with some agents failed.

    Applied after a policy has encoded a slot, it shows how the policy takes failures that it did not foresee:

        scene = policy.look(slot_params(params, conditions))
        encoding = policy.encode(weights, scene)                                # as it was
        params = slot_params(params, with_failures(conditions, failed))         # as it is: masks, rewards, QoE
    """
    rates = conditions.service_rate
    return replace(conditions, service_rate=jnp.where(failed, jnp.zeros_like(rates), rates))


def available(network: AgenticNetwork) -> Bool[Array, "*slots agents"]:
    """Which agents have not failed."""
    return network.service_rate > 0


def arrival_ramp(conditions: Conditions, factors: Float[Array, " slots"]) -> Conditions:
    """A sequence of slots that differ in the arrival rate alone: lambda times each factor (> 0) in turn.

    Every leaf of the result has a leading axis of slots, as `evaluate_slots` takes them.
    """
    shape = factors.shape
    slots = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, shape + leaf.shape), conditions)
    return replace(slots, arrival_rate=conditions.arrival_rate * factors)


def draw_conditions(key: Key[Array, ""], network: AgenticNetwork, config: SlotConfig) -> Conditions:
    """Draws the conditions of one slot around those of the network.

    Assumption (the paper says only that conditions vary): lambda, each mu and each BER are multiplied by
    exp(spread * N(0, 1)), the BER cut off at 1/2 (a coin toss), outages are counted anew, and agents fail
    independently. An agent whose service rate falls to lambda or below has infinite latency in that slot, so chains
    through it fail (18b). A slot may be drawn in which no chain can serve the request.
    """
    key_arrival, key_service, key_fading, key_outages = jax.random.split(key, 4)
    nominal = nominal_conditions(network)

    def around(key_factor, values, spread):
        if spread == 0:  # exactly the nominal values, and nothing to draw
            return values
        return values * jnp.exp(spread * jax.random.normal(key_factor, values.shape, values.dtype))

    outages = nominal.outages
    if config.redraw_outages:
        crash_probability = network.outages / network.observations
        outages = jax.random.binomial(
            key_outages, network.observations, crash_probability, dtype=outages.dtype
        )
    link_ber = around(key_fading, nominal.link_ber, config.fading_spread)
    conditions = Conditions(
        arrival_rate=around(key_arrival, nominal.arrival_rate, config.arrival_rate_spread),
        service_rate=around(key_service, nominal.service_rate, config.service_rate_spread),
        link_ber=jnp.minimum(link_ber, 0.5) if config.fading_spread else link_ber,
        outages=outages,
    )
    if config.failure_probability == 0:
        return conditions
    # A key beside those above, so that failures change nothing else of a slot.
    key_failures = jax.random.fold_in(key, 4)
    return with_failures(
        conditions, jax.random.bernoulli(key_failures, config.failure_probability, outages.shape)
    )


def draw_slots(
    key: Key[Array, ""], network: AgenticNetwork, config: SlotConfig, num_slots: int
) -> Conditions:
    """Draws independent slots; every leaf of the result has a leading axis of `num_slots`."""
    keys = jax.random.split(key, num_slots)
    return jax.vmap(lambda slot_key: draw_conditions(slot_key, network, config))(keys)
