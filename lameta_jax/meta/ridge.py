"""Ridge regression of several agents, with everything about its loss in closed form."""

from typing import no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from lameta_jax.meta.convex import Batch, Constants, InputLaw, draw_inputs, input_bound


@no_type_check  # under vmap and jit the same class holds batched arrays
@flax.struct.dataclass
class Ridge:
    """Linear regression with labels target . x + e, and an l2 penalty.

        loss(w; x, y) = (w . x - y)^2 / 2 + l2 |w|^2 / 2

    e is uniform with mean 0, so that it is bounded by sqrt(3) times its standard deviation.
    """

    targets: Float[Array, "agents dims"]
    covariance: Float[Array, "dims dims"]  # of the inputs
    noise: Float[Array, ""]  # standard deviation of e
    l2: Float[Array, ""]
    law: InputLaw = flax.struct.field(pytree_node=False, default="sphere")

    def sample(self, key: Key[Array, ""], num_samples: int) -> Batch:
        """Independent samples of every agent, [agents samples ...]."""
        for_inputs, for_noise = jax.random.split(key)
        shape = (self.targets.shape[0], num_samples)
        inputs = draw_inputs(for_inputs, self.covariance, shape, self.law)
        noise = self.noise * 3**0.5 * jax.random.uniform(for_noise, shape, minval=-1.0)
        return Batch(inputs, jnp.einsum("ksd,kd->ks", inputs, self.targets) + noise)

    def loss(self, model: Float[Array, " dims"], batch: Batch) -> Float[Array, ""]:
        """Mean loss of a model on a batch of one agent."""
        residuals = batch.inputs @ model - batch.labels
        return jnp.mean(residuals**2) / 2 + self.l2 * jnp.sum(model**2) / 2

    def population_loss(self, models: Float[Array, "agents dims"]) -> Float[Array, " agents"]:
        """Expected loss of each agent's model: (w - t) C (w - t) / 2 + noise^2 / 2 + l2 |w|^2 / 2."""
        gap = models - self.targets
        fit = jnp.einsum("ki,ij,kj->k", gap, self.covariance, gap)
        return (fit + self.noise**2 + self.l2 * jnp.sum(models**2, axis=1)) / 2

    def population_gradient(self, models: Float[Array, "agents dims"]) -> Float[Array, "agents dims"]:
        """Its gradient, C (w - t) + l2 w."""
        return (models - self.targets) @ self.covariance + self.l2 * models

    def optima(self) -> Float[Array, "agents dims"]:
        """The agents' best models, (C + l2 I)^{-1} C t."""
        hessian = self.covariance + self.l2 * jnp.eye(self.covariance.shape[0])
        return jnp.linalg.solve(hessian, self.covariance @ self.targets.T).T

    def population_curvature(self) -> tuple[float, float]:
        """Smallest and largest eigenvalue of the Hessian of the expected loss, C + l2 I."""
        values = np.linalg.eigvalsh(np.asarray(self.covariance)) + float(self.l2)
        return float(values[0]), float(values[-1])

    def gradient_variance(self, models: Float[Array, "agents dims"]) -> Float[Array, " agents"]:
        """Expected squared distance of the gradient at one sample from its mean, sigma^2 of Assumption 2.

        The fourth moments of the inputs are those of the Gaussian law, times d / (d + 2) for the sphere law.
        """
        gap = models - self.targets
        dims, trace = self.covariance.shape[0], jnp.trace(self.covariance)
        return jnp.einsum("ki,ij,kj->k", gap, self._spread(dims), gap) + self.noise**2 * trace

    def _spread(self, dims: int) -> Float[Array, "dims dims"]:
        square = self.covariance @ self.covariance
        moments = jnp.trace(self.covariance) * self.covariance + 2 * square
        return moments * (1.0 if self.law == "gaussian" else dims / (dims + 2)) - square

    def constants(self, model_radius: float, input_radius: float | None = None) -> Constants:
        """Constants for models with |w| <= model_radius; the squared loss is not Lipschitz on all of R^d.

        L, mu and the constant 0 of the Hessian hold everywhere. G is attained where a model, the input and minus the
        target point the same way along the longest axis of the inputs, and is a bound otherwise; sigma^2 likewise. mu
        is l2, as one sample bends the loss in one direction only.

        Args:
          input_radius: norms of Gaussian inputs that are considered.
        """
        reach = input_bound(self.covariance, self.law, input_radius)
        target = float(jnp.max(jnp.linalg.norm(self.targets, axis=1)))
        l2, noise = float(self.l2), float(self.noise)
        worst_residual = reach * (model_radius + target) + 3**0.5 * noise
        spread = float(np.linalg.eigvalsh(np.asarray(self._spread(self.covariance.shape[0])))[-1])
        return Constants(
            smoothness=reach**2 + l2,
            strong_convexity=l2,
            gradient_bound=reach * worst_residual + l2 * model_radius,
            hessian_lipschitz=0.0,
            gradient_variance=spread * (model_radius + target) ** 2
            + noise**2 * float(jnp.trace(self.covariance)),
        )

    def largest_loss(self, model_radius: float, input_radius: float | None = None) -> float:
        """The largest loss at one sample in that ball; attained in the same case as G."""
        reach = input_bound(self.covariance, self.law, input_radius)
        target = float(jnp.max(jnp.linalg.norm(self.targets, axis=1)))
        residual = reach * (model_radius + target) + 3**0.5 * float(self.noise)
        return (residual**2 + float(self.l2) * model_radius**2) / 2
