"""The encoder takes seconds to load and compile: one for all tests."""

import pytest

from lameta_jax.elam.sentence_encoder import SentenceEncoder


@pytest.fixture(scope="session")
def encoder() -> SentenceEncoder:
    """All six layers of the official weights."""
    return SentenceEncoder()
