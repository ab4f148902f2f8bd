"""l2-regularised logistic regression of several agents, with exact population losses."""

from dataclasses import replace
from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from lameta_jax.meta.convex import (
    Batch,
    Constants,
    InputLaw,
    draw_inputs,
    input_bound,
    projection_quadrature,
)

SIGMOID_BEND = 1 / (6 * 3**0.5)  # largest |second derivative| of the sigmoid, at log(2 +- sqrt(3))


@no_type_check  # under vmap and jit the same class holds batched arrays
@flax.struct.dataclass
class Logistic:
    """Two classes, 1 with probability sigmoid(target . x), else 0, and an l2 penalty.

    loss(w; x, y) = log(1 + e^{w . x}) - y w . x + l2 |w|^2 / 2
    """

    targets: Float[Array, "agents dims"]
    covariance: Float[Array, "dims dims"]  # of the inputs
    l2: Float[Array, ""]
    law: InputLaw = flax.struct.field(pytree_node=False, default="sphere")

    def sample(self, key: Key[Array, ""], num_samples: int) -> Batch:
        """Independent samples of every agent, [agents samples ...]."""
        for_inputs, for_labels = jax.random.split(key)
        shape = (self.targets.shape[0], num_samples)
        inputs = draw_inputs(for_inputs, self.covariance, shape, self.law)
        logits = jnp.einsum("ksd,kd->ks", inputs, self.targets)
        uniform = jax.random.uniform(for_labels, shape)
        return Batch(inputs, (uniform < jax.nn.sigmoid(logits)).astype(inputs.dtype))

    def loss(self, model: Float[Array, " dims"], batch: Batch) -> Float[Array, ""]:
        """Mean loss of a model on a batch of one agent."""
        logits = batch.inputs @ model
        fit = jnp.mean(jax.nn.softplus(logits) - batch.labels * logits)
        return fit + self.l2 * jnp.sum(model**2) / 2

    def population_loss(self, models: Float[Array, "agents dims"]) -> Float[Array, " agents"]:
        """Expected loss of each agent's model.

        Projections of the inputs are a z with z of one law whatever the direction, a^2 = w C w. Given the projection on
        the target, the mean of that on the model is linear in it, for both laws: with b^2 = t C t,

            E = E[log(1 + e^{a z})] - (w C t) / b E[z sigmoid(b z)] + l2 |w|^2 / 2

        Two integrals over z, by quadrature.
        """
        nodes, weights = projection_quadrature(self.law, self.covariance.shape[0])
        nodes, weights = jnp.asarray(nodes, models.dtype), jnp.asarray(weights, models.dtype)
        model_scale = _root(jnp.einsum("ki,ij,kj->k", models, self.covariance, models))
        target_scale = _root(jnp.einsum("ki,ij,kj->k", self.targets, self.covariance, self.targets))
        both = jnp.einsum("ki,ij,kj->k", models, self.covariance, self.targets)
        normaliser = jax.nn.softplus(model_scale[:, None] * nodes[None, :]) @ weights
        slope = jax.nn.sigmoid(target_scale[:, None] * nodes[None, :]) @ (nodes * weights) / target_scale
        return normaliser - both * slope + self.l2 * jnp.sum(models**2, axis=1) / 2

    def population_gradient(self, models: Float[Array, "agents dims"]) -> Float[Array, "agents dims"]:
        """Its gradient."""
        return jax.grad(lambda models: jnp.sum(self.population_loss(models)))(models)

    def optima(self, num_steps: int = 30) -> Float[Array, "agents dims"]:
        """The agents' best models, by that many steps of Newton's method from a model that is too small."""

        def best(target):
            alone = replace(self, targets=target[None])

            def step(_, model):
                gradient = alone.population_gradient(model[None])[0]
                hessian = jax.jacobian(lambda model: alone.population_gradient(model[None])[0])(model)
                return model - jnp.linalg.solve(hessian, gradient)

            return jax.lax.fori_loop(0, num_steps, step, 0.1 * target)

        return jax.vmap(best)(self.targets)

    def constants(self, model_radius: float, input_radius: float | None = None) -> Constants:
        """Constants for models with |w| <= model_radius; only the penalty's gradient needs the ball.

        L is attained at w = 0, and mu = l2 where an input is orthogonal. G and the constant of the Hessian are bounds
        from |sigmoid - y| < 1 and the largest bend of the sigmoid. sigma^2 is bounded by the expected squared norm
        of the data's part, tr C.

        Args:
          input_radius: norms of Gaussian inputs that are considered.
        """
        reach = input_bound(self.covariance, self.law, input_radius)
        l2 = float(self.l2)
        return Constants(
            smoothness=reach**2 / 4 + l2,
            strong_convexity=l2,
            gradient_bound=reach + l2 * model_radius,
            hessian_lipschitz=SIGMOID_BEND * reach**3,
            gradient_variance=float(np.trace(np.asarray(self.covariance))),
        )

    def largest_loss(self, model_radius: float, input_radius: float | None = None) -> float:
        """The largest loss at one sample in that ball: a model along the longest input, with the unlikely label."""
        logit = input_bound(self.covariance, self.law, input_radius) * model_radius
        return float(np.logaddexp(0.0, logit)) + float(self.l2) * model_radius**2 / 2


def _root(square: Float[Array, " agents"]) -> Float[Array, " agents"]:
    """Square root with slope 0, not infinity, at 0."""
    return jnp.sqrt(jnp.maximum(square, 1e-12))
