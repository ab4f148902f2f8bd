"""A meta-step of MAN and a round of FedAvg beside PyTorch, forms of the convolution, and memory by steps.

    lameta bench man                              # or: python experiments/benchmarks/bench_man.py

Ten agents, the MNIST network of the studies, batches of 32, E = 30. PyTorch computes the second-order step by
torch.func, agent by agent or vectorised over agents, whichever is faster, and the FedAvg round by a plain loop over
agents and steps; on all cores, as this package, whose agents are shared by one device per core.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmark import OURS, Contender, comparison, fastest, finish, measured, options
from torch_man import TorchAgents

from lameta_jax.meta.adaptation import adapt, meta_gradient
from lameta_jax.meta.agents import AgentLoop, over_agents
from lameta_jax.meta.classification import classifier
from lameta_jax.meta.cnn import MNIST_CNN
from lameta_jax.meta.convolution import Form
from lameta_jax.scale.cores import cores_as_devices
from lameta_jax.scale.timing import Program, compiled

AIM = 3
SECOND_ORDER, FEDAVG = "second-order step", "FedAvg round"
AGENTS, STEPS, BATCH, RATE = 10, 30, 32, 0.01
FORM_STEPS = 6  # of the comparison of forms
LOOPS: tuple[AgentLoop, ...] = ("spread", "mapped", "vectorised", "unrolled")
FORMS: tuple[Form, ...] = ("patches", "xla")


def main() -> None:
    given = options(__doc__)
    cores_as_devices()
    repeats, steps = (1, 4) if given.quick else (5, STEPS)
    data = batches(steps)
    check_agreement(data)
    peers = TorchAgents(MNIST_CNN, initial(), (np.asarray(data[0]), np.asarray(data[1])), RATE)
    found, comparisons = {}, []
    for name, work in ((SECOND_ORDER, second_order), (FEDAVG, fedavg)):
        mine = prepared(work("patches", "auto"), data)
        others = {label: Contender(call, 1) for label, call in peers.contenders(name).items()}
        rows = measured({OURS: mine} | others, repeats)
        peer = fastest(rows, *others)
        aim = AIM if name == SECOND_ORDER else None
        comparisons.append(comparison(f"MAN, {name}", rows, OURS, peer, unit="steps", aim=aim))
        found[name] = {
            "compile_seconds": rows[OURS]["compile_seconds"],
            "seconds": {label: row["seconds"] for label, row in rows.items()},
            "fastest_peer": peer,
            "times_as_fast": comparisons[-1]["ratio"],
        }
    results = {
        "sizes": {"agents": AGENTS, "steps": steps, "batch": BATCH},
        "beside_pytorch": found,
        "forms": forms(data, repeats, LOOPS[:1] if given.quick else LOOPS),
        "temporary_bytes": memory((5,) if given.quick else (5, STEPS)),
        "torch": peers.version,
    }
    finish("man", comparisons, results, given, seeds=[0])


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


def prepared(work: Callable, data: tuple) -> Contender:
    """A call of a compiled program on all batches."""
    arguments = (initial(), *data)
    program: Program = compiled(jax.jit(work), *arguments)
    return Contender(lambda: program.call(*arguments), 1, program)


def check_agreement(data: tuple) -> None:
    """Both libraries compute the same thing."""
    short = (data[0][:2, :3], data[1][:2, :3])
    peer = TorchAgents(MNIST_CNN, initial(), (np.asarray(short[0]), np.asarray(short[1])), RATE)
    for name, work in ((SECOND_ORDER, second_order), (FEDAVG, fedavg)):
        mine = jax.jit(work("patches", "mapped"))(initial(), *short)
        for label, call in peer.contenders(name).items():
            for path, leaf in peer.as_jax(call()).items():
                np.testing.assert_allclose(leaf, peer.flat(mine)[path], rtol=2e-3, atol=2e-5, err_msg=label)


def forms(data: tuple, repeats: int, loops: tuple[AgentLoop, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    """Steady seconds of every form and loop, on fewer steps."""
    short, found = tuple(leaf[:, :FORM_STEPS] for leaf in data), {}
    for name, work in ((SECOND_ORDER, second_order), (FEDAVG, fedavg)):
        contenders = {
            f"{form}, {loop}": prepared(work(form, loop), short)
            for form in FORMS
            for loop in loops
            if (form, loop) != ("xla", "vectorised") or jax.default_backend() != "cpu"
        }
        rows = measured(contenders, repeats)
        found[name] = {
            label: row["seconds"] | {"compile_seconds": row["compile_seconds"]} for label, row in rows.items()
        }
    return found


def memory(numbers: tuple[int, ...]) -> dict[str, int | None]:
    """Bytes that the second-order step reserves beside arguments and results, by steps."""
    work = jax.jit(second_order("patches", "mapped"))
    return {str(steps): compiled(work, initial(), *batches(steps)).temporary_bytes for steps in numbers}


if __name__ == "__main__":
    main()
