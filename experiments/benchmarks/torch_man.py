"""The second-order step and the FedAvg round of bench_man.py in PyTorch, for comparison."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from lameta_jax.functional import named_leaves
from lameta_jax.meta.cnn import CNNConfig

# Name here, name of a parameter there, and the order of its axes there.
TABLE = {
    "0.weight": ("first.kernel", (3, 2, 0, 1)),
    "0.bias": ("first.bias", (0,)),
    "3.weight": ("second.kernel", (3, 2, 0, 1)),
    "3.bias": ("second.bias", (0,)),
    "7.weight": ("hidden.kernel", (1, 0)),
    "7.bias": ("hidden.bias", (0,)),
    "9.weight": ("output.kernel", (1, 0)),
    "9.bias": ("output.bias", (0,)),
}


class TorchAgents:
    """Agents of one network from the same initial parameters, each with batches of its own."""

    version = torch.__version__

    def __init__(self, cnn: CNNConfig, params: Any, data: tuple[np.ndarray, np.ndarray], rate: float):
        first, second = cnn.features
        flat = params["hidden"]["kernel"].shape[0]
        self.network = nn.Sequential(
            nn.Conv2d(cnn.shape[2], first, cnn.window),
            nn.ReLU(),
            nn.MaxPool2d(cnn.pool),
            nn.Conv2d(first, second, cnn.window),
            nn.ReLU(),
            nn.MaxPool2d(cnn.pool),
            nn.Flatten(),
            nn.Linear(flat, cnn.hidden),
            nn.ReLU(),
            nn.Linear(cnn.hidden, cnn.classes),
        )
        given = self.flat(params)
        self.params = {
            name: torch.tensor(np.ascontiguousarray(np.transpose(given[there], axes)))
            for name, (there, axes) in TABLE.items()
        }
        self.images = torch.tensor(np.moveaxis(data[0], -1, -3).copy())
        self.labels = torch.tensor(data[1].astype(np.int64))
        self.rate = rate

    def contenders(self, name: str) -> dict[str, Callable[[], dict]]:
        """Calls by label."""
        return {
            "second-order step": {
                "torch.func, agent by agent": self.in_turn,
                "torch.func, vmap": self.at_once,
            },
            "FedAvg round": {"PyTorch loop": self.fedavg},
        }[name]

    @staticmethod
    def flat(params: Any) -> dict[str, np.ndarray]:
        return {name: np.asarray(leaf) for name, leaf in named_leaves(params)}

    @staticmethod
    def as_jax(found: dict) -> dict[str, np.ndarray]:
        """Parameters or gradients by their names and axes there."""
        return {
            there: np.transpose(found[name].detach().numpy(), np.argsort(axes))
            for name, (there, axes) in TABLE.items()
        }

    def _loss(self, params: dict, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(functional_call(self.network, params, (images,)), labels)

    def _meta_loss(self, params: dict, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        adapted = params
        for step in range(images.shape[0]):
            grads = grad(self._loss)(adapted, images[step], labels[step])
            adapted = {name: value - self.rate * grads[name] for name, value in adapted.items()}
        return self._loss(adapted, images[0], labels[0])

    def in_turn(self) -> dict:
        found = [
            grad(self._meta_loss)(self.params, images, labels)
            for images, labels in zip(self.images, self.labels, strict=True)
        ]
        return {name: torch.stack([one[name] for one in found]).mean(0) for name in self.params}

    def at_once(self) -> dict:
        found = vmap(grad(self._meta_loss), in_dims=(None, 0, 0))(self.params, self.images, self.labels)
        return {name: value.mean(0) for name, value in found.items()}

    def fedavg(self) -> dict:
        models = []
        for images, labels in zip(self.images, self.labels, strict=True):
            self.network.load_state_dict(self.params)
            optimiser = torch.optim.SGD(self.network.parameters(), lr=self.rate)
            for step in range(images.shape[0]):
                optimiser.zero_grad()
                nn.functional.cross_entropy(self.network(images[step]), labels[step]).backward()
                optimiser.step()
            models.append({name: value.detach().clone() for name, value in self.network.state_dict().items()})
        return {name: torch.stack([model[name] for model in models]).mean(0) for name in self.params}
