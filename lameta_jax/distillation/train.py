"""The trainer of the E-LAMs: every method is one loss on log-probabilities, minimised by one loop.

LAMeTA Sec. IV-B. The model is `log_probs(params, frozen, inputs, answers)`; the reference model is the one that
training starts from, and its log-probabilities are computed once per (prompt, answer) pair.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from lameta_jax.distillation.losses import Scalar, negative_log_likelihood, weighted_beta, weighted_dpo_loss
from lameta_jax.distillation.methods import DistillationConfig, TrainerConfig

LogProbs = Callable[[PyTree, PyTree, PyTree, Array], Array]
"""`log_probs(params, frozen, inputs, answers [samples, answers, tokens]) -> [samples, answers]`, in nats.

`params` are trained, `frozen` (weights, scalings) are not; `inputs` is a pytree with a leading axis of samples.
"""
ADAPTERS = "adapters"  # name of the parameters that learn at the adapters' rate


class PreferenceData(NamedTuple):
    """D_IoKD of LAMeTA eq. (26) as arrays."""

    inputs: PyTree  # of the model, leading axis: samples
    preferences: Float[Array, "samples 4"]  # s_p
    chosen: Int[Array, "samples tokens"]  # s_p as the model writes it, such as four whole percents
    rejected: Int[Array, "samples rejected tokens"]  # contrastive answers


class Metrics(NamedTuple):
    """What training looked like, one entry per step."""

    loss: Float[Array, " steps"]
    reward_margin: Float[
        Array, " steps"
    ]  # mean implicit reward of chosen minus rejected; 0 without preferences
    reward_accuracy: Float[Array, " steps"]  # share of pairs with a positive margin


class TrainState(NamedTuple):
    """Everything that training carries from epoch to epoch, so that it can be cut between them."""

    params: PyTree
    optimiser: PyTree
    key: Array  # of the order of the samples
    epoch: Int[Array, ""]


def _optimiser(config: TrainerConfig, steps_per_epoch: int) -> optax.GradientTransformation:
    num_steps = config.num_epochs * steps_per_epoch

    def adamw(learning_rate: float, weight_decay: float) -> optax.GradientTransformation:
        warmup = round(config.warmup * num_steps)
        start = 0.0 if warmup else learning_rate
        schedule = optax.warmup_cosine_decay_schedule(start, learning_rate, warmup, num_steps)
        return optax.adamw(schedule, weight_decay=weight_decay)

    def label(path: tuple, _) -> str:
        return ADAPTERS if any(getattr(entry, "key", None) == ADAPTERS for entry in path) else "decoder"

    rates: dict[Hashable, optax.GradientTransformation] = {
        "decoder": adamw(config.learning_rate, config.weight_decay),
        ADAPTERS: adamw(config.adapter_learning_rate, config.adapter_weight_decay),
    }
    labels = partial(jax.tree_util.tree_map_with_path, label)
    return optax.chain(
        optax.clip_by_global_norm(config.max_gradient_norm), optax.multi_transform(rates, labels)
    )


class Coefficients(NamedTuple):
    """Weights of the parts of the loss; traced, so that a sweep over them compiles once."""

    preference: Scalar
    anchor: Scalar
    label_smoothing: Scalar


class Samples(NamedTuple):
    """What a step needs of every sample."""

    inputs: PyTree
    answers: Int[Array, "samples answers tokens"]  # the chosen one first, then the rejected ones
    reference_logps: Float[Array, "samples answers"]
    beta: Float[Array, " samples"]


class Problem(NamedTuple):
    """What a method minimises, apart from the model."""

    frozen: PyTree
    samples: Samples
    coefficients: Coefficients


def loss_of(
    log_probs: LogProbs, params: PyTree, frozen: PyTree, samples: Samples, coefficients: Coefficients
) -> tuple[Scalar, tuple[Scalar, Scalar]]:
    """`(loss, (reward margin, reward accuracy))`: (31) with the temperatures (32), plus the weighted likelihood."""
    logps = log_probs(params, frozen, samples.inputs, samples.answers)
    chosen, rejected = logps[:, 0], logps[:, 1:]
    anchor = coefficients.anchor * negative_log_likelihood(chosen)
    if rejected.shape[1] == 0:
        return anchor, (jnp.zeros(()), jnp.zeros(()))
    reference_chosen, reference_rejected = samples.reference_logps[:, 0], samples.reference_logps[:, 1:]
    preference = weighted_dpo_loss(
        chosen, rejected, reference_chosen, reference_rejected, samples.beta, coefficients.label_smoothing
    )
    margin = (chosen - reference_chosen)[:, None] - (rejected - reference_rejected)
    reward = ((samples.beta[:, None] * margin).mean(), (margin > 0).mean(dtype=margin.dtype))
    return coefficients.preference * preference + anchor, reward


@partial(jax.jit, static_argnames=("log_probs", "batch_size"))
def reference_logps(
    log_probs: LogProbs,
    params: PyTree,
    frozen: PyTree,
    inputs: PyTree,
    answers: Int[Array, "samples answers tokens"],
    batch_size: int,
) -> Float[Array, "samples answers"]:
    """Log-probabilities of all answers, `batch_size` samples at a time."""

    def one(sample: tuple[PyTree, Array]) -> Array:
        inputs, answers = jax.tree.map(lambda value: value[None], sample)
        return log_probs(params, frozen, inputs, answers)[0]

    return jax.lax.map(one, (inputs, answers), batch_size=batch_size)


def prepare(
    log_probs: LogProbs, reference: PyTree, frozen: PyTree, data: PreferenceData, config: DistillationConfig
) -> Problem:
    """What `run` needs: temperatures (32) and, once per pair, the log-probabilities of the reference."""
    answers = data.chosen[:, None]
    if config.preference_weight:
        answers = jnp.concatenate([answers, data.rejected], axis=1)
    beta = weighted_beta(
        data.preferences,
        data.preferences.mean(axis=0),
        jnp.asarray(config.beta_base),
        jnp.asarray(config.beta_slope),
    )
    batch_size = config.trainer.reference_batch_size
    logps = reference_logps(log_probs, reference, frozen, data.inputs, answers, batch_size)
    values = (config.preference_weight, config.anchor_weight, config.label_smoothing)
    return Problem(
        frozen, Samples(data.inputs, answers, logps, beta), Coefficients(*map(jnp.asarray, values))
    )


def start(key: Array, params: PyTree, problem: Problem, config: TrainerConfig) -> TrainState:
    """State before the first step."""
    _, steps = _steps_per_epoch(problem, config)
    return TrainState(params, _optimiser(config, steps).init(params), key, jnp.zeros((), int))


@partial(jax.jit, static_argnums=(0, 3, 4))
def run(
    log_probs: LogProbs, state: TrainState, problem: Problem, config: TrainerConfig, num_epochs: int
) -> tuple[TrainState, Metrics]:
    """`num_epochs` more epochs. What they do depends on the state alone, so several calls do what a longer one does."""
    batch_size, steps = _steps_per_epoch(problem, config)
    optimiser = _optimiser(config, steps)

    def step(state: TrainState, members: Array | slice) -> tuple[TrainState, Metrics]:
        samples = jax.tree.map(lambda value: value[members], problem.samples)
        value_and_grad = jax.value_and_grad(partial(loss_of, log_probs), has_aux=True)
        (loss, reward), gradient = value_and_grad(state.params, problem.frozen, samples, problem.coefficients)
        updates, carry = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        return state._replace(params=params, optimiser=carry), Metrics(loss, *reward)

    def epoch(state: TrainState, _) -> tuple[TrainState, Metrics]:
        if steps == 1:
            state, metrics = step(state, slice(None))
            metrics = jax.tree.map(lambda value: value[None], metrics)
        else:
            order = jax.random.permutation(
                jax.random.fold_in(state.key, state.epoch), len(problem.samples.beta)
            )
            order = order[: steps * batch_size].reshape(steps, batch_size)
            state, metrics = jax.lax.scan(step, state, order)
        return state._replace(epoch=state.epoch + 1), metrics

    state, metrics = jax.lax.scan(epoch, state, length=num_epochs)
    return state, jax.tree.map(jnp.ravel, metrics)


def _steps_per_epoch(problem: Problem, config: TrainerConfig) -> tuple[int, int]:
    """Batch size and how many whole batches there are."""
    count = len(problem.samples.beta)
    batch_size = min(config.batch_size or count, count)
    return batch_size, count // batch_size


def distil(
    log_probs: LogProbs,
    key: Array,
    reference: PyTree,
    frozen: PyTree,
    data: PreferenceData,
    config: DistillationConfig,
    begin: PyTree | None = None,
) -> tuple[PyTree, Metrics]:
    """Train a model by one of the methods; returns new parameters.

    Args:
      reference: parameters of the reference model, which is not changed.
      begin: parameters to start from; None: the reference's.
    """
    problem = prepare(log_probs, reference, frozen, data, config)
    state = start(key, reference if begin is None else begin, problem, config.trainer)
    state, metrics = run(log_probs, state, problem, config.trainer, config.trainer.num_epochs)
    return state.params, metrics
