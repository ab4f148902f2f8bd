"""The actor (LAMeTA eq. (38)): a pointer over agents, then the E-LAM; and policies as pure functions.

The actor as the paper prints it, with one output per agent, is in `mlp_policy.py`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Key

from lameta_jax.composition.actor_critic import ActorCritic, PolicyConfig, linear_layer
from lameta_jax.composition.decisions import Decided, Decision, ElamLogits, best_action, sample_action
from lameta_jax.composition.encoder import Encoding, Scene, View, look
from lameta_jax.composition.env import EnvParams
from lameta_jax.composition.lookahead import anchor_preferences, best_remaining, worth_of_agents
from lameta_jax.composition.types import Action, Actor, Observation
from lameta_jax.functional import Params, functionalize


class PointerPolicy(ActorCritic):
    """Scores every agent against a query made from the state, whatever the number of agents.

    The score of agent i is query(context) . key(h_i) / sqrt(width), bilinear in what the user wants and what the agent
    is, plus terms for whether i fits, whether it is linked and how good the link is, each weighted by the context; and,
    with lookahead, for how good the best rest of a chain from i on is to each of the anchors.
    """

    def __init__(self, config: PolicyConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        linear = linear_layer(rngs)
        width, hidden = config.width, config.context_width
        self.scale = width**-0.5
        self.query = linear(hidden, width)
        self.key = linear(width, width)
        self.link_weights = linear(hidden, 3)
        self.elam_query = linear(hidden, config.num_elams * width)
        if config.lookahead:
            self.anchor_weights = linear(hidden, len(anchor_preferences(config.lookahead)))

    def encode(self, scene: Scene, decisions: int) -> Encoding:
        encoding = super().encode(scene, decisions)
        return encoding._replace(keys=self.key(encoding.nodes))

    def logits(
        self, hidden: Float[Array, " hidden"], view: View, observation: Observation
    ) -> tuple[Float[Array, " agents"], Float[Array, "width elams"]]:
        heads = [self.query, self.elam_query, self.link_weights]
        if view.remaining is not None:
            heads.append(self.anchor_weights)
        query, elam_query, (fit_weight, link_weight, benefit_weight), *anchor_weights = _side_by_side(
            heads, hidden
        )
        node_logits = (
            jnp.tensordot(self.scale * query, view.keys, (0, 1))
            + fit_weight * observation.fits
            + link_weight * observation.linked
            + benefit_weight * observation.link_benefit
        )
        if view.remaining is not None:
            weights = jax.nn.softplus(anchor_weights[0])
            node_logits = node_logits + worth_of_agents(view.remaining, observation, weights)
        return node_logits, self.scale * elam_query.reshape(self.config.width, self.config.num_elams)

    @staticmethod
    def elam_logits(
        view: View, decision: Decision, node: Int[Array, "*batch"]
    ) -> Float[Array, "*batch elams"]:
        """key(h_i) . query_kappa(context) / sqrt(width) of the agent i that is picked."""
        return jnp.einsum("...w,...we->...e", view.keys[node], decision.elam_part)


class Policy(NamedTuple):
    """A policy as pure functions of its parameters."""

    init: Callable[[Key[Array, ""]], Params]
    look: Callable[[EnvParams], Scene]  # once per slot
    encode: Callable[..., Encoding]  # (params, scene, decisions=1 to be made), once per slot and update
    decode: Callable[[Params, View, Observation], Decision]  # once per user and step
    elam_logits: ElamLogits
    act_greedy: Callable[..., Action]  # (params, key, observation, state, env_params), see `policy_actor`
    act_sampled: Callable[..., Action]


def make_policy(config: PolicyConfig | None = None) -> Policy:
    """The pointer policy with the given sizes."""
    return _pointer_policy(config or PolicyConfig(), jnp.result_type(float))


@lru_cache(maxsize=16)
def _pointer_policy(config: PolicyConfig, dtype: jnp.dtype) -> Policy:
    """The policy in the precision in force, `dtype`; kept, as building it takes a while."""
    del dtype
    return policy_functions(
        config, PointerPolicy.elam_logits, lambda: PointerPolicy(config, rngs=nnx.Rngs(0))
    )


def policy_functions(
    config: PolicyConfig, elam_logits: ElamLogits, build: Callable[[], ActorCritic]
) -> Policy:
    """A module, given by what builds it, as pure functions; `elam_logits` is that of its class."""
    # Only shapes are needed here; the weights come from `init`.
    apply, shapes = functionalize(nnx.eval_shape(build))

    def look_ahead(env_params):
        if env_params.num_elams != config.num_elams:
            raise ValueError(f"num_elams = {config.num_elams} of the policy must be {env_params.num_elams}")
        scene = look(env_params)
        if not config.lookahead:
            return scene
        return scene._replace(remaining=best_remaining(env_params, anchor_preferences(config.lookahead)))

    def encode(params, scene, decisions=1):
        return apply(params, scene, decisions, method="encode")

    def decode(params, view, observation):
        return apply(params, view, observation, method="decode")

    def decided(params, observation, env_params):
        view = encode(params, look_ahead(env_params)).at(observation.step)
        return Decided(elam_logits, view, decode(params, view, observation), observation)

    def act_greedy(params, key, observation, state, env_params):
        del key, state
        return best_action(decided(params, observation, env_params))

    def act_sampled(params, key, observation, state, env_params):
        del state
        return sample_action(key, decided(params, observation, env_params))[0]

    init = partial(_draw_params, shapes=shapes)
    return Policy(init, look_ahead, encode, decode, elam_logits, act_greedy, act_sampled)


def _draw_params(key: Key[Array, ""], shapes: Params) -> Params:
    """Kernels from N(0, 1 / inputs), biases zero; in a single draw, as many draws take long to compile."""
    leaves, structure = jax.tree.flatten(shapes)
    normal = jax.random.normal(key, (sum(leaf.size for leaf in leaves),), leaves[0].dtype)
    drawn, start = [], 0
    for leaf in leaves:
        values = normal[start : start + leaf.size].reshape(leaf.shape)
        drawn.append(values / leaf.shape[0] ** 0.5 if leaf.ndim == 2 else jnp.zeros_like(values))
        start += leaf.size
    return jax.tree.unflatten(structure, drawn)


def policy_actor(policy: Policy, policy_params: Params, *, greedy: bool = True) -> Actor:
    """The trained policy as an actor: its most probable actions, or samples."""
    return Actor(policy.act_greedy if greedy else policy.act_sampled, policy_params)


def _side_by_side(layers: Sequence[Any], inputs: Float[Array, " inputs"]) -> list[Float[Array, " _"]]:
    """Linear layers of the same inputs as one product of matrices."""
    kernels = [layer.kernel[...] for layer in layers]
    outputs = inputs @ jnp.concatenate(kernels, axis=1)
    outputs = outputs + jnp.concatenate([layer.bias[...] for layer in layers])
    ends = np.cumsum([kernel.shape[1] for kernel in kernels])
    return jnp.split(outputs, ends[:-1].tolist())
