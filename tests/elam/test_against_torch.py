"""The encoder against Hugging Face's own, in torch: in one file, since importing torch takes long."""

import jax.numpy as jnp
import numpy as np
import pytest
from reference.elam_cases import PROMPTS, TINY

from lameta_jax.elam.minilm import EncoderConfig
from lameta_jax.elam.sentence_encoder import sentence_embeddings
from lameta_jax.elam.weights import find_minilm, load_encoder
from lameta_jax.functional import functionalize

torch = pytest.importorskip("torch")


def test_all_levels_are_those_of_sentence_transformers(encoder):
    from sentence_transformers import SentenceTransformer

    prompts = [*PROMPTS, "more words than the model reads " * 60, bytes(range(256)).decode("latin-1")]
    levels = encoder.levels(prompts)
    model = SentenceTransformer(str(find_minilm()), device="cpu")
    assert sentence_embeddings(levels) == pytest.approx(model.encode(prompts), abs=1e-5)
    # the levels below the last one, one prompt at a time, so without padding
    for place in (2, 7):
        inputs = model.tokenizer(prompts[place], return_tensors="pt")
        states = model[0].auto_model(**inputs, output_hidden_states=True).hidden_states
        means = np.stack([state[0].mean(dim=0).detach().numpy() for state in states])
        assert levels[place] == pytest.approx(means, abs=1e-5)


def test_all_levels_are_those_of_a_random_bert(tmp_path):
    from transformers import BertConfig, BertModel

    config = BertConfig(
        vocab_size=30,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=16,
    )
    model, generator = BertModel(config).eval(), torch.Generator().manual_seed(0)
    tokens = np.random.default_rng(0).integers(1, 30, size=(3, 9)).astype(np.int32)
    mask = np.arange(9)[None] < np.array([9, 4, 1])[:, None]
    with torch.no_grad():
        for parameter in model.parameters():  # the usual ones are so small that biases and norms go unseen
            parameter.normal_(0.0, 0.5, generator=generator)
        model.save_pretrained(tmp_path)
        output = model(
            torch.from_numpy(tokens).long(), torch.from_numpy(mask).long(), output_hidden_states=True
        )
    states = np.stack(
        [state.numpy() for state in output.hidden_states], axis=1
    )  # batch, levels, tokens, hidden
    expected = (states * mask[:, None, :, None]).sum(axis=2) / mask.sum(axis=1)[:, None, None]
    apply, params = functionalize(load_encoder(tmp_path, EncoderConfig(**TINY)))
    found = np.asarray(apply(params, jnp.asarray(tokens), jnp.asarray(mask)))
    assert found.shape == (3, 3, 12)
    assert found == pytest.approx(expected, abs=1e-5)
