"""Tiny Qwen2 checkpoints: written by transformers where its model is the yardstick, by hand where only files matter."""

import json
from pathlib import Path

import numpy as np

SIZES = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


def write_with_transformers(folder: Path, *, dtype: str = "float32", max_shard_size: str = "1GB", **changes):
    """Save a random model as transformers does, and return it."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    settings = SIZES | {"eos_token_id": [3, 4], "pad_token_id": 0, "rms_norm_eps": 1e-5} | changes
    model, generator = Qwen2ForCausalLM(Qwen2Config(**settings)).eval(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():  # the usual ones are so small that biases and norms go unseen
            parameter.normal_(0.0, 0.4, generator=generator)
    model = model.to(getattr(torch, dtype))
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    return model


def torch_logits(model, tokens, mask):
    """Logits of transformers, in NumPy."""
    import torch

    with torch.no_grad():
        output = model(
            torch.from_numpy(np.asarray(tokens)).long(),
            attention_mask=torch.from_numpy(np.asarray(mask)).long(),
        )
    return output.logits.float().numpy()


def config_json(**changes) -> dict:
    """What config.json says, as transformers 5 writes it; a change to None leaves the key out."""
    values = SIZES | {
        "model_type": "qwen2",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "layer_types": ["full_attention", "full_attention"],
        "sliding_window": None,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "eos_token_id": 3,
    }
    return {name: value for name, value in (values | changes).items() if value is not None}


def tensors() -> dict[str, np.ndarray]:
    """All tensors of a checkpoint of `SIZES`, PyTorch's way round."""
    random = np.random.default_rng(0)
    vocabulary, hidden, wide = SIZES["vocab_size"], SIZES["hidden_size"], SIZES["intermediate_size"]
    shared = hidden // SIZES["num_attention_heads"] * SIZES["num_key_value_heads"]
    layer = {
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.q_proj.bias": (hidden,),
        "self_attn.k_proj.weight": (shared, hidden),
        "self_attn.k_proj.bias": (shared,),
        "self_attn.v_proj.weight": (shared, hidden),
        "self_attn.v_proj.bias": (shared,),
        "self_attn.o_proj.weight": (hidden, hidden),
        "mlp.gate_proj.weight": (wide, hidden),
        "mlp.up_proj.weight": (wide, hidden),
        "mlp.down_proj.weight": (hidden, wide),
        "input_layernorm.weight": (hidden,),
        "post_attention_layernorm.weight": (hidden,),
    }
    shapes = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    shapes |= {"lm_head.weight": (vocabulary, hidden)}
    for number in range(SIZES["num_hidden_layers"]):
        shapes |= {f"model.layers.{number}.{name}": shape for name, shape in layer.items()}
    return {name: random.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


def write_by_hand(folder: Path, values: dict[str, np.ndarray], config: dict, shards: int = 1) -> Path:
    """Save tensors in one file, or in several with an index."""
    from safetensors.numpy import save_file

    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(values, folder / "model.safetensors")
        return folder
    names = [f"model-{number + 1:05}-of-{shards:05}.safetensors" for number in range(shards)]
    placed = {key: names[number % shards] for number, key in enumerate(sorted(values))}
    for name in names:
        save_file({key: values[key] for key, place in placed.items() if place == name}, folder / name)
    index = {"metadata": {}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + ' ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WORDS = ("[PAD]", "[UNK]", "<|user|>", "<end>", "<|assistant|>", "<|system|>", "fast", "safe", "cheap", "now")
NUMBERS = tuple(map(str, range(30)))


def write_tokenizer(folder: Path, **changes) -> None:
    """A tokeniser of single words: those above and the numbers 0 to 29; `<end>` is 3."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate([*WORDS, *NUMBERS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    settings = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "<end>", "chat_template": TEMPLATE}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings | changes).save_pretrained(folder)
