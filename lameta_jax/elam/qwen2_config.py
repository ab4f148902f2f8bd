"""Sizes of Qwen2 models: presets of the papers' students, and `config.json` of Hugging Face folders."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lameta_jax.elam.weights import WeightsError, reason


@dataclass(frozen=True, kw_only=True)
class Qwen2Config:
    """Sizes of a Qwen2 causal language model."""

    vocabulary_size: int
    hidden_size: int
    num_layers: int
    num_heads: int  # query heads
    num_kv_heads: int  # key and value heads, each shared by num_heads / num_kv_heads query heads
    intermediate_size: int
    rope_theta: float = 10_000.0  # base of the wavelengths of rotary position embedding
    rms_norm_eps: float = 1e-6
    max_positions: int = 131_072
    tie_embeddings: bool = False  # the output layer is the embedding
    eos_tokens: tuple[int, ...] = ()  # any of them ends an answer

    def __post_init__(self):
        sizes = ("vocabulary_size", "hidden_size", "num_layers", "num_heads", "num_kv_heads")
        for name in (*sizes, "intermediate_size", "max_positions"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} must be at least 1")
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of twice num_heads {self.num_heads}"
            )
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.num_kv_heads}"
            )

    @property
    def head_size(self) -> int:
        """Components of one head."""
        return self.hidden_size // self.num_heads


_DISTILLED = {"num_layers": 28, "eos_tokens": (151643,)}
PRESETS = {
    "deepseek-r1-distill-qwen-1.5b": Qwen2Config(
        **_DISTILLED,
        vocabulary_size=151_936,
        hidden_size=1536,
        num_heads=12,
        num_kv_heads=2,
        intermediate_size=8960,
    ),
    "deepseek-r1-distill-qwen-7b": Qwen2Config(
        **_DISTILLED,
        vocabulary_size=152_064,
        hidden_size=3584,
        num_heads=28,
        num_kv_heads=4,
        intermediate_size=18_944,
    ),
}
"""The E-LAMs of LAMeTA Sec. VI, as their published configurations give them."""

# config.json -> Qwen2Config
_FIELDS = {
    "vocab_size": "vocabulary_size",
    "hidden_size": "hidden_size",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "intermediate_size": "intermediate_size",
    "max_position_embeddings": "max_positions",
}


def read_config(folder: str | Path) -> Qwen2Config:
    """Configuration of a Hugging Face folder; `rope_theta` may be written as before or since transformers 5.

    Raises:
      WeightsError: there is no `config.json`, or it asks for something that is not implemented here; one line that
        names the key and its value.
    """
    file = Path(folder) / "config.json"
    values = read_json(file)
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    _refuse_unknown(file, values, rope)
    for name in _FIELDS:
        if type(values.get(name)) is not int:
            raise WeightsError(f"{file}: {name} is {values.get(name)!r}, must be a whole number")
    theta = rope.get("rope_theta", values.get("rope_theta", 10_000.0))
    epsilon = values.get("rms_norm_eps", 1e-6)
    for name, value in (("rope_theta", theta), ("rms_norm_eps", epsilon)):
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise WeightsError(f"{file}: {name} is {value!r}, must be a positive number")
    try:
        return Qwen2Config(
            **{ours: values[theirs] for theirs, ours in _FIELDS.items()},
            rope_theta=float(theta),
            rms_norm_eps=float(epsilon),
            tie_embeddings=bool(values.get("tie_word_embeddings", False)),
            eos_tokens=_eos_tokens(Path(folder), values),
        )
    except ValueError as error:
        raise WeightsError(f"{file}: {error}") from None


def _refuse_unknown(file: Path, values: dict[str, Any], rope: dict[str, Any]) -> None:
    """Refuse whatever would make another function of the same weights."""
    layers = set(values.get("layer_types") or ()) - {"full_attention"}
    head_size = values.get("head_dim")
    checks = {
        "model_type": (values.get("model_type"), ("qwen2",)),
        "hidden_act": (values.get("hidden_act", "silu"), ("silu",)),
        "use_sliding_window": (values.get("use_sliding_window", False), (False,)),
        "layer_types": (sorted(layers)[0] if layers else None, (None,)),
        "rope_type": (rope.get("rope_type", rope.get("type", "default")), ("default",)),
        "partial_rotary_factor": (rope.get("partial_rotary_factor", 1.0), (1.0,)),
        "quantization_config": (values.get("quantization_config"), (None,)),
    }
    for name, (value, allowed) in checks.items():
        if value not in allowed:
            known = "" if allowed[0] is None else f", only {allowed[0]!r} is"
            raise WeightsError(f"{file}: {name} {value!r} is not implemented{known}")
    if head_size is not None and head_size * values.get("num_attention_heads", 0) != values.get(
        "hidden_size"
    ):
        raise WeightsError(f"{file}: head_dim {head_size!r} is not hidden_size / num_attention_heads")


def _eos_tokens(folder: Path, values: dict[str, Any]) -> tuple[int, ...]:
    """Tokens that end an answer: of `generation_config.json` where there is one, as transformers has it."""
    file = folder / "generation_config.json"
    found = values.get("eos_token_id")
    if file.is_file():
        found = read_json(file).get("eos_token_id", found)
    tokens = found if isinstance(found, list) else [] if found is None else [found]
    if any(type(token) is not int for token in tokens):
        raise WeightsError(f"{folder}: eos_token_id is {found!r}, must be a token or a list of tokens")
    return tuple(tokens)


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
      WeightsError: there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise WeightsError(f"{file.parent}: no {file.name}")
    try:
        values = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file}: not JSON ({reason(error)})") from None
    if not isinstance(values, dict):
        raise WeightsError(f"{file}: not a JSON object")
    return values
