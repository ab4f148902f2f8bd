"""Low-rank adaptation of linear layers: small trained matrices beside frozen weights.

Reference: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2022, arXiv:2106.09685.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Array, Float

from lameta_jax.elam.weights import WeightsError, check_tensors, read_tensors, reason
from lameta_jax.functional import Params

_ADAPTERS = ("lora_a", "lora_b")


@dataclass(frozen=True, kw_only=True)
class LoRAConfig:
    """Which linear layers are adapted, and how."""

    rank: int = 8
    alpha: float = 16.0  # the low-rank product is scaled by alpha / rank
    targets: str | tuple[str, ...] = (
        ".*"  # regular expressions; one must match the whole dotted path of a layer
    )

    def __post_init__(self):
        if self.rank < 1:
            raise ValueError(f"rank {self.rank} must be at least 1")
        if not math.isfinite(self.alpha):
            raise ValueError(f"alpha {self.alpha} must be finite")
        for pattern in (self.targets,) if isinstance(self.targets, str) else self.targets:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"targets: {pattern!r} is not a regular expression ({error})") from None

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    def matches(self, path: str) -> bool:
        """Whether the linear layer at a dotted path, such as `layers.0.query`, is adapted."""
        patterns = (self.targets,) if isinstance(self.targets, str) else self.targets
        return any(re.fullmatch(pattern, path) for pattern in patterns)


class LoRALinear(nnx.Module):
    r"""A linear layer with frozen weights W and a trained low-rank term.

        y = x W + b + (alpha / rank) x A B

    A starts uniform in +-1/sqrt(in), B at 0, so that at first the layer is the frozen one. A and B are float32
    whatever the type of W; the low-rank term is computed in float32 and added in the type of x W. The weights of
    several layers may be stacked along leading axes, in which case A and B are too.
    """

    def __init__(self, key: Array, base: nnx.Linear, config: LoRAConfig):
        *stack, in_features, out_features = base.kernel.shape
        axes = tuple(range(len(stack)))
        uniform = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform", batch_axis=axes)
        self.scale = config.scale
        self.base = base
        self.lora_a = nnx.LoRAParam(uniform(key, (*stack, in_features, config.rank), jnp.float32))
        self.lora_b = nnx.LoRAParam(jnp.zeros((*stack, config.rank, out_features), jnp.float32))

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
        rows = x.reshape(-1, x.shape[-1])  # gradients of A and B over one axis are 6 times faster on CPUs
        y = self.base(rows)
        low_rank = rows.astype(jnp.float32) @ self.lora_a[...] @ self.lora_b[...]
        return (y + (self.scale * low_rank).astype(y.dtype)).reshape(*x.shape[:-1], y.shape[-1])


def add_lora(key: Array, module: nnx.Module, config: LoRAConfig) -> nnx.Module:
    """A module like the given one, with every `nnx.Linear` that the configuration matches made a `LoRALinear`.

    The weights are shared with the given module, which is left alone.

    Raises:
      ValueError: no linear layer matches.
    """
    adapted = nnx.clone(module)
    linears = [
        (path, layer)
        for path, layer in nnx.iter_modules(adapted)
        if isinstance(layer, nnx.Linear) and config.matches(".".join(map(str, path)))
    ]
    if not linears:
        raise ValueError(f"targets {config.targets!r} match no linear layer of {type(module).__name__}")
    for key_layer, (path, layer) in zip(jax.random.split(key, len(linears)), linears, strict=True):
        parent: Any = adapted
        for name in path[:-1]:
            parent = parent[name] if isinstance(name, int) else getattr(parent, str(name))
        if isinstance(path[-1], int):
            parent[path[-1]] = LoRALinear(key_layer, layer, config)
        else:
            setattr(parent, str(path[-1]), LoRALinear(key_layer, layer, config))
    return adapted


def split_adapters(params: Params) -> tuple[Params, Params]:
    """`(adapters, base)`: what is trained, and exactly the parameters of the module before `add_lora`.

    Gradients taken with respect to the adapters alone never compute one of a frozen weight.
    """
    if not isinstance(params, dict):
        return {}, params
    if "lora_a" in params:
        return {name: params[name] for name in _ADAPTERS}, params["base"]
    parts = {name: split_adapters(value) for name, value in params.items()}
    adapters = {name: trained for name, (trained, _) in parts.items() if trained}
    return adapters, {name: frozen for name, (_, frozen) in parts.items()}


def join_adapters(base: Params, adapters: Params) -> Params:
    """Parameters of the adapted module: the inverse of `split_adapters`."""
    if "lora_a" in adapters:
        return {"base": base, **adapters}
    return base | {name: join_adapters(base[name], value) for name, value in adapters.items()}


def merge_adapters(base: Params, adapters: Params, config: LoRAConfig) -> Params:
    """Parameters of the module without adapters that computes what the adapted one does: `W + alpha/rank A B`.

    The sum is taken in float32 and rounded to the type of W.
    """
    if "lora_a" in adapters:
        kernel = base["kernel"]
        change = config.scale * (adapters["lora_a"] @ adapters["lora_b"])
        return base | {"kernel": (kernel.astype(jnp.float32) + change).astype(kernel.dtype)}
    return base | {name: merge_adapters(base[name], value, config) for name, value in adapters.items()}


def _linear_shapes(base: Params, path: tuple = ()) -> Iterator[tuple[tuple, tuple[int, ...]]]:
    """Paths of the linear layers in the parameters, with the shapes of their kernels."""
    if "kernel" in base:
        yield path, base["kernel"].shape
    for name, value in base.items():
        if isinstance(value, dict):
            yield from _linear_shapes(value, (*path, name))


def save_adapters(
    path: str | Path,
    adapters: Params,
    config: LoRAConfig,
    notes: dict[str, str],
    metadata: dict[str, str] | None = None,
) -> None:
    """Write adapters as safetensors; `notes` say how they were made, `metadata` is what else the header holds."""
    from safetensors.numpy import save_file

    tensors: dict[str, Any] = {".".join(map(str, name)): x for name, x in flatten_dict(adapters).items()}
    header = {"lora": json.dumps(asdict(config)), "notes": json.dumps(notes), **(metadata or {})}
    save_file({name: np.ascontiguousarray(x, np.float32) for name, x in tensors.items()}, path, header)


def load_adapters(path: str | Path, base: Params) -> tuple[Params, LoRAConfig]:
    """Read what `save_adapters` wrote for a module with these parameters (shapes suffice).

    Raises:
      WeightsError: the file is missing or damaged, or was made for another module; one line.
    """
    header, tensors = read_tensors(path)
    try:
        fields = json.loads(header["lora"])
        targets = fields["targets"]
        config = LoRAConfig(**fields | {"targets": targets if isinstance(targets, str) else tuple(targets)})
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not a file of LoRA adapters ({reason(error)})") from None
    places: dict[str, tuple] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for place, (*stack, inputs, outputs) in _linear_shapes(base):
        name = ".".join(map(str, place))
        if config.matches(name):
            places |= {f"{name}.{part}": (*place, part) for part in _ADAPTERS}
            shapes[f"{name}.lora_a"] = (*stack, inputs, config.rank)
            shapes[f"{name}.lora_b"] = (*stack, config.rank, outputs)
    check_tensors(path, tensors, shapes)
    return unflatten_dict({places[name]: jnp.asarray(value) for name, value in tensors.items()}), config
