"""Prompts, small encoders and decoders to test with."""

import jax
import numpy as np

from lameta_jax.elam.model import HIDDEN_SIZE, Distilled, FeatureScaling, new_decoder

TINY = {
    "num_layers": 2,
    "hidden_size": 12,
    "num_heads": 3,
    "intermediate_size": 20,
    "vocabulary_size": 30,
    "max_positions": 16,
}
SHORT = [
    "Poster, please.",
    "a",
    "Descaler went into the coffee machine, do I kill it?",
    "¿Qué hora es?",
    "naïve café Ångström",
    "Ａ ｆｕｌｌ ｗｉｄｔｈ line",
    "tabs\tand\nlines",
]
PROMPTS = [
    *SHORT,
    "Why does sourdough rise so differently at 2,400 metres? Skip the children's version, I can wait.",
    "trap beat but with my babushka's accordion sample on top (attached), sad, 68 bpm, no template",
    "我需要一张海报 for tomorrow, 谢谢, with a picture of a cat 🐈",
]


def bert_tensors(seed=0, num_layers=2, size=12, inner=20, vocabulary=30, positions=16):
    """Random weights under the names that Hugging Face gives those of a BERT."""
    generator = np.random.default_rng(seed)
    draw = lambda *shape: generator.normal(0.0, 0.5, shape).astype(np.float32)
    tensors = {
        "embeddings.word_embeddings.weight": draw(vocabulary, size),
        "embeddings.position_embeddings.weight": draw(positions, size),
        "embeddings.token_type_embeddings.weight": draw(2, size),
        "embeddings.LayerNorm.weight": draw(size),
        "embeddings.LayerNorm.bias": draw(size),
        "pooler.dense.weight": draw(size, size),
        "pooler.dense.bias": draw(size),
    }
    for layer in range(num_layers):
        dense = {f"attention.self.{name}": (size, size) for name in ("query", "key", "value")}
        dense |= {"attention.output.dense": (size, size)}
        dense |= {"intermediate.dense": (inner, size), "output.dense": (size, inner)}
        for name, shape in dense.items():
            tensors[f"encoder.layer.{layer}.{name}.weight"] = draw(*shape)
            tensors[f"encoder.layer.{layer}.{name}.bias"] = draw(shape[0])
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            tensors[f"encoder.layer.{layer}.{name}.weight"] = draw(size)
            tensors[f"encoder.layer.{layer}.{name}.bias"] = draw(size)
    return tensors


def constant_elam(name, percents, application="qa"):
    """A distilled model that gives one answer to every prompt.

    Hidden unit i is active at place i only, so that output weight i is the logit of the share of what is left.
    """
    shapes = jax.eval_shape(lambda: new_decoder(jax.random.key(0), name)[1])
    params = jax.tree.map(lambda value: np.zeros(value.shape, np.float32), shapes)
    left = 100
    for place, percent in enumerate(percents):
        params["factor"][place, place] = 10.0  # gelu(10) is 10
        share = min(max(percent / left if left else 0.0, 1e-6), 1 - 1e-6)
        params["output"]["kernel"][place, 0] = np.log(share / (1.0 - share)) / 10.0
        left -= percent
    params["output"]["bias"][1] = -20.0  # the least width
    levels = {"small": 4, "large": 7}[name]
    scaling = FeatureScaling(np.zeros((levels, HIDDEN_SIZE), np.float32), np.ones(levels, np.float32))
    mean = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    return Distilled(name, application, params, {}, scaling, mean, np.ones(HIDDEN_SIZE, np.float32))
