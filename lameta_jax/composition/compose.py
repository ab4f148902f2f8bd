"""A chain for one user by a trained policy, and what the policy thought of the other agents."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from lameta_jax.composition.distributions import MaskedCategorical
from lameta_jax.composition.encoder import MAX_HOPS
from lameta_jax.composition.env import EnvConfig, EnvParams, make_env_params, reset, step
from lameta_jax.composition.policy import PolicyConfig, best_action, make_policy
from lameta_jax.composition.policy_files import PolicyError, TrainedPolicy
from lameta_jax.composition.types import User, make_users
from lameta_jax.functional import Params
from lameta_jax.network.network import Scenario
from lameta_jax.types import floats


class Composed(NamedTuple):
    """The chain of one user, and how likely the policy held every agent at every place, given those before."""

    chain: tuple[
        int, ...
    ]  # shorter than the request, or with a missing link, where the policy ran into a dead end
    probability: Float[np.ndarray, "hops agents"]  # 0 where an agent could not be picked


def compose_chain(policy: TrainedPolicy, scenario: Scenario, preference: Any) -> Composed:
    """The chain that a policy composes for one user, always taking its most probable action.

    Every E-LAM is taken to read the intent as `preference`. The E-LAMs are those that the policy was trained
    with: it tells them apart by number, and their fees play no part in its choices, so the scenario may have
    others. Agents of the wrong type, which would fail (18d), are masked.

    Raises:
      PolicyError: the request is longer than any policy can serve.
    """
    hops = scenario.request.types.shape[0]
    if hops > MAX_HOPS:
        raise PolicyError(f"a request of {hops} agents is longer than a policy can serve, {MAX_HOPS}")
    num_elams = policy.config.num_elams
    own = replace(
        scenario,
        elam_names=tuple(f"elam-{index}" for index in range(num_elams)),
        elam_fees=floats(np.zeros(num_elams)),
    )
    env_params = make_env_params(own, EnvConfig(mask_types=True, initial_elam=policy.initial_elam))
    users = make_users(np.asarray(preference, dtype=float)[None, :], num_elams=num_elams)
    chains, probability = greedy_chains(policy.config)(policy.params, env_params, users)
    return Composed(
        chain=tuple(int(agent) for agent in np.asarray(chains)[0] if agent >= 0),
        probability=np.asarray(probability)[0],
    )


@lru_cache(maxsize=4)
def greedy_chains(
    config: PolicyConfig,
) -> Callable[[Params, EnvParams, User], tuple[Int[Array, "users hops"], Float[Array, "users hops agents"]]]:
    """Greedy episodes of a policy of those sizes; kept, since every new jit would compile again.

    The chains are those of `evaluate`, which also values them and encodes the network anew at every step: without
    that, compiling takes half the time, and compiling is nearly all that a single user waits for.
    """
    policy = make_policy(config)

    @jax.jit
    def compose(params: Params, env_params: EnvParams, users: User):
        encoding = policy.encode(params, env_params)

        def serve(user):
            def one_step(carry, _):
                observation, state = carry
                decision = policy.decode(params, encoding, observation)
                action = best_action(decision, observation)
                likely = MaskedCategorical(decision.node_logits, observation.node_mask).probabilities()
                observation, state, *_ = step(key, state, action, env_params)
                return (observation, state), likely

            key = jax.random.key(0)  # nothing is drawn
            start = reset(key, env_params, user)
            (_, state), likely = jax.lax.scan(one_step, start, length=env_params.num_hops)
            return state.chain, likely

        if users.index.shape[0] > 1:
            return jax.vmap(serve)(users)
        # For one user, tracing how the program would treat many takes longer than all else.
        alone = serve(jax.tree.map(lambda leaf: leaf[0], users))
        return jax.tree.map(lambda leaf: leaf[None], alone)

    return compose
