"""Chain composition as a Markov decision process (LAMeTA Sec. V-B): one episode serves one user's request.

Every step picks (node, kappa): the node extends the chain, kappa names the E-LAM whose translation of the
intent guides the *next* step. `reset` and `step` have the form of gymnax 1.0; they serve one user, `vmap`
many.

Assumptions where the paper is silent:
- the first step is guided by the translation of `initial_elam`, whose fee is charged with the first reward;
- every translation is a call with its fee, also by the E-LAM already in force; the kappa of the last step
  guides nothing, so no call is made;
- where no legal node is left, the mask opens to all, and whichever node is picked ends the episode with
  `failure_qoe`; so does any illegal node that a caller passes in spite of the mask, and a node or a kappa that does
  not exist (such as -1), which in addition leaves the chain as it was;
- an agent that has failed (`slots.with_failures`) is illegal, whatever its links;
- step rewards are scaled down, because a chain's sum of (34) is not its QoE: at full scale the best policy of the
  process is not always the best for (18a) (for even preferences on lameta-81 it loses 3.4% of QoE).
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lameta_jax.composition.links import (
    Candidates,
    benefit_of_pairs,
    candidate,
    candidates,
    fitting,
    link_of_pairs,
    place,
    predecessor,
)
from lameta_jax.composition.reward import episode_bonus, normalised_benefit, step_reward
from lameta_jax.composition.slots import Conditions, with_conditions
from lameta_jax.composition.types import Action, EnvParams, EnvState, Observation, StepInfo, User
from lameta_jax.network.network import AgenticNetwork, Scenario, neighbour_table
from lameta_jax.network.qoe import QOE_FORMS, AgentFactors, ChainFactors, agent_factors, chain_factors
from lameta_jax.types import CAPABILITY, INFORMATION, LATENCY, OUTAGE

REWARD_PREFERENCES = ("user", "translated")


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """The choices of the decision process that are not properties of the network."""

    functional_reward: float = 1.0  # delta of (34), >= 0
    step_reward_scale: float = 0.1  # factor on (34) beside the bonus (35), >= 0; 1 is the paper's letter
    failure_qoe: float = -1.0  # QoE of a chain that breaks (18b), (18c) or (18d)
    mask_types: bool = False  # also mask agents of the wrong type
    qoe_form: str = "power"  # one of QOE_FORMS
    reward_preference: str = "user"  # who values the bonus: "user", or "translated" (the paper's letter)
    initial_elam: int = 0  # index of the E-LAM that translates for the first step

    def __post_init__(self) -> None:
        if self.reward_preference not in REWARD_PREFERENCES:
            known = ", ".join(REWARD_PREFERENCES)
            raise ValueError(f"reward_preference = {self.reward_preference!r} must be one of {known}")
        if self.qoe_form not in QOE_FORMS:
            raise ValueError(f"qoe_form = {self.qoe_form!r} must be one of {', '.join(QOE_FORMS)}")


def make_env_params(scenario: Scenario, config: EnvConfig | None = None) -> EnvParams:
    """The decision process on a scenario, in its nominal slot; builds the neighbour table, on the host."""
    config = config or EnvConfig()
    network = scenario.network
    num_elams = len(scenario.elam_names)
    if not 0 <= config.initial_elam < num_elams:
        raise ValueError(f"initial_elam = {config.initial_elam} must be in [0, {num_elams})")
    agents, node_benefits, link_benefits = jax.jit(_prepared)(network)
    pairs = link_of_pairs(network.agent_type.shape[0], network.link_ends)
    return EnvParams(
        network=network,
        request=scenario.request,
        table=neighbour_table(network.agent_type.shape[0], network.link_ends),
        link_of_pairs=pairs,
        benefit_of_pairs=jax.jit(benefit_of_pairs)(pairs, link_benefits),
        agents=agents,
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
    agents, node_benefits, link_benefits = _prepared(network)
    return replace(
        params,
        network=network,
        agents=agents,
        node_benefits=node_benefits,
        link_benefits=link_benefits,
        benefit_of_pairs=benefit_of_pairs(params.link_of_pairs, link_benefits),
    )


def reset(key: Key[Array, ""], params: EnvParams, user: User) -> tuple[Observation, EnvState]:
    """Starts the episode of one user. Nothing is drawn: `key` is there for the common signature."""
    del key
    state = EnvState(
        user=user,
        chain=jnp.full(params.num_hops, -1, dtype=int),
        links=jnp.zeros(params.num_hops - 1, dtype=int),
        step=jnp.asarray(0, dtype=int),
        elam=jnp.asarray(params.initial_elam, dtype=int),
        succeeded=jnp.asarray(True),
        terminated=jnp.asarray(False),
    )
    return observe(state, params), state


def step(
    key: Key[Array, ""], state: EnvState, action: Action, params: EnvParams
) -> tuple[Observation, EnvState, Float[Array, ""], Bool[Array, ""], Bool[Array, ""], StepInfo]:
    """Adds one agent to the chain.

    Returns:
      observation, state, reward, terminated, truncated (never: episodes end by themselves) and info. Stepping
      a terminated episode changes nothing and pays nothing.
    """
    del key
    moved, benefits, fits = _extend_chain(state, action, params)
    fee = jnp.where(state.step == 0, params.elam_fees[params.initial_elam], 0.0)
    fee = fee + jnp.where(moved.terminated, 0.0, params.elam_fees[action.elam])
    stepwise = step_reward(benefits, _translated(state), fits, params.functional_reward)
    bonus, qoe = _bonus(moved, params)
    reward = params.step_reward_scale * stepwise + jnp.where(moved.terminated, bonus, 0.0) - fee
    info = StepInfo(step_reward=stepwise, fee=fee, qoe=jnp.where(moved.terminated, qoe, 0.0))

    over = state.terminated
    moved = jax.tree.map(lambda old, new: jnp.where(over, old, new), state, moved)
    reward, info = jax.tree.map(lambda paid: jnp.where(over, 0.0, paid), (reward, info))
    return observe(moved, params), moved, reward, moved.terminated, jnp.asarray(False), info


def observe(state: EnvState, params: EnvParams, among: Candidates | None = None) -> Observation:
    """What the policy sees in a state; no array is larger than the number of agents.

    Args:
      among: the agents to look at; by default all.
    """
    legal, linked, link_benefit = candidates(state, params, among)
    at, network = place(state, params), params.network
    return Observation(
        preference=_translated(state),
        elam=state.elam,
        step=at,
        hops_left=params.num_hops - at,
        predecessor=predecessor(state),
        log_capability=_sum_so_far(state, jnp.log(network.capability)),
        latency=_sum_so_far(state, params.agents.latency),
        fits=fitting(state, params, among),
        linked=linked,
        link_benefit=link_benefit,
        node_mask=legal | ~jnp.any(legal),
        elam_mask=(jnp.arange(params.num_elams) == state.elam) | (at < params.num_hops - 1),
    )


def final_factors(state: EnvState, params: EnvParams) -> ChainFactors:
    """The four factors of the chain of a finished episode; meaningless where `state.succeeded` is False."""
    return chain_factors(params.network, jnp.maximum(state.chain, 0), state.links, params.agents)


def _extend_chain(
    state: EnvState, action: Action, params: EnvParams
) -> tuple[EnvState, Float[Array, " 4"], Bool[Array, ""]]:
    """The state after an action, the normalised factors of the agent that it adds, and whether that fits."""
    at = place(state, params)
    exists = _within(action.node, params.num_agents) & _within(action.elam, params.num_elams)
    is_legal, link = candidate(state, action.node, params)
    is_legal = is_legal & exists
    fits = exists & (params.network.agent_type[action.node] == params.request.types[at])
    link_benefit = jnp.where(is_legal, _link_benefit(state, link, params), 0.0)
    benefits = params.node_benefits[action.node].at[INFORMATION].set(link_benefit)
    benefits = jnp.where(exists, benefits, 0.0)
    terminated = ~is_legal | (at == params.num_hops - 1)
    moved = replace(
        state,
        chain=state.chain.at[at].set(jnp.where(exists, action.node, -1)),
        links=jnp.where(jnp.arange(1, params.num_hops) == at, link, state.links),
        step=state.step + 1,
        elam=jnp.where(terminated, state.elam, action.elam),
        succeeded=state.succeeded & is_legal & fits,
        terminated=terminated,
    )
    return moved, benefits, fits


def _link_benefit(state: EnvState, link: Int[Array, "*batch"], params: EnvParams) -> Float[Array, "*batch"]:
    """I(BER) of links; 1 for the first agent, which comes over none (and where a network has none at all)."""
    if params.link_benefits.shape[0] == 0:
        return jnp.ones(link.shape)
    return jnp.where(state.step == 0, 1.0, params.link_benefits[link])


def _bonus(state: EnvState, params: EnvParams) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The bonus (35) as the reward counts it, and the QoE as the user feels it; for a finished chain."""
    qoe = chain_value(state, state.user.preference, params)
    if params.reward_preference == "translated":
        return chain_value(state, _translated(state), params), qoe
    return qoe, qoe


def chain_value(state: EnvState, preference: Float[Array, " 4"], params: EnvParams) -> Float[Array, ""]:
    """QoE of a finished chain for a preference; `failure_qoe` where it fails or is not complete."""
    return episode_bonus(
        final_factors(state, params),
        preference,
        params.request,
        state.succeeded & (state.step == params.num_hops),
        qoe_form=params.qoe_form,
        failure_qoe=params.failure_qoe,
    )


def _sum_so_far(state: EnvState, values: Float[Array, " agents"]) -> Float[Array, ""]:
    """The sum of what the agents of the chain have."""
    return jnp.sum(jnp.where(state.chain >= 0, values[jnp.maximum(state.chain, 0)], 0.0))


def _within(index: Int[Array, ""], count: int) -> Bool[Array, ""]:
    return (index >= 0) & (index < count)  # JAX would read -1 as the last one, and a number too large as well


def _translated(state: EnvState) -> Float[Array, " 4"]:
    return state.user.translated[state.elam]


def _prepared(
    network: AgenticNetwork,
) -> tuple[AgentFactors, Float[Array, "agents 4"], Float[Array, " links"]]:
    """What a slot settles for all its episodes: factors of agents, and I(.) of (34) over agents and links."""
    agents = agent_factors(network)
    columns = [jnp.ones_like(network.capability)] * 4
    columns[CAPABILITY] = normalised_benefit(agents.capability, larger_is_better=True)
    columns[LATENCY] = normalised_benefit(agents.latency, larger_is_better=False)
    columns[OUTAGE] = normalised_benefit(agents.crash, larger_is_better=False)
    return agents, jnp.stack(columns, axis=-1), normalised_benefit(network.link_ber, larger_is_better=False)
