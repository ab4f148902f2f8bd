"""What MAN is compared with; each is the work of an agent in a round, see `federated.py`.

local training     every agent alone: `local_steps` with `make_local`
joint training     FedAvg. H. B. McMahan et al., Communication-efficient learning of deep networks from decentralized
                   data, AISTATS 2017: `local_steps`, the server takes the mean (server rate 1)
fine-tuned FedAvg  the same, and agents adapt the shared model before they use it
Reptile            A. Nichol, J. Achiam, J. Schulman, On first-order meta-learning algorithms, arXiv:1803.02999, 2018:
                   `local_steps`, the server goes part of the way (server rate below 1), and agents adapt
Per-FedAvg         A. Fallah, A. Mokhtari, A. Ozdaglar, Personalized federated learning with theoretical guarantees,
                   NeurIPS 2020, in its first-order form: `per_fedavg`, and agents adapt
"""

import jax
import jax.numpy as jnp

from lameta_jax.meta.adaptation import descend
from lameta_jax.meta.agents import draw
from lameta_jax.meta.federated import Work
from lameta_jax.meta.man import MANConfig, meta_updates


def local_steps(steps: int, batch_size: int = 32) -> Work:
    """Steps of SGD at rate `Rates.meta`, on batches of all that the agent holds, half of each from D_in and D_out."""

    def work(loss_fn, rates, params, agent, key):
        inside, outside = (
            draw(key_half, held, (steps, batch_size // 2))
            for key_half, held in zip(jax.random.split(key), (agent.inner, agent.outer), strict=True)
        )
        rows = jnp.concatenate([inside.rows, outside.rows], axis=1)

        def step(current, batch):
            loss, grads = jax.value_and_grad(loss_fn)(current, batch)
            return descend(current, grads, rates.meta), loss

        params, losses = jax.lax.scan(step, params, inside._replace(rows=rows))
        return params, jnp.mean(losses)

    return work


def per_fedavg(updates: int, batch_size: int = 32) -> Work:
    """First-order meta-updates with one step of adaptation each: two gradients per update."""
    return meta_updates(
        MANConfig(adaptation_steps=1, updates=updates, meta_gradient="first_order", batch_size=batch_size)
    )
