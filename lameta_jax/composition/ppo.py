"""Proximal policy optimisation (LAMeTA eqs. (40)-(43)).

Reference: Schulman et al., Proximal Policy Optimization Algorithms, 2017, arXiv:1707.06347.
"""

from typing import no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Float

from lameta_jax.composition.learner import Hyperparameters, LearnerConfig, Trainer, make_trainer
from lameta_jax.composition.task import Task


@no_type_check
@flax.struct.dataclass(kw_only=True)
class PPOHyperparameters(Hyperparameters):
    """Numbers worth sweeping, see `Hyperparameters`."""

    clip_eps: Float[Array, ""] | float = 0.2  # epsilon of (43)


def clipped_surrogate(
    log_prob: Float[Array, "*batch"],
    old_log_prob: Float[Array, "*batch"],
    advantage: Float[Array, "*batch"],
    clip_eps: float | Float[Array, ""],
) -> Float[Array, "*batch"]:
    """Negative clipped surrogate objective of every action, to be averaged and minimised.

        - min(r A, clip(r, 1 - eps, 1 + eps) A),    r = pi(a|s) / pi_old(a|s)

    Reference: LAMeTA eq. (43); Schulman et al. 2017, eq. (7).
    """
    ratio = jnp.exp(log_prob - old_log_prob)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1 - clip_eps, 1 + clip_eps) * advantage)


def make_train(config: LearnerConfig, task: Task) -> Trainer:
    """PPO on a task, such as that of `composition_task`; its programs take `PPOHyperparameters`."""

    def surrogate(hyperparameters, log_prob, old_log_prob, advantage):
        return clipped_surrogate(log_prob, old_log_prob, advantage, hyperparameters.clip_eps)

    return make_trainer(config, task, surrogate)
