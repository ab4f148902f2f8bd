"""Where the time of a training step goes: PPO, IoKD and MAN, by timing parts that are compiled by themselves.

    lameta bench profile                          # or: python experiments/benchmarks/bench_profile.py

A part is what the step does, as a program of its own, times how often the step does it; parts inside parts begin with
"of". Programs that are compiled apart can share less, so parts may add up to more than the step. Also measured: what
changes if the state of a PPO update is donated.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from bench_man import RATE, STEPS, batches, initial, loss, second_order
from benchmark import finish, options, report

from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.learner import LearnerConfig, actor_critic_loss, normalised_advantages
from lameta_jax.composition.policy import make_policy
from lameta_jax.composition.ppo import PPOHyperparameters, clipped_surrogate, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.distillation.methods import IOKD
from lameta_jax.distillation.train import PreferenceData, loss_of, prepare, run, start
from lameta_jax.elam.model import (
    Frozen,
    encoder_params,
    fit_scaling,
    log_probs_function,
    new_adapters,
    new_decoder,
    trunk_depth,
)
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.meta.adaptation import sgd_step
from lameta_jax.meta.convolution import convolve, max_pool
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.own_policy import any_users
from lameta_jax.scale.timing import compiled, interleaved

Call = Callable[[], Any]
PROMPT = "Summarise the minutes for the board, and be quick rather than thorough"
BATCH = 32  # prompts in a step of IoKD


class Part(NamedTuple):
    """What a step does `times` times."""

    call: Call
    times: int = 1


def main() -> None:
    given = options(__doc__)
    repeats = 3 if given.quick else 15
    found = {}
    for name, step, parts, variants in (ppo(), iokd(), man()):
        calls = {"step": step} | {label: part.call for label, part in parts.items()} | variants
        times = interleaved(calls, repeats)
        whole = times["step"].median
        found[name] = {
            "seconds": times["step"]._asdict(),
            "parts": {
                label: {"times": part.times, "seconds": part.times * times[label].median}
                | {"share": part.times * times[label].median / whole}
                for label, part in parts.items()
            },
            "variants": {label: times[label].median / whole for label in variants},
        }
        shares = {label: round(part["share"], 3) for label, part in found[name]["parts"].items()}
        report(f"{name}: {1e3 * whole:.1f} ms, {shares}, variants {found[name]['variants']}")
    finish("profile", [], {"steps": found}, given, seeds=[0])


def prepared(work: Callable, *arguments: Any) -> Call:
    """A call of the compiled function."""
    program = compiled(work if hasattr(work, "lower") else jax.jit(work), *arguments)
    return partial(program.call, *arguments)


def ppo() -> tuple[str, Call, dict[str, Part], dict[str, Call]]:
    """An update of the default policy on lameta-81 with 256 episodes."""
    config, numbers = LearnerConfig(), PPOHyperparameters()
    policy, params = make_policy(), make_env_params(load_named("lameta-81"), EnvConfig(mask_types=True))
    task = composition_task(policy, params, EpisodeConfig(users_per_slot=256))
    trainer, pool = make_train(config, task), any_users(jax.random.key(0), 4096, params.num_elams)
    state = trainer.init(numbers, pool, jax.random.key(0))
    scenes, batch, _ = jax.jit(task.collect)(state.params, pool, jax.random.key(1))
    quarter = jax.tree.map(lambda leaf: leaf[:, :, : leaf.shape[2] // config.num_minibatches], batch)
    advantages = jax.vmap(partial(normalised_advantages, numbers))(quarter)
    surrogate = lambda numbers, log_prob, old, advantage: clipped_surrogate(
        log_prob, old, advantage, numbers.clip_eps
    )
    gradient = jax.grad(partial(actor_critic_loss, task, surrogate, numbers), has_aux=True)
    encoded = lambda params: jnp.sum(jax.vmap(partial(policy.encode, params))(scenes).nodes)
    adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))
    steps = config.num_epochs * config.num_minibatches

    def descend(params, memory):
        updates, memory = adam.update(params, memory, params)
        return optax.apply_updates(params, updates), memory

    parts = {
        "playing the episodes": Part(prepared(task.collect, state.params, pool, jax.random.key(1))),
        "gradients": Part(prepared(gradient, state.params, scenes, quarter, advantages), steps),
        "of them, encoding the slot and back": Part(prepared(jax.grad(encoded), state.params), steps),
        "Adam": Part(prepared(descend, state.params, adam.init(state.params)), steps),
    }
    update = partial(trainer.advance, num_updates=1)
    donating = compiled(jax.jit(update, donate_argnums=1), numbers, state)
    mine = [jax.tree.map(jnp.copy, state)]

    def donated() -> Any:
        mine[0], metrics = donating.call(numbers, mine[0])
        return metrics

    return "a PPO update", prepared(update, numbers, state), parts, {"state donated": donated}


def iokd() -> tuple[str, Call, dict[str, Part], dict[str, Call]]:
    """A step of the large E-LAM with adapters in its last layer, on one batch of short prompts."""
    encoder, name, config = SentenceEncoder(), "large", IOKD
    trunk = encoder.trunk_states([f"{PROMPT}, {place}" for place in range(BATCH)], trunk_depth(name), 64)
    scaling = fit_scaling(np.asarray(encoder.levels([f"{PROMPT}, {place}" for place in range(BATCH)])))
    params = {"decoder": new_decoder(jax.random.key(0), name)[1]}
    params["adapters"] = new_adapters(jax.random.key(1), name, encoder)
    frozen = Frozen(encoder_params(encoder, name), jax.tree.map(jnp.asarray, scaling))
    random = np.random.default_rng(0)
    answers = jnp.asarray(random.multinomial(100, np.full(4, 0.25), (BATCH, 1 + config.num_rejected)))
    wanted = jnp.asarray(random.dirichlet(np.ones(4), BATCH), dtype=float)
    data = PreferenceData(trunk, wanted, answers[:, 0], answers[:, 1:])
    log_probs = log_probs_function(name)
    problem = prepare(log_probs, params, frozen, data, config)
    state = start(jax.random.key(2), params, problem, config.trainer)
    step = compiled(run, log_probs, state, problem, config.trainer, 1)
    value = lambda params, frozen: loss_of(log_probs, params, frozen, problem.samples, problem.coefficients)[
        0
    ]
    decoder_alone = lambda params: value(
        params | {"adapters": jax.lax.stop_gradient(params["adapters"])}, frozen
    )
    parts = {
        "the loss, forwards": Part(prepared(value, params, frozen)),
        "its gradient": Part(prepared(jax.grad(value), params, frozen)),
        "of it, for the decoder alone": Part(prepared(jax.grad(decoder_alone), params)),
    }
    return "a step of IoKD", partial(step.call, state, problem), parts, {}


def man() -> tuple[str, Call, dict[str, Part], dict[str, Call]]:
    """The second-order step of one agent: 30 steps of adaptation and back, MNIST network, batches of 32."""
    images, labels = (leaf[:1] for leaf in batches(STEPS))
    params, batch = initial(), (images[0, 0], labels[0, 0])
    descend = lambda params, batch: sgd_step(loss("patches"), params, batch, RATE)
    first, second = (params[name]["kernel"] for name in ("first", "second"))
    one = jnp.moveaxis(batch[0], 0, -1).transpose(2, 0, 1, 3)  # channels, height, width, samples
    other = jax.jit(lambda x: max_pool(convolve(x, first), 2))(one)
    windows = lambda x, size: jnp.concatenate(
        [
            x[:, row : row + x.shape[1] - size + 1, column : column + x.shape[2] - size + 1]
            for row in range(size)
            for column in range(size)
        ]
    )
    patches = lambda one, other: (windows(one, 5), windows(other, 5))
    flat = tuple(leaf.reshape(leaf.shape[0], -1) for leaf in jax.jit(patches)(one, other))
    kernels = tuple(kernel.reshape(-1, kernel.shape[-1]) for kernel in (first, second))
    products = lambda kernels, flat: tuple(
        kernel.T @ leaf for kernel, leaf in zip(kernels, flat, strict=True)
    )
    parts = {
        "adaptation": Part(prepared(descend, params, batch), STEPS),
        "of each step, the loss forwards": Part(prepared(loss("patches"), params, batch), STEPS),
        "of that, patches of both convolutions": Part(prepared(patches, one, other), STEPS),
        "of that, products of both convolutions": Part(prepared(products, kernels, flat), STEPS),
    }
    step = prepared(second_order("patches", "mapped"), params, images, labels)
    return "a second-order step of one agent", step, parts, {}


if __name__ == "__main__":
    main()
