"""The file of a distilled causal E-LAM: adapters, and in the header what it takes to answer by them.

The model itself is not in it: the header names its folder, and holds its digest, by which another one is refused.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lameta_jax.elam.distilled_files import check_mean_preference
from lameta_jax.elam.lora import LoRAConfig, save_adapters
from lameta_jax.elam.model_files import model_digest
from lameta_jax.elam.qwen2_elam import Qwen2Elam, load_qwen2_elam
from lameta_jax.elam.weights import WeightsError, read_tensors, reason
from lameta_jax.functional import Params

_KEY = "causal"  # of the header, where it tells these files from those of other E-LAMs


@dataclass(frozen=True, kw_only=True)
class CausalHeader:
    """What adapters belong to."""

    application: str  # that they were distilled for
    mean_preference: tuple[float, ...]  # of the data set; the fallback
    instruction: str  # the system's message before every prompt
    model: str  # folder of the model
    model_sha256: str  # see `model_digest`


def save_causal(
    path: str | Path, adapters: Params, lora: LoRAConfig, header: CausalHeader, notes: dict[str, str]
) -> None:
    """Write a distilled causal E-LAM as safetensors; `notes` say how it was made."""
    save_adapters(path, adapters, lora, notes, {_KEY: json.dumps(asdict(header))})


def is_causal(path: str | Path) -> bool:
    """Whether a file claims to be one of `save_causal`.

    Raises:
      WeightsError: it is missing or damaged; one line.
    """
    return _KEY in read_tensors(path)[0]


def load_causal(path: str | Path, folder: str | Path | None = None) -> Qwen2Elam:
    """Read what `save_causal` wrote, and the model that it belongs to.

    Args:
      path: the file.
      folder: of the model; the one that the file names if not given.

    Raises:
      WeightsError: the file is missing, damaged or of something else, or the folder is missing or holds another
        model; one line.
    """
    header = _read_header(path)
    place = Path(header.model if folder is None else folder)
    if not place.is_dir():
        raise WeightsError(f"{path}: no folder {place} of the model that it belongs to")
    if model_digest(place) != header.model_sha256:
        raise WeightsError(f"{path}: belongs to another model than the one in {place}")
    return load_qwen2_elam(
        place,
        header.mean_preference,
        adapters=path,
        instruction=header.instruction,
        application=header.application,
    )


def _read_header(path: str | Path) -> CausalHeader:
    metadata, _ = read_tensors(path)
    try:
        fields = json.loads(metadata[_KEY])
        mean = tuple(map(float, fields.pop("mean_preference")))
        if len(mean) != 4 or not all(isinstance(value, str) for value in fields.values()):
            raise ValueError("a field is of another kind")
        header = CausalHeader(**fields, mean_preference=mean)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not a distilled causal E-LAM ({reason(error)})") from None
    check_mean_preference(path, np.array(mean))
    return header
