"""The trainer of the E-LAMs: likelihood pre-training (`raw`) and weighted preference distillation (`iokd`).

LAMeTA Sec. IV-B. The model is `log_prob(params, features, answer)`; the reference model is the one that training
starts from, and its log-probabilities are computed once per (prompt, answer) pair.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lameta_jax.distillation.losses import Scalar, negative_log_likelihood, weighted_beta, weighted_dpo_loss

LogProb = Callable[[PyTree, Array, Array], Array]
"""`log_prob(params, features [..., features], answer [..., 4]) -> [...]`."""


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Optimiser: AdamW on the whole data set at once, cosine decay to 0."""

    num_steps: int = 200
    learning_rate: float = 1e-2
    weight_decay: float = 1.0  # a few hundred prompts for 10^5 weights: strong on purpose
    max_gradient_norm: float = 1.0


@dataclass(frozen=True, kw_only=True)
class IoKDConfig:
    """Weighted preference distillation."""

    beta_base: float = 0.1  # of (32)
    beta_slope: float = 1.0  # lambda of (32), in [0, 2)
    num_rejected: int = 4  # k of (25)
    anchor_weight: float = 0.03  # of the likelihood of the chosen answer, which plain DPO lowers
    trainer: TrainerConfig = TrainerConfig()

    def __post_init__(self):
        if not 0.0 <= self.beta_slope < 2.0:
            raise ValueError(f"beta_slope {self.beta_slope} must lie in [0, 2): eq. (32) would turn negative")


class PreferenceData(NamedTuple):
    """D_IoKD of LAMeTA eq. (26) as arrays."""

    features: Float[Array, "samples features"]
    preferences: Float[Array, "samples 4"]  # s_p
    chosen: Int[Array, "samples 4"]  # s_p in whole percents
    rejected: Int[Array, "samples rejected 4"]  # contrastive answers


class Metrics(NamedTuple):
    """What training looked like, one entry per step."""

    loss: Float[Array, " steps"]
    reward_margin: Float[Array, " steps"]  # mean implicit reward of chosen minus rejected; 0 in pre-training


def fit(
    loss_fn: Callable[[PyTree, PyTree], tuple[Scalar, Scalar]],
    params: PyTree,
    data: PyTree,
    config: TrainerConfig,
) -> tuple[PyTree, Metrics]:
    """Minimise `loss_fn(params, data) -> (loss, margin)`; the one training loop of all methods."""
    schedule = optax.cosine_decay_schedule(config.learning_rate, config.num_steps)
    optimiser = optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm),
        optax.adamw(schedule, weight_decay=config.weight_decay),
    )

    def step(carry, _):
        params, state = carry
        (loss, margin), gradient = jax.value_and_grad(loss_fn, has_aux=True)(params, data)
        updates, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), Metrics(loss, margin)

    carry, metrics = jax.lax.scan(step, (params, optimiser.init(params)), length=config.num_steps)
    return carry[0], metrics


@partial(jax.jit, static_argnums=(0, 4))
def pretrain(
    log_prob: LogProb,
    params: PyTree,
    features: Float[Array, "samples features"],
    answers: Int[Array, "samples 4"],
    config: TrainerConfig,
) -> tuple[PyTree, Metrics]:
    """Maximum likelihood on labelled prompts: how the `raw` E-LAM learns the task before any application."""

    def loss_fn(params, data):
        return negative_log_likelihood(log_prob(params, *data)), jnp.zeros(())

    return fit(loss_fn, params, (features, answers), config)


@partial(jax.jit, static_argnums=(0, 3))
def distil(
    log_prob: LogProb, reference: PyTree, data: PreferenceData, config: IoKDConfig
) -> tuple[PyTree, Metrics]:
    """Weighted preference distillation from a reference model, LAMeTA eqs. (31), (32).

    The loss is (31) with the temperatures (32) plus `anchor_weight` times the negative log-likelihood of the chosen
    answers. Returns new parameters; the reference is not changed.
    """
    beta = weighted_beta(
        data.preferences,
        data.preferences.mean(axis=0),
        jnp.asarray(config.beta_base),
        jnp.asarray(config.beta_slope),
    )

    def answer_logps(params):
        chosen = log_prob(params, data.features, data.chosen)
        return chosen, jax.vmap(lambda answer: log_prob(params, data.features, answer), 1, 1)(data.rejected)

    def loss_fn(params, reference_logps):
        reference_chosen, reference_rejected = reference_logps
        chosen, rejected = answer_logps(params)
        loss = weighted_dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta)
        margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected).mean(axis=1))
        return loss + config.anchor_weight * negative_log_likelihood(chosen), margin.mean()

    return fit(loss_fn, reference, answer_logps(reference), config.trainer)
