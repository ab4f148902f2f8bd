"""What every test runs under, beside the settings in pyproject.toml (checked types, warnings are errors)."""

import os
import shutil
import tempfile
from pathlib import Path

import jax
import pytest
from hypothesis import HealthCheck, settings

# Figures are drawn to files, whatever the machine shows; set before matplotlib is imported.
os.environ["MPLBACKEND"] = "Agg"

# A vector and a matrix that meet by accident are a bug; the library broadcasts by name (`x[:, None]`).
jax.config.update("jax_numpy_rank_promotion", "raise")

# The same few examples every time; compiling inside an example is slow, and no reason to fail.
settings.register_profile(
    "lameta", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("lameta")


def pytest_configure(config):
    """Most of the default run goes into compiling small programs that run once: quick code would come too late.

    The slow tests, and what any test starts as a program of its own, are compiled as for users. Those programs keep
    what they compile for each other, but nothing in the home of who runs the tests.
    """
    jax.config.update("jax_disable_most_optimizations", config.option.markexpr == "not slow")
    if not hasattr(config, "workerinput"):  # workers of pytest-xdist inherit it
        config.lameta_cache = os.environ["LAMETA_CACHE_DIR"] = tempfile.mkdtemp(prefix="lameta-tests-")


def pytest_unconfigure(config):
    shutil.rmtree(getattr(config, "lameta_cache", ""), ignore_errors=True)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the larger data sets, named by LAMETA_DATA_DIR; tests that need it skip without it."""
    folder = os.environ.get("LAMETA_DATA_DIR")
    if not folder:
        pytest.skip("LAMETA_DATA_DIR is not set")
    if not Path(folder).is_dir():
        pytest.skip(f"LAMETA_DATA_DIR={folder} is not a folder")
    return Path(folder)
