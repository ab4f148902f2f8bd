"""The names that `import lameta_jax` offers exist, and cost nothing until they are used."""

import subprocess
import sys

import pytest

import lameta_jax


@pytest.mark.parametrize("name", lameta_jax.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(lameta_jax, name) is not None


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lameta_jax.nothing


def test_importing_the_package_does_not_import_jax():
    check = "import sys, lameta_jax; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
