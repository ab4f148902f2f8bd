"""A meta-step of MAN and a round of FedAvg beside PyTorch, forms of the convolution, and memory by steps.

    python experiments/benchmarks/man_step.py     # needs the extra `intents` (PyTorch); writes man_step.json

Ten agents, the MNIST network of the studies, batches of 32, E = 30. Contenders take turns in one process; ratios are of
medians. PyTorch computes the second-order step by torch.func, agent by agent or vectorised over agents, whichever is
faster, and the FedAvg round by a plain loop over agents and steps; on all cores, as this package.
"""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import RESULTS, report, write_results
from torch_man import TorchAgents

from lameta_jax.meta.adaptation import adapt, meta_gradient
from lameta_jax.meta.agents import AgentLoop, over_agents
from lameta_jax.meta.classification import classifier
from lameta_jax.meta.cnn import MNIST_CNN
from lameta_jax.meta.convolution import Form

AGENTS, STEPS, BATCH, RATE = 10, 30, 32, 0.01
ROUNDS = 3
LOOPS: tuple[AgentLoop, ...] = ("mapped", "vectorised", "unrolled")
FORMS: tuple[Form, ...] = ("patches", "xla")


def main() -> None:
    started = time.time()
    data = batches(STEPS)
    check_agreement(data)
    ours = {
        "second-order step": compiled(second_order("patches", "mapped"), data),
        "FedAvg round": compiled(fedavg("patches", "mapped"), data),
    }
    peers = TorchAgents(MNIST_CNN, initial(), (np.asarray(data[0]), np.asarray(data[1])), RATE)
    found = {}
    for name, (call, compile_seconds) in ours.items():
        contenders = {"lameta_jax": call} | peers.contenders(name)
        times = interleaved(contenders)
        torch_best = min(
            (label for label in times if label != "lameta_jax"), key=lambda label: median(times, label)
        )
        found[name] = {
            "compile_seconds": compile_seconds,
            "seconds": {label: spread(values) for label, values in times.items()},
            "fastest_peer": torch_best,
            "times_as_fast": median(times, torch_best) / median(times, "lameta_jax"),
        }
        report(f"{name}: {found[name]['times_as_fast']:.2f} times as fast as {torch_best}")
    results = {
        "sizes": {"agents": AGENTS, "steps": STEPS, "batch": BATCH},
        "beside_pytorch": found,
        "forms": forms(data),
        "temporary_bytes": memory(),
        "torch": peers.version,
    }
    path = write_results("man_step", results, seeds=[0], started=started, folder=RESULTS)
    report(f"wrote {path}")


def batches(steps: int) -> tuple[jax.Array, jax.Array]:
    """Random images and labels, axes [agents, steps, batch]."""
    key = jax.random.key(0)
    images = jax.random.uniform(key, (AGENTS, steps, BATCH, 28, 28, 1))
    return images, jax.random.randint(key, (AGENTS, steps, BATCH), 0, 10)


def initial() -> Any:
    return classifier(MNIST_CNN)[1](jax.random.key(0))


def loss(form: Form) -> Callable:
    apply, _ = classifier(replace(MNIST_CNN, form=form))

    def cross_entropy(params, batch):
        images, labels = batch
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(apply(params, images), labels))

    return cross_entropy


def second_order(form: Form, loop: AgentLoop) -> Callable:
    """Mean over agents of the second-order meta-gradient; the outer batch is the first inner one."""

    def step(params, images, labels):
        one = lambda x, y: meta_gradient(loss(form), params, (x, y), (x[0], y[0]), RATE)[1]
        return jax.tree.map(partial(jnp.mean, axis=0), over_agents(loop, one, images, labels))

    return step


def fedavg(form: Form, loop: AgentLoop) -> Callable:
    """Mean of the models of all agents after their steps."""

    def one_round(params, images, labels):
        one = lambda x, y: adapt(loss(form), params, (x, y), RATE)
        return jax.tree.map(partial(jnp.mean, axis=0), over_agents(loop, one, images, labels))

    return one_round


def compiled(work: Callable, data: tuple) -> tuple[Callable[[], Any], float]:
    """A call that waits for its result, and the seconds that compiling took."""
    arguments, begun = (initial(), *data), time.perf_counter()
    program = jax.jit(work).lower(*arguments).compile()
    seconds = time.perf_counter() - begun
    return lambda: jax.block_until_ready(program(*arguments)), seconds


def check_agreement(data: tuple) -> None:
    """Both libraries compute the same thing."""
    short = (data[0][:2, :3], data[1][:2, :3])
    peer = TorchAgents(MNIST_CNN, initial(), (np.asarray(short[0]), np.asarray(short[1])), RATE)
    for name, work in (("second-order step", second_order), ("FedAvg round", fedavg)):
        mine = jax.jit(work("patches", "mapped"))(initial(), *short)
        for label, call in peer.contenders(name).items():
            for path, leaf in peer.as_jax(call()).items():
                np.testing.assert_allclose(leaf, peer.flat(mine)[path], rtol=2e-3, atol=2e-5, err_msg=label)


def interleaved(contenders: dict[str, Callable]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {label: [] for label in contenders}
    for turn in range(ROUNDS + 1):
        for label, call in contenders.items():
            begun = time.perf_counter()
            call()
            if turn:  # the first one warms up
                times[label].append(time.perf_counter() - begun)
    return times


def forms(data: tuple) -> dict[str, dict[str, dict[str, float]]]:
    """Steady seconds of every form and loop, on a fifth of the steps."""
    short, found = tuple(leaf[:, :6] for leaf in data), {}
    for name, work in (("second-order step", second_order), ("FedAvg round", fedavg)):
        calls = {
            f"{form}, {loop}": compiled(work(form, loop), short)
            for form in FORMS
            for loop in LOOPS
            if (form, loop) != ("xla", "vectorised") or jax.default_backend() != "cpu"
        }
        times = interleaved({label: call for label, (call, _) in calls.items()})
        found[name] = {
            label: spread(times[label]) | {"compile_seconds": seconds}
            for label, (_, seconds) in calls.items()
        }
        report(f"{name}: { ({label: round(row['median'], 3) for label, row in found[name].items()}) }")
    return found


def memory() -> dict[str, int]:
    """Bytes that the second-order step reserves beside arguments and results, by steps."""
    found = {}
    for steps in (5, 30):
        work = second_order("patches", "mapped")
        program = jax.jit(work).lower(initial(), *batches(steps)).compile()
        analysis = program.memory_analysis()
        assert analysis is not None, "this backend does not say what it reserves"
        found[str(steps)] = int(analysis.temp_size_in_bytes)
    return found


def median(times: dict[str, list[float]], label: str) -> float:
    return statistics.median(times[label])


def spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "lowest": min(values), "highest": max(values)}


if __name__ == "__main__":
    main()
