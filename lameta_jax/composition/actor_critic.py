"""What all policies share: the encoder of a slot, the context of a decision, and the critic (LAMeTA eq. (39))."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lameta_jax.composition.decisions import Decision
from lameta_jax.composition.encoder import MAX_HOPS, Encoding, GraphEncoder, Scene, Table, View
from lameta_jax.composition.types import Observation


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Sizes of the networks."""

    width: int = 64  # of node embeddings and of the pointer
    num_layers: int = 2  # graph convolutions
    context_width: int = 128  # hidden layers of actor and critic
    intent_width: int = 32  # of phi(s)
    elam_width: int = 8  # of psi(kappa)
    num_elams: int = 2  # E-LAMs to choose from
    lookahead: int = 2  # of the pointer: resolution of the anchors of `lookahead.best_remaining`; 0: none


class ActorCritic(nnx.Module):
    """What every policy shares: the encoder of the slot, the context of a decision and the critic (39).

    z = [h_graph | phi(s) | psi(kappa)] as printed knows neither the step nor the predecessor, so the context also
    holds the step, the hops left and the embedding of the predecessor (named deviation).
    """

    def __init__(self, config: PolicyConfig, *, rngs: nnx.Rngs):
        linear = linear_layer(rngs)
        self.config = config
        width, hidden, num_elams = config.width, config.context_width, config.num_elams
        self.encoder = GraphEncoder(width, config.num_layers, rngs=rngs)
        self.intent = linear(4, config.intent_width)
        self.elam = linear(num_elams, config.elam_width)
        context = 2 * width + config.intent_width + config.elam_width + 2 * MAX_HOPS
        self.actor = nnx.List([linear(context, hidden), linear(hidden, hidden)])
        self.critic = nnx.List([linear(context, hidden), linear(hidden, hidden)])
        self.value = linear(hidden, 1)

    def encode(self, scene: Scene, decisions: int) -> Encoding:
        """The slot, for so many decisions: with a table where these are more than agents."""
        encoding = self.encoder(scene)
        if decisions <= encoding.nodes.shape[0]:
            return encoding
        adds = [
            encoding.nodes @ layers[0].kernel[-self.config.width :] for layers in (self.actor, self.critic)
        ]
        return encoding._replace(table=Table(*adds))

    def decode(self, view: View, observation: Observation) -> Decision:
        actor_adds, critic_adds = view.table or (None, None)
        hidden = self._hidden(self.actor, actor_adds, view, observation)
        judged = self._hidden(self.critic, critic_adds, view, observation)
        node_logits, elam_part = self.logits(hidden, view, observation)
        return Decision(node_logits, elam_part, self.value(judged)[0])

    def logits(
        self, hidden: Float[Array, " hidden"], view: View, observation: Observation
    ) -> tuple[Float[Array, " agents"], Float[Array, "_ _"]]:
        """Scores of every agent, and what `elam_logits` needs."""
        raise NotImplementedError

    @staticmethod
    def elam_logits(
        view: View, decision: Decision, node: Int[Array, "*batch"]
    ) -> Float[Array, "*batch elams"]:
        """Scores of every E-LAM given an agent."""
        raise NotImplementedError

    def _hidden(
        self,
        layers: nnx.List,
        adds: Float[Array, "agents hidden"] | None,
        view: View,
        observation: Observation,
    ) -> Float[Array, " hidden"]:
        """Hidden layers over [graph | request | predecessor]; what the graph adds to the first is the same for all.

        Args:
          adds: what every predecessor adds to the first layer, if that is known.
        """
        first, *others = layers
        kernel, width, before = first.kernel[...], self.config.width, observation.predecessor
        request = self._request(observation)
        own = (view.nodes if adds is None else adds)[jnp.maximum(before, 0)]
        own = jnp.where(before >= 0, own, 0.0)
        if adds is None:  # one product is faster than two
            request_and_own = jnp.concatenate([request, own]) @ kernel[width:]
        else:
            request_and_own = request @ kernel[width:-width] + own
        hidden = jax.nn.relu(view.graph @ kernel[:width] + first.bias[...] + request_and_own)
        for layer in others:
            hidden = jax.nn.relu(layer(hidden))
        return hidden

    def _request(self, observation: Observation) -> Float[Array, " request"]:
        """Of z, what the user wants and how far the request is served."""
        kind = observation.preference.dtype
        return jnp.concatenate(
            [
                jax.nn.relu(self.intent(observation.preference)),
                jax.nn.relu(self.elam(jax.nn.one_hot(observation.elam, self.config.num_elams, dtype=kind))),
                jax.nn.one_hot(observation.step, MAX_HOPS, dtype=kind),
                jax.nn.one_hot(observation.hops_left - 1, MAX_HOPS, dtype=kind),
            ]
        )


def linear_layer(rngs: nnx.Rngs) -> Callable[[int, int], nnx.Linear]:
    """`linear(inputs, outputs)` in the precision in force; its weights come from `Policy.init`."""
    zeros = nnx.initializers.zeros
    return partial(nnx.Linear, param_dtype=jnp.result_type(float), kernel_init=zeros, rngs=rngs)
