"""The actor as LAMeTA eq. (38) prints it: one output for every pair of agent and E-LAM.

It knows agents by their place alone, so it serves the network that it was trained on and no other.
"""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lameta_jax.composition.decisions import Decision
from lameta_jax.composition.encoder import View
from lameta_jax.composition.policy import (
    ActorCritic,
    Policy,
    PolicyConfig,
    linear_layer,
    policy_functions,
)
from lameta_jax.composition.types import Observation


@dataclass(frozen=True, kw_only=True)
class MLPPolicyConfig:
    """Sizes of the networks."""

    num_agents: int
    common: PolicyConfig = PolicyConfig()  # of encoder, context and critic


class MLPPolicy(ActorCritic):
    """A flat distribution over agents times E-LAMs (LAMeTA eq. (38)).

    The probability of a pair is that of its agent, summed over E-LAMs, times that of the E-LAM given the agent: the
    form in which masks apply to both.
    """

    def __init__(self, config: MLPPolicyConfig, *, rngs: nnx.Rngs):
        super().__init__(config.common, rngs=rngs)
        self.num_agents = config.num_agents
        self.pairs = linear_layer(rngs)(
            config.common.context_width, config.num_agents * config.common.num_elams
        )

    def logits(
        self, hidden: Float[Array, " hidden"], view: View, observation: Observation
    ) -> tuple[Float[Array, " agents"], Float[Array, "agents elams"]]:
        agents = view.nodes.shape[0]
        if agents != self.num_agents:
            raise ValueError(f"num_agents = {self.num_agents} of the policy must be {agents}")
        pairs = self.pairs(hidden).reshape(agents, self.config.num_elams)
        return jax.nn.logsumexp(pairs, axis=1), pairs

    @staticmethod
    def elam_logits(
        view: View, decision: Decision, node: Int[Array, "*batch"]
    ) -> Float[Array, "*batch elams"]:
        """The outputs for the pairs with that agent."""
        del view
        return jnp.take_along_axis(decision.elam_part, node[..., None, None], axis=-2)[..., 0, :]


def make_mlp_policy(config: MLPPolicyConfig) -> Policy:
    """The printed policy with the given sizes."""
    build = lambda: MLPPolicy(config, rngs=nnx.Rngs(0))
    return policy_functions(replace(config.common, lookahead=0), MLPPolicy.elam_logits, build)
