"""From a Hugging Face folder of a Qwen2 model, in one file or many, to the flax.nnx module: one tensor at a time."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from jax.typing import DTypeLike as DType

from lameta_jax.elam.qwen2 import Qwen2, abstract_qwen2
from lameta_jax.elam.qwen2_config import read_config, read_json
from lameta_jax.elam.sharding import partition_spec
from lameta_jax.elam.weights import KeyTable, WeightsError, assign, module_path, reason

_LAYER = r"model\.layers\.(\d+)\."
_KEYS: KeyTable = (
    (r"model\.embed_tokens\.weight", "embedding.embedding", False),
    (r"model\.norm\.weight", "norm.scale", False),
    (r"lm_head\.weight", "head.embedding", False),
    (_LAYER + r"self_attn\.q_proj\.weight", r"layers.\1.attention.query.kernel", True),
    (_LAYER + r"self_attn\.k_proj\.weight", r"layers.\1.attention.key.kernel", True),
    (_LAYER + r"self_attn\.v_proj\.weight", r"layers.\1.attention.value.kernel", True),
    (_LAYER + r"self_attn\.o_proj\.weight", r"layers.\1.attention.output.kernel", True),
    (_LAYER + r"self_attn\.q_proj\.bias", r"layers.\1.attention.query.bias", False),
    (_LAYER + r"self_attn\.k_proj\.bias", r"layers.\1.attention.key.bias", False),
    (_LAYER + r"self_attn\.v_proj\.bias", r"layers.\1.attention.value.bias", False),
    (_LAYER + r"mlp\.(gate|up|down)_proj\.weight", r"layers.\1.\2.kernel", True),
    (_LAYER + r"input_layernorm\.weight", r"layers.\1.attention_norm.scale", False),
    (_LAYER + r"post_attention_layernorm\.weight", r"layers.\1.mlp_norm.scale", False),
)
_DTYPES = {"F32": jnp.float32, "BF16": jnp.bfloat16, "F16": jnp.float16}


class _Source(NamedTuple):
    """Where the value of one parameter, or of one layer of it, comes from."""

    file: Path
    reader: Any  # of safetensors
    key: str
    transpose: bool

    @property
    def shape(self) -> tuple[int, ...]:
        shape = tuple(self.reader.get_slice(self.key).get_shape())
        return shape[::-1] if self.transpose else shape

    @property
    def dtype(self) -> str:
        return self.reader.get_slice(self.key).get_dtype()

    def read(self) -> np.ndarray:
        value = self.reader.get_tensor(self.key)
        return value.T if self.transpose else value


def load_qwen2(folder: str | Path, dtype: DType | None = None, mesh: Mesh | None = None) -> Qwen2:
    """Model of a folder with `config.json` and `model.safetensors`, or an index and the files that it names.

    Everything is checked before the first tensor is read; then one parameter after the other is read, converted and
    put on its device, so that no second copy of the model is ever in memory.

    Args:
      folder: the folder.
      dtype: of the parameters; by default that of the file.
      mesh: if given, every parameter is spread over it, see `partition_spec`.

    Raises:
      WeightsError: a file is missing, damaged or of another shape; one line that names the file and the key.
    """
    folder = Path(folder)
    config = read_config(folder)
    with ExitStack() as stack:
        sources = _sources(folder, stack)
        kind = _DTYPES[sources["embedding.embedding"].dtype] if dtype is None else dtype
        model = abstract_qwen2(config, kind)
        plan = {path: _plan(folder, path, variable.shape, sources) for path, variable in _parameters(model)}
        used = {source.key for parts in plan.values() for source in parts}
        for source in sources.values():
            if source.key not in used:
                raise WeightsError(f"{source.file}: {source.key} is not a parameter of this model")
        for path, variable in _parameters(model):
            value = np.empty(variable.shape, variable.dtype)
            stacked = value if path[0] == "layers" else value[None]
            for layer, source in enumerate(plan[path]):
                stacked[layer] = source.read()
            place = None if mesh is None else NamedSharding(mesh, partition_spec(".".join(map(str, path))))
            assign(model, path, jax.device_put(value, place))
    return model


def weight_files(folder: Path) -> list[Path]:
    """The files that hold the weights of a folder: those that its index names, or the only one.

    Raises:
      WeightsError: the index is damaged.
    """
    placed = _placed_keys(folder)
    return [folder / "model.safetensors"] if placed is None else sorted(set(placed.values()))


def _parameters(model: Qwen2) -> list[tuple[tuple, Any]]:
    return list(nnx.to_flat_state(nnx.state(model)))


def _sources(folder: Path, stack: ExitStack) -> dict[str, _Source]:
    """Sources of all tensors of the checkpoint, by path in the module; the readers are closed with the stack."""
    from safetensors import safe_open

    readers = {}
    placed = _placed_keys(folder)
    for file in weight_files(folder):
        if not file.is_file():
            raise WeightsError(f"{folder}: no {file.name}")
        try:
            readers[file] = stack.enter_context(safe_open(file, framework="numpy"))
        except Exception as error:  # safetensors raises its own type for damaged files
            raise WeightsError(f"{file}: cannot be read ({reason(error)})") from None
    held = {(file, key) for file, reader in readers.items() for key in reader.keys()}  # noqa: SIM118
    for key, file in (placed or {}).items():
        if (file, key) not in held:
            raise WeightsError(f"{file}: nothing for {key}, which the index places there")
    sources = {}
    for file, key in sorted(held):
        found = module_path(_KEYS, key)
        if found is None:
            raise WeightsError(f"{file}: {key} is not a parameter of this model")
        if found[0] in sources:
            raise WeightsError(f"{file}: {key} is in {sources[found[0]].file.name}, too")
        source = _Source(file, readers[file], key, found[1])
        if source.dtype not in _DTYPES:
            raise WeightsError(f"{file}: {key} is of type {source.dtype}, not of {', '.join(_DTYPES)}")
        sources[found[0]] = source
    if "embedding.embedding" not in sources:
        raise WeightsError(f"{folder}: nothing for model.embed_tokens.weight")
    return sources


def _placed_keys(folder: Path) -> dict[str, Path] | None:
    """The file that holds each key, as the index says; None if there is no index."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return None
    placed = read_json(index).get("weight_map")
    if not isinstance(placed, dict) or not placed:
        raise WeightsError(f"{index}: no weight_map")
    for key, name in placed.items():
        if not isinstance(name, str) or Path(name).name != name:
            raise WeightsError(f"{index}: {key} is in {name!r}, must be the name of a file beside it")
    return {key: folder / name for key, name in placed.items()}


def _plan(folder: Path, path: tuple, shape: tuple[int, ...], sources: Mapping[str, _Source]) -> list[_Source]:
    """Sources of a parameter: one, or one for each layer."""
    stacked = path[0] == "layers"
    places = [(path[0], layer, *path[1:]) for layer in range(shape[0])] if stacked else [path]
    parts = []
    for place in (".".join(map(str, place)) for place in places):
        if place not in sources:
            raise WeightsError(f"{folder}: nothing for {place}")
        source, expected = sources[place], shape[1:] if stacked else shape
        if source.shape != expected:
            raise WeightsError(f"{source.file}: {source.key} is read as {source.shape}, expected {expected}")
        parts.append(source)
    return parts
