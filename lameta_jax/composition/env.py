"""Chain composition as a Markov decision process (LAMeTA Sec. V-B): one episode serves one user's request.

Every step picks (node, kappa): the node extends the chain, kappa names the E-LAM whose translation of the intent
guides the *next* step. `reset` and `step` have the form of gymnax 1.0.

Assumptions where the paper is silent:
- the first step is guided by the translation of `initial_elam`, whose fee is charged with the first reward;
- the kappa of the last step guides nothing: no call is made and no fee charged;
- where no legal node is left, the mask opens to all, and whichever node is picked ends the episode with
  `failure_qoe`; so does any illegal node that a caller passes in spite of the mask.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lameta_jax.composition.reward import episode_bonus, normalised_benefit, step_reward
from lameta_jax.composition.slots import Conditions, with_conditions
from lameta_jax.network.network import AgenticNetwork, NeighbourTable, Request, Scenario, neighbour_table
from lameta_jax.network.outage import crash_probability
from lameta_jax.network.qoe import ChainFactors, chain_factors
from lameta_jax.network.queueing import agent_latency
from lameta_jax.types import CAPABILITY, INFORMATION, LATENCY, OUTAGE


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """The choices of the decision process that are not properties of the network."""

    functional_reward: float = 1.0   # delta of (34), > 0
    step_reward_scale: float = 1.0   # factor on (34) beside the bonus (35), >= 0
    failure_qoe: float = -1.0        # QoE of a chain that breaks (18b), (18c) or (18d)
    mask_types: bool = False         # also mask agents of the wrong type
    qoe_form: str = "power"          # "power" or "printed"
    reward_preference: str = "user"  # who values the bonus: "user", or "translated" (the paper's letter)
    initial_elam: int = 0            # index of the E-LAM that translates for the first step

    def __post_init__(self):
        if self.reward_preference not in ("user", "translated"):
            raise ValueError(f"reward_preference = {self.reward_preference!r} must be 'user' or 'translated'")


@flax.struct.dataclass
class EnvParams:
    """One network in one slot, and the rules. `slot_params` moves it to another slot."""

    network: AgenticNetwork
    request: Request
    table: NeighbourTable
    elam_fees: Float[Array, " elams"]
    node_benefits: Float[Array, "agents 4"]    # I(.) of (34); the INFORMATION column is 1 (no link yet)
    link_benefits: Float[Array, " links"]      # I(BER)
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


@flax.struct.dataclass
class User:
    """One request: what the user really wants, and what each E-LAM makes of the words."""

    preference: Float[Array, "*users 4"]
    translated: Float[Array, "*users elams 4"]
    index: Int[Array, "*users"]    # place in the pool, so that results can be matched with users


@flax.struct.dataclass
class EnvState:
    user: User
    chain: Int[Array, " hops"]             # agents so far, -1 where none yet
    links: Int[Array, " hops-1"]           # links between them, 0 where none yet
    step: Int[Array, ""]
    elam: Int[Array, ""]                   # kappa in force
    succeeded: Bool[Array, ""]             # every agent so far is legal and fits
    terminated: Bool[Array, ""]


@flax.struct.dataclass
class Observation:
    """What a policy may know. The intent appears only as translated by the E-LAM in force."""

    preference: Float[Array, " 4"]
    elam: Int[Array, ""]
    step: Int[Array, ""]
    hops_left: Int[Array, ""]              # agents still to pick, this one included
    predecessor: Int[Array, ""]            # last agent of the chain, -1 before the first
    fits: Bool[Array, " agents"]           # has the type required now
    linked: Bool[Array, " agents"]         # is a neighbour of the predecessor (all, before the first)
    link_benefit: Float[Array, " agents"]  # I(BER) of the link from the predecessor; 1 before the first, else 0
    node_mask: Bool[Array, " agents"]      # may be picked
    elam_mask: Bool[Array, " elams"]       # may be picked: at the last step only the one in force


class Action(NamedTuple):
    node: Int[Array, ""]
    elam: Int[Array, ""]


Actor = jax.tree_util.Partial
"""Anything that composes chains: `act(key, observation, state, params) -> Action`, for one user and step.

A Partial holds what the actor has learned as arrays, so that it can be passed to a jitted function, and another
actor of the same kind compiles nothing anew.
"""


class StepInfo(NamedTuple):
    """What happened in a step beyond the reward."""

    step_reward: Float[Array, ""]    # (34), unscaled
    fee: Float[Array, ""]            # charged with this step
    qoe: Float[Array, ""]            # realised QoE for the user, fees apart; 0 before the end
    succeeded: Bool[Array, ""]       # (18d) so far


def make_users(preference: Any, translated: Any = None, *, num_elams: int = 2) -> User:
    """A pool of users; without translations every E-LAM is taken to read the intent perfectly."""
    preference = jnp.asarray(preference, dtype=float)
    if translated is None:
        translated = jnp.broadcast_to(preference[:, None, :], (preference.shape[0], num_elams, 4))
    return User(
        preference=preference,
        translated=jnp.asarray(translated, dtype=float),
        index=jnp.arange(preference.shape[0]),
    )


def make_env_params(scenario: Scenario, config: EnvConfig | None = None) -> EnvParams:
    """The decision process on a scenario, in its nominal slot. The neighbour table is built here, on the host."""
    config = config or EnvConfig()
    network = scenario.network
    if not 0 <= config.initial_elam < len(scenario.elam_names):
        raise ValueError(f"initial_elam = {config.initial_elam} must name one of {len(scenario.elam_names)} E-LAMs")
    node_benefits, link_benefits = jax.jit(_benefits)(network)
    return EnvParams(
        network=network,
        request=scenario.request,
        table=neighbour_table(network.agent_type.shape[0], network.link_ends),
        elam_fees=jnp.asarray(scenario.elam_fees, dtype=float),
        node_benefits=node_benefits,
        link_benefits=link_benefits,
        functional_reward=jnp.asarray(config.functional_reward, dtype=float),
        step_reward_scale=jnp.asarray(config.step_reward_scale, dtype=float),
        failure_qoe=jnp.asarray(config.failure_qoe, dtype=float),
        mask_types=config.mask_types,
        qoe_form=config.qoe_form,
        reward_preference=config.reward_preference,
        initial_elam=config.initial_elam,
    )


def slot_params(params: EnvParams, conditions: Conditions) -> EnvParams:
    """The same decision process under the conditions of a slot."""
    network = with_conditions(params.network, conditions)
    node_benefits, link_benefits = _benefits(network)
    return params.replace(network=network, node_benefits=node_benefits, link_benefits=link_benefits)


def reset(key: Key[Array, ""], params: EnvParams, user: User) -> tuple[Observation, EnvState]:
    """Starts the episode of one user. Nothing is drawn: `key` is there for the common signature."""
    del key
    state = EnvState(
        user=user,
        chain=jnp.full(params.num_hops, -1),
        links=jnp.zeros(params.num_hops - 1, dtype=int),
        step=jnp.asarray(0),
        elam=jnp.asarray(params.initial_elam),
        succeeded=jnp.asarray(True),
        terminated=jnp.asarray(False),
    )
    return observe(state, params), state


def step(
    key: Key[Array, ""], state: EnvState, action: Action, params: EnvParams
) -> tuple[Observation, EnvState, Float[Array, ""], Bool[Array, ""], Bool[Array, ""], StepInfo]:
    """Adds one agent to the chain.

    Returns:
      observation, state, reward, terminated, truncated (never: an episode ends by itself), info. Stepping a
      terminated episode changes nothing and pays nothing.
    """
    del key
    last_step = params.num_hops - 1
    at = jnp.minimum(state.step, last_step)
    legal, link, _ = _candidates(state, params)
    fits = params.network.agent_type[action.node] == params.request.types[at]
    benefits = params.node_benefits[action.node]
    link_benefit = jnp.where(at > 0, params.link_benefits[link[action.node]], 1.0)
    benefits = benefits.at[INFORMATION].set(jnp.where(legal[action.node], link_benefit, 0.0))
    stepwise = step_reward(benefits, _translated(state), fits, params.functional_reward)

    succeeded = state.succeeded & legal[action.node] & fits
    chain = state.chain.at[at].set(action.node)
    links = state.links.at[jnp.maximum(at - 1, 0)].set(link[action.node]) if params.num_hops > 1 else state.links
    terminated = ~legal[action.node] | (at == last_step)
    fee = jnp.where(state.step == 0, params.elam_fees[params.initial_elam], 0.0)
    fee = fee + jnp.where(terminated, 0.0, params.elam_fees[action.elam])

    moved = state.replace(
        chain=chain,
        links=links,
        step=state.step + 1,
        elam=jnp.where(terminated, state.elam, action.elam),
        succeeded=succeeded,
        terminated=terminated,
    )
    complete = succeeded & (at == last_step)
    bonus, qoe = _bonus(moved, complete, params)
    bonus, qoe = jnp.where(terminated, bonus, 0.0), jnp.where(terminated, qoe, 0.0)
    reward = params.step_reward_scale * stepwise + bonus - fee

    over = state.terminated
    moved = jax.tree.map(lambda old, new: jnp.where(over, old, new), state, moved)
    info = StepInfo(
        step_reward=jnp.where(over, 0.0, stepwise),
        fee=jnp.where(over, 0.0, fee),
        qoe=jnp.where(over, 0.0, qoe),
        succeeded=moved.succeeded,
    )
    return (
        observe(moved, params), moved, jnp.where(over, 0.0, reward), moved.terminated, jnp.asarray(False), info,
    )


def observe(state: EnvState, params: EnvParams) -> Observation:
    """What the policy sees in a state; all arrays have the size of the agents, none of their square."""
    legal, link, linked = _candidates(state, params)
    at = jnp.minimum(state.step, params.num_hops - 1)
    first = state.step == 0
    elams = jnp.arange(params.num_elams)
    return Observation(
        preference=_translated(state),
        elam=state.elam,
        step=at,
        hops_left=params.num_hops - at,
        predecessor=_predecessor(state),
        fits=params.network.agent_type == params.request.types[at],
        linked=linked,
        link_benefit=jnp.where(linked, jnp.where(first, 1.0, params.link_benefits[link]), 0.0),
        node_mask=jnp.where(jnp.any(legal), legal, True),
        elam_mask=(elams == state.elam) | (at < params.num_hops - 1),
    )


def final_factors(state: EnvState, params: EnvParams) -> ChainFactors:
    """The four factors of the chain of a finished episode; meaningless where `state.succeeded` is False."""
    return chain_factors(params.network, jnp.maximum(state.chain, 0), state.links)


def _translated(state: EnvState) -> Float[Array, " 4"]:
    return state.user.translated[state.elam]


def _predecessor(state: EnvState) -> Int[Array, ""]:
    return jnp.where(state.step == 0, -1, state.chain[jnp.maximum(state.step - 1, 0)])


def _candidates(
    state: EnvState, params: EnvParams
) -> tuple[Bool[Array, " agents"], Int[Array, " agents"], Bool[Array, " agents"]]:
    """Which agents may come next, over which link, and which are neighbours of the predecessor at all."""
    num_agents = params.num_agents
    first = state.step == 0
    predecessor = jnp.maximum(_predecessor(state), 0)
    neighbours, valid = params.table.neighbours[predecessor], params.table.valid[predecessor]
    # Padded places are sent out of bounds and dropped, so that they cannot overwrite a true neighbour.
    place = jnp.where(valid, neighbours, num_agents)
    link = jnp.zeros(num_agents, dtype=int).at[place].set(params.table.link[predecessor], mode="drop")
    linked = first | jnp.zeros(num_agents, dtype=bool).at[place].set(True, mode="drop")
    taken = jnp.where(state.chain >= 0, state.chain, num_agents)
    legal = linked.at[taken].set(False, mode="drop")
    if params.mask_types:
        at = jnp.minimum(state.step, params.num_hops - 1)
        legal = legal & (params.network.agent_type == params.request.types[at])
    return legal, link, linked


def _bonus(
    state: EnvState, complete: Bool[Array, ""], params: EnvParams
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The bonus as the reward counts it, and the QoE as the user feels it."""
    factors = final_factors(state, params)

    def value(preference):
        return episode_bonus(
            factors, preference, params.request, complete,
            qoe_form=params.qoe_form, failure_qoe=params.failure_qoe,
        )

    qoe = value(state.user.preference)
    return (value(_translated(state)) if params.reward_preference == "translated" else qoe), qoe


def _benefits(network: AgenticNetwork) -> tuple[Float[Array, "agents 4"], Float[Array, " links"]]:
    """I(.) of (34) over the agents and links of one slot."""
    latency = agent_latency(network.arrival_rate, network.service_rate, network.service_cv)
    crash = crash_probability(network.outages, network.observations)
    columns = [jnp.ones_like(network.capability)] * 4
    columns[CAPABILITY] = normalised_benefit(network.capability, larger_is_better=True)
    columns[LATENCY] = normalised_benefit(latency, larger_is_better=False)
    columns[OUTAGE] = normalised_benefit(crash, larger_is_better=False)
    return jnp.stack(columns, axis=-1), normalised_benefit(network.link_ber, larger_is_better=False)
