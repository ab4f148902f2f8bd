"""What a policy decides: the distributions over the next agent and the E-LAM, and actions drawn from them.

Of the E-LAMs only the scores given the agent that is picked matter, so no others are computed.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Int, Key

from lameta_jax.composition.distributions import MaskedCategorical
from lameta_jax.composition.encoder import View
from lameta_jax.composition.types import Action, Observation


class Decision(NamedTuple):
    """What actor and critic say about one observation."""

    node_logits: Float[Array, "*batch agents"]
    elam_part: Float[Array, "*batch _ _"]  # what `ElamLogits` makes the logits of kappa from, given a node
    value: Float[Array, " *batch"]


ElamLogits = Callable[[View, Decision, Int[Array, "*batch"]], Float[Array, "*batch elams"]]
"""`(view, decision, node)` to the logits of kappa for the node that is picked with it."""


class Decided(NamedTuple):
    """A decision about an observation, in a slot; with axes of a batch, or none. The view has no such axes."""

    elam_logits: ElamLogits
    view: View
    decision: Decision
    observation: Observation

    def nodes(self) -> MaskedCategorical:
        """The distribution over agents."""
        return MaskedCategorical(self.decision.node_logits, self.observation.node_mask)

    def elams(self, node: Int[Array, "*batch"]) -> MaskedCategorical:
        """The distribution over E-LAMs, given the agent."""
        logits = self.elam_logits(self.view, self.decision, node)
        return MaskedCategorical(logits, self.observation.elam_mask)


def sample_action(key: Key[Array, ""], decided: Decided) -> tuple[Action, Float[Array, "*batch"]]:
    """Draws a node, then kappa given the node; the action and its log-probability."""
    key_node, key_elam = jax.random.split(key)
    nodes = decided.nodes()
    node = nodes.sample(key_node)
    elams = decided.elams(node)
    elam = elams.sample(key_elam)
    return Action(node, elam), nodes.log_prob(node) + elams.log_prob(elam)


def best_action(decided: Decided) -> Action:
    """The most probable node, and the most probable kappa given it."""
    node = decided.nodes().mode()
    return Action(node, decided.elams(node).mode())


def evaluate_action(
    decided: Decided, action: Action
) -> tuple[Float[Array, "*batch"], Float[Array, "*batch"]]:
    """Log-probability of an action, and the entropy of the policy: H(node) + H(kappa | that node)."""
    nodes, elams = decided.nodes(), decided.elams(action.node)
    return nodes.log_prob(action.node) + elams.log_prob(action.elam), nodes.entropy() + elams.entropy()
