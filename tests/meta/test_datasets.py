"""Digits and MNIST, and what is said of files that are missing, damaged or others."""

import gzip
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.meta.datasets import DatasetError, find_files, load_digits, to_floats
from lameta_jax.meta.mnist import load_mnist, read_idx

MNIST_NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]
IDX = bytes([0, 0, 8, 2]) + bytes([0, 0, 0, 2, 0, 0, 0, 3]) + bytes([1, 2, 3, 4, 5, 255])
PACKED = gzip.compress(IDX, mtime=0)  # without the time, which would name tests differently in every worker


def refusal(function, *arguments) -> str:
    with pytest.raises(DatasetError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def no_data(tmp_path, monkeypatch):
    """A machine without data, whose user's cache is the folder that is returned."""
    monkeypatch.delenv("LAMETA_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lameta_jax"


def test_floats_are_inputs_times_the_scale_of_their_sample():
    inputs = np.arange(24, dtype=np.uint8).reshape(2, 3, 2, 2)
    scale = np.arange(1, 7, dtype=np.float32).reshape(2, 3) / 8
    expected = [
        [[[inputs[i, j, k, m] * scale[i, j] for m in (0, 1)] for k in (0, 1)] for j in range(3)]
        for i in (0, 1)
    ]
    found = to_floats(inputs, scale)
    assert found.dtype == np.float32 and found.tolist() == expected
    assert jax.jit(to_floats)(jnp.array(inputs), jnp.array(scale)).tolist() == expected
    assert to_floats(inputs[0, 0], scale[0, 0, ...]).tolist() == expected[0][0]


def test_digits_are_those_of_scikit_learn():
    digits = load_digits()
    assert digits.inputs.shape == (1797, 8, 8) and digits.scale.shape == (1797,)
    # as its description says: 1797 samples, around 180 a class, 8 x 8 pixels of 0 to 16
    assert np.bincount(digits.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    values = to_floats(digits.inputs, digits.scale)
    assert values.min() == 0 and values.max() == 1
    assert values[0, 0].tolist() == [
        0,
        0,
        5 / 16,
        13 / 16,
        9 / 16,
        1 / 16,
        0,
        0,
    ]  # the first row of the first 0
    assert digits.labels[:10].tolist() == list(range(10))


def test_without_scikit_learn_there_are_no_digits(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert "pip install scikit-learn" in refusal(load_digits)


def test_files_are_found_in_the_folder_that_is_named_then_in_the_cache(no_data, tmp_path, monkeypatch):
    monkeypatch.setenv("LAMETA_DATA_DIR", str(tmp_path / "data"))
    names = [("a.gz", "a"), "b"]
    places = [tmp_path / "own", tmp_path / "data" / "some", no_data / "some"]
    for place in places:
        place.mkdir(parents=True)
        (place / "b").touch()
    (places[2] / "a").touch()
    assert find_files("some", names, None, "") == [places[2] / "a", places[2] / "b"]
    (places[1] / "a").touch()
    assert find_files("some", names, None, "") == [places[1] / "a", places[1] / "b"]
    (places[1] / "a.gz").touch()
    assert find_files("some", names, None, "") == [places[1] / "a.gz", places[1] / "b"]
    message = refusal(find_files, "some", names, places[0], "see there")
    assert message == f"some: a.gz not found in {places[0]}; put the files there; see there"


def test_the_cache_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("LAMETA_DATA_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    (tmp_path / ".cache" / "lameta_jax" / "some").mkdir(parents=True)
    (tmp_path / ".cache" / "lameta_jax" / "some" / "a").touch()
    assert find_files("some", ["a"], None, "") == [tmp_path / ".cache" / "lameta_jax" / "some" / "a"]


def test_missing_data_is_said_with_where_it_was_looked_for_and_can_be_had(no_data, tmp_path, monkeypatch):
    message = refusal(load_mnist)
    assert "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, " in message
    assert str(no_data / "mnist") in message and "LAMETA_DATA_DIR" in message and "https://" in message
    monkeypatch.setenv("LAMETA_DATA_DIR", str(tmp_path / "data"))
    assert f"{tmp_path / 'data' / 'mnist'} and {no_data / 'mnist'}" in refusal(load_mnist)


@pytest.mark.parametrize("packed", [False, True])
def test_an_idx_file_is_read_packed_or_not(tmp_path, packed):
    path = tmp_path / ("some.gz" if packed else "some")
    path.write_bytes(gzip.compress(IDX) if packed else IDX)
    assert read_idx(path).tolist() == [[1, 2, 3], [4, 5, 255]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("some", b"\x00\x01" + IDX[2:], "not an IDX file of unsigned bytes: it starts with 00 01 08 02"),
        ("some", IDX[:2] + b"\x0d" + IDX[3:], "it starts with 00 00 0d 02"),  # of floats
        ("some", IDX[:3], "it starts with 00 00 08"),
        ("some", b"", "it starts with nothing"),
        ("some", IDX[:9], "it ends within the lengths of its 2 axes"),
        ("some", IDX[:-1], r"5 values where its axes (2, 3) need 6"),
        ("some", IDX + b"\x00", r"7 values where its axes (2, 3) need 6"),
        ("some", bytes([0, 0, 8, 2, *[255] * 8]), "need 18446744065119617025"),  # no overflow
        ("some.gz", IDX, "not packed by gzip"),
        ("some.gz", PACKED[:-9], "damaged"),
        ("some.gz", PACKED[:12] + b"\xff" + PACKED[13:], "damaged"),
    ],
)
def test_a_file_that_is_no_idx_file_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    message = refusal(read_idx, tmp_path / name)
    assert message.startswith(str(tmp_path / name)) and words in message


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    assert "cannot be read" in refusal(read_idx, tmp_path)


def test_files_of_another_data_set_are_refused(tmp_path):
    for name in MNIST_NAMES:
        (tmp_path / name).write_bytes(IDX)
    message = refusal(load_mnist, tmp_path)
    assert "SHA-256" in message and MNIST_NAMES[0] in message


@pytest.fixture(scope="module")
def mnist(data_dir):
    return load_mnist(data_dir / "mnist")


def test_mnist_is_the_original(mnist):
    training, test = mnist
    assert training.inputs.shape == (60_000, 28, 28) and test.inputs.shape == (10_000, 28, 28)
    # the class counts, mean and deviation that everyone knows
    assert np.bincount(training.labels).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert np.bincount(test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert training.labels[:5].tolist() == [5, 0, 4, 1, 9] and test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert training.inputs.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert training.inputs.std() / 255 == pytest.approx(0.3081, abs=5e-5)
    some = to_floats(test.inputs[:100], test.scale[:100])
    assert some.min() == 0 and some.max() == pytest.approx(1)
    assert some == pytest.approx(test.inputs[:100] / 255)


def test_mnist_is_found_by_default(mnist, data_dir, monkeypatch):
    monkeypatch.setenv("LAMETA_DATA_DIR", str(data_dir))
    assert np.array_equal(load_mnist()[1].labels, mnist[1].labels)


def test_one_flipped_byte_of_mnist_is_noticed(data_dir, tmp_path):
    for name in MNIST_NAMES[:3]:
        shutil.copy(data_dir / "mnist" / f"{name}.gz", tmp_path)
    content = bytearray(gzip.decompress((data_dir / "mnist" / f"{MNIST_NAMES[3]}.gz").read_bytes()))
    content[5000] ^= 1
    (tmp_path / MNIST_NAMES[3]).write_bytes(content)
    message = refusal(load_mnist, tmp_path)
    assert message.startswith(str(tmp_path / MNIST_NAMES[3])) and "SHA-256" in message
