"""How a causal language model is spread over devices: tensor parallelism on heads and hidden units, data on rows.

Reference: Shoeybi et al., Megatron-LM, 2019, arXiv:1909.08053. Only the placement is said here; the compiler puts the
exchanges between devices into the programs, which stay the same.
"""

import re

import jax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lameta_jax.functional import Params

DATA, MODEL = "data", "model"
_WIDENING, _NARROWING = r"layers\..*(query|key|value|gate|up)", r"layers\..*(output|down)"

# path of a parameter -> axes of the mesh that its axes are spread over; the first axis of a layer is its number
_SPECS: tuple[tuple[str, P], ...] = (
    (r"(embedding|head)\.embedding", P(MODEL, None)),
    (_WIDENING + r"(\.base)?\.kernel", P(None, None, MODEL)),
    (_WIDENING + r"(\.base)?\.bias", P(None, MODEL)),
    (_WIDENING + r"\.lora_b", P(None, None, MODEL)),
    (_NARROWING + r"(\.base)?\.kernel", P(None, MODEL, None)),
    (_NARROWING + r"\.lora_a", P(None, MODEL, None)),
)
BATCH = P(DATA)
"""Placement of everything that has one row per prompt."""


def make_mesh(data: int, model: int) -> Mesh:
    """Mesh of `data * model` devices: copies of the model times the devices that share one."""
    return jax.make_mesh((data, model), (DATA, MODEL), axis_types=(AxisType.Auto, AxisType.Auto))


def partition_spec(path: str) -> P:
    """Placement of the parameter, or adapter, at a dotted path: one copy on every device unless the table has it."""
    for pattern, spec in _SPECS:
        if re.fullmatch(pattern, path):
            return spec
    return P()


def shard_params(params: Params, mesh: Mesh) -> Params:
    """The parameters, or adapters, spread over the mesh.

    Raises:
      ValueError: an axis is not a multiple of the devices it is spread over.
    """

    def put(path, value):
        name = ".".join(str(entry.key) for entry in path)
        return jax.device_put(value, NamedSharding(mesh, partition_spec(name)))

    return jax.tree_util.tree_map_with_path(put, params)
