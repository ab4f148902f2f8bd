"""What a composer achieves: rollouts and the optimality gap."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lameta_jax.composition.env import EnvParams, final_factors, reset, slot_params, step
from lameta_jax.composition.slots import Conditions
from lameta_jax.composition.types import Actor, User
from lameta_jax.network.network import AgenticNetwork, Request, chain_links, serves_request
from lameta_jax.network.qoe import ChainFactors, chain_factors, chain_price, meets_constraints, realised_qoe
from lameta_jax.types import Scalar


class Evaluation(NamedTuple):
    """One episode per user; leaves have a leading axis of users (of slots and users in `evaluate_slots`)."""

    qoe: Float[Array, "*users"]  # realised, valued with the user's own preference; fees apart
    fee: Float[Array, "*users"]  # of all E-LAM calls of the episode
    net_qoe: Float[Array, "*users"]  # qoe - fee, the objective (18a)
    chain: Int[Array, "*users hops"]
    elams: Int[Array, "*users hops"]  # kappa in force at each step
    factors: ChainFactors  # of the chain; meaningless where it did not succeed
    succeeded: Bool[Array, "*users"]  # (18d)
    feasible: Bool[Array, "*users"]  # (18b)-(18d)


@jax.jit
def evaluate(key: Key[Array, ""], act: Actor, params: EnvParams, users: User) -> Evaluation:
    """Lets an actor serve every user once, in the slot of `params`.

    Args:
      key: for actors that draw; user i sees the same draws whatever the actor.
      act: the composer; of the same kind with other parameters it compiles nothing anew.
      params: the decision process.
      users: whom to serve.
    """

    def serve(user_key, user):
        def one_step(carry, step_key):
            observation, state = carry
            action = act(step_key, observation, state, params)
            next_observation, next_state, _, _, _, info = step(step_key, state, action, params)
            return (next_observation, next_state), (info.qoe, info.fee, state.elam)

        start = reset(user_key, params, user)
        (_, state), (qoe, fee, elams) = jax.lax.scan(
            one_step, start, jax.random.split(user_key, params.num_hops)
        )
        factors = final_factors(state, params)
        return Evaluation(
            qoe=jnp.sum(qoe),
            fee=jnp.sum(fee),
            net_qoe=jnp.sum(qoe) - jnp.sum(fee),
            chain=state.chain,
            elams=elams,
            factors=factors,
            succeeded=state.succeeded,
            feasible=state.succeeded & meets_constraints(factors, params.request),
        )

    return jax.vmap(serve)(jax.random.split(key, users.preference.shape[0]), users)


@jax.jit
def evaluate_slots(
    key: Key[Array, ""], act: Actor, params: EnvParams, users: User, slots: Conditions
) -> Evaluation:
    """`evaluate` in many slots; leaves of the result have axes [slots, users, ...]."""
    return jax.vmap(lambda conditions: evaluate(key, act, slot_params(params, conditions), users))(slots)


def value_chains(
    network: AgenticNetwork,
    request: Request,
    chains: Int[Array, "users hops"],
    preferences: Float[Array, "users 4"],
    *,
    form: str = "power",
    failure_qoe: float = -1.0,
    price_weight: Scalar = 0.0,
) -> Float[Array, " users"]:
    """Realised QoE of one given chain per user, less `price_weight` (per US$) times its price where it works.

    With the chains of `optimum` for the *translated* preferences, and the users' own `preferences`, this is
    the plug-in optimum: what perfect composition reaches with that E-LAM.
    """

    def value(chain, preference):
        exists = jnp.all(chain >= 0)  # `optimum` has -1 where there is no feasible chain
        chain = jnp.maximum(chain, 0)
        succeeded = exists & serves_request(network, request, chain)
        factors = chain_factors(network, chain, chain_links(network, chain)[0])
        charge = price_weight * chain_price(network, chain)
        return realised_qoe(
            factors, preference, request, succeeded, form=form, failure_qoe=failure_qoe, charge=charge
        )

    return jax.vmap(value)(chains, preferences)


def optimality(qoe: Float[Array, "*users"], optimum_qoe: Float[Array, "*users"]) -> Float[Array, "*users"]:
    """Fraction of the best possible QoE that each user gets; 1 minus it is the optimality gap.

    Users whose optimum is not positive have no meaningful fraction: NaN.
    """
    return jnp.where(optimum_qoe > 0, qoe / jnp.where(optimum_qoe > 0, optimum_qoe, 1.0), jnp.nan)
