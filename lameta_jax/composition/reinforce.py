"""REINFORCE with a learned baseline: the plain policy gradient.

Reference: Williams, Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, Machine
Learning 8, 1992. LAMeTA Sec. V-C names it as an alternative to PPO.
"""

from typing import no_type_check

import flax.struct
from jaxtyping import Array, Float

from lameta_jax.composition.learner import Hyperparameters, LearnerConfig, Trainer, make_trainer
from lameta_jax.composition.task import Task


@no_type_check
@flax.struct.dataclass(kw_only=True)
class ReinforceHyperparameters(Hyperparameters):
    """Numbers worth sweeping, see `Hyperparameters`."""

    gae_lambda: Float[Array, ""] | float = 1.0  # 1: whole returns less the value, as in the paper of 1992


def policy_gradient_loss(
    log_prob: Float[Array, "*batch"], advantage: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Negative `log pi(a|s) A` of every action; its mean's gradient is the policy gradient."""
    return -log_prob * advantage


def make_train(config: LearnerConfig, task: Task) -> Trainer:
    """REINFORCE on a task; its programs take `ReinforceHyperparameters`.

    Raises:
      ValueError: several passes over one update's data, or several steps on it: all but the first would follow the
        gradient of a policy that is no longer the one that played.
    """
    if (config.num_epochs, config.num_minibatches) != (1, 1):
        raise ValueError(
            f"num_epochs = {config.num_epochs} and num_minibatches = {config.num_minibatches} must be 1"
        )

    def surrogate(hyperparameters, log_prob, old_log_prob, advantage):
        del hyperparameters, old_log_prob
        return policy_gradient_loss(log_prob, advantage)

    return make_trainer(config, task, surrogate)
