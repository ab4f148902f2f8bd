"""What every test runs under: checked shapes and types, no silent broadcasting, no warnings."""

import os
from pathlib import Path

import jax
import pytest
from jaxtyping import install_import_hook

# Before anything imports the package: every annotated function then checks its shapes and types.
install_import_hook("lameta_jax", "beartype.beartype")

# A vector and a matrix that meet by accident are a bug; the library broadcasts by name (`x[:, None]`).
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the larger data sets, named by LAMETA_DATA_DIR; tests that need it skip without it."""
    folder = os.environ.get("LAMETA_DATA_DIR")
    if not folder:
        pytest.skip("LAMETA_DATA_DIR is not set")
    if not Path(folder).is_dir():
        pytest.skip(f"LAMETA_DATA_DIR={folder} is not a folder")
    return Path(folder)
