"""The pytrees of the decision process: its parameters, users, states, observations, actions.

Shapes are those of one user in one slot; `vmap` adds axes.
"""

from typing import NamedTuple, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.network.network import AgenticNetwork, NeighbourTable, Request
from lameta_jax.network.qoe import AgentFactors
from lameta_jax.types import floats

Actor = jax.tree_util.Partial
"""Anything that composes chains: `act(key, observation, state, params) -> Action`, for one user and step.

A Partial holds what the actor has learned as arrays, so that it can be passed to a jitted function, and
another actor of the same kind compiles nothing anew.
"""


# no_type_check: under vmap and jit the same classes hold batched arrays, or no arrays at all.
@no_type_check
@flax.struct.dataclass
class EnvParams:
    """One network in one slot, and the rules: see `env.make_env_params`; `env.slot_params` moves it to another slot."""

    network: AgenticNetwork
    request: Request
    table: NeighbourTable
    link_of_pairs: Int[Array, "agents agents"] | None  # -1 where there is none; None for large networks
    benefit_of_pairs: Float[Array, "agents agents"] | None  # I(BER) of these links, -1 where there is none
    agents: AgentFactors  # of this slot
    elam_fees: Float[Array, " elams"]
    node_benefits: Float[Array, "agents 4"]  # I(.) of (34); the INFORMATION column is 1 (no link yet)
    link_benefits: Float[Array, " links"]  # I(BER)
    functional_reward: Float[Array, ""]
    step_reward_scale: Float[Array, ""]
    failure_qoe: Float[Array, ""]
    mask_types: bool = flax.struct.field(pytree_node=False)
    qoe_form: str = flax.struct.field(pytree_node=False)
    reward_preference: str = flax.struct.field(pytree_node=False)
    initial_elam: int = flax.struct.field(pytree_node=False)

    @property
    def num_agents(self) -> int:
        return self.network.agent_type.shape[0]

    @property
    def num_hops(self) -> int:
        return self.request.types.shape[0]

    @property
    def num_elams(self) -> int:
        return self.elam_fees.shape[0]


@no_type_check
@flax.struct.dataclass
class User:
    """One request: what the user really wants, and what each E-LAM makes of the words."""

    preference: Float[Array, " 4"]  # s, felt by the user, never seen by a policy
    translated: Float[Array, "elams 4"]  # s as read by each E-LAM
    failed: Bool[Array, " elams"]  # whose answer cannot be read: `translated` is what stands in for it
    index: Int[Array, ""]  # place in the pool, so that results can be matched with users


@no_type_check
@flax.struct.dataclass
class EnvState:
    """Where the episode of one user stands."""

    user: User
    chain: Int[Array, " hops"]  # agents so far, -1 where none yet
    links: Int[Array, " hops-1"]  # links between them, 0 where none yet
    step: Int[Array, ""]  # agents picked so far
    elam: Int[Array, ""]  # kappa in force
    succeeded: Bool[Array, ""]  # (18d) so far: every agent was legal and of the required type
    terminated: Bool[Array, ""]


@no_type_check
@flax.struct.dataclass
class Observation:
    """What a policy may know. The intent appears only as translated by the E-LAM in force."""

    preference: Float[Array, " 4"]  # translated
    elam: Int[Array, ""]  # kappa in force
    step: Int[Array, ""]  # place in the request to fill now
    hops_left: Int[Array, ""]  # agents still to pick, this one included
    predecessor: Int[Array, ""]  # last agent of the chain, -1 before the first
    log_capability: Float[Array, ""]  # sum of ln C over the chain so far
    latency: Float[Array, ""]  # sum of L over the chain so far, minutes
    fits: Bool[Array, " agents"]  # has the type required now
    linked: Bool[Array, " agents"]  # is a neighbour of the predecessor; all are, before the first
    link_benefit: Float[Array, " agents"]  # I(BER) of the link from the predecessor; before the first 1
    node_mask: Bool[Array, " agents"]  # may be picked
    elam_mask: Bool[Array, " elams"]  # may be picked; at the last step only the one in force


class Action(NamedTuple):
    """The next agent of the chain, and the E-LAM that translates for the step after."""

    node: Int[Array, "*batch"]
    elam: Int[Array, "*batch"]


class StepInfo(NamedTuple):
    """What happened in a step beyond the reward."""

    step_reward: Float[Array, ""]  # (34), unscaled
    fee: Float[Array, ""]  # charged with this step
    qoe: Float[Array, ""]  # realised QoE as the user feels it, fees apart; 0 before the end


def make_users(
    preference: Float[Array, "users 4"] | Float[np.ndarray, "users 4"],
    translated: Float[Array, "users elams 4"] | Float[np.ndarray, "users elams 4"] | None = None,
    *,
    failed: Bool[Array, "users elams"] | Bool[np.ndarray, "users elams"] | None = None,
    num_elams: int = 2,
) -> User:
    """A pool of users; without translations every E-LAM is taken to read the intent perfectly, and none to fail."""
    of_host = isinstance(preference, np.ndarray)
    if translated is None:
        translated = (np if of_host else jnp).repeat(preference[:, None, :], num_elams, axis=1)
    if failed is None:
        failed = np.zeros(translated.shape[:2], bool)
    as_floats = lambda values: (
        floats(values) if isinstance(values, np.ndarray) else jnp.asarray(values, dtype=float)
    )
    return User(
        preference=as_floats(preference),
        translated=as_floats(translated),
        failed=jnp.asarray(failed),
        index=jnp.arange(preference.shape[0]),
    )
