"""A tiny language model, and records that its tokeniser has words for."""

from itertools import permutations
from pathlib import Path

import numpy as np
from reference.qwen2_cases import config_json, tensors, write_by_hand, write_tokenizer

from lameta_jax.intents.corpus import Record

FACTORS = ("fast", "safe", "cheap", "now")
PREFERENCES = tuple(permutations((0.29, 0.27, 0.25, 0.19)))  # the tokeniser's greatest number is 29
LINEARS = {
    ("attention", "query"): "self_attn.q_proj",
    ("attention", "key"): "self_attn.k_proj",
    ("attention", "value"): "self_attn.v_proj",
    ("attention", "output"): "self_attn.o_proj",
    ("gate",): "mlp.gate_proj",
    ("up",): "mlp.up_proj",
    ("down",): "mlp.down_proj",
}


def checkpoint() -> dict[str, np.ndarray]:
    """Tensors of a model that can be sure of what it says: the last norm makes its logits large."""
    return tensors() | {"model.norm.weight": np.full(16, 4.0, np.float32)}


def write_model(folder: Path, values: dict[str, np.ndarray] | None = None, **changes) -> Path:
    """A model with room for the instruction."""
    folder.mkdir(exist_ok=True)
    write_by_hand(folder, values or checkpoint(), config_json(**{"max_position_embeddings": 128} | changes))
    write_tokenizer(folder)
    return folder


def causal_records(application: str, count: int, start: int = 0) -> tuple[Record, ...]:
    """Records with different prompts of four words, whose first word says which of four preferences it is."""
    return tuple(
        Record(
            id=f"{application}-{number}",
            application=application,
            prompt=" ".join(FACTORS[number // 4**place % 4] for place in range(4)),
            preference=PREFERENCES[6 * (number % 4)],
        )
        for number in range(start, start + count)
    )


def merged_tensors(adapters: dict, scale: float) -> dict[str, np.ndarray]:
    """The checkpoint with `scale A B` of every layer added to its weights, PyTorch's way round."""
    values = checkpoint()
    for path, name in LINEARS.items():
        place = adapters["layers"]
        for part in path:
            place = place[part]
        for layer in range(2):
            change = scale * np.asarray(place["lora_a"][layer]) @ np.asarray(place["lora_b"][layer])
            values[f"model.layers.{layer}.{name}.weight"] += change.T
    return values
