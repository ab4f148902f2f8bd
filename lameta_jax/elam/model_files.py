"""Which model a Hugging Face folder holds: the files that its answers depend on, and their digest."""

import hashlib
from pathlib import Path

from lameta_jax.elam.qwen2_weights import weight_files
from lameta_jax.elam.weights import WeightsError

_SETTINGS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
)


def model_files(folder: str | Path) -> list[Path]:
    """Configuration, tokeniser and weights of a model, as far as they are there.

    Raises:
      WeightsError: there is no configuration, or weights are missing.
    """
    folder = Path(folder)
    settings = [folder / name for name in _SETTINGS if (folder / name).is_file()]
    weights = weight_files(folder)
    for file in (folder / "config.json", *weights):
        if not file.is_file():
            raise WeightsError(f"{folder}: no {file.name}")
    return [*settings, *weights]


def model_digest(folder: str | Path) -> str:
    """SHA-256 of the lines that `sha256sum` prints for the files of a model; no file is held in memory.

    Raises:
      WeightsError: a file is missing or cannot be read.
    """
    lines = []
    for path in model_files(folder):
        try:
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
    return hashlib.sha256("".join(lines).encode()).hexdigest()
