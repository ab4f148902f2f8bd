"""Files of splits: read back as written, and refused in one line when damaged or of other data."""

import json

import numpy as np
import pytest

from lameta_jax.meta.datasets import DatasetError
from lameta_jax.meta.split_files import labels_digest, read_split, write_split

LABELS = np.array([0, 1, 1, 2])
ABOUT = {"seed": "7", "labels": labels_digest(LABELS)}
SPLITS = {"train": [np.array([2, 0]), np.array([], dtype=int)], "test": [np.array([1]), np.array([3])]}


@pytest.fixture
def path(tmp_path):
    write_split(tmp_path / "split.json", SPLITS, ABOUT)
    return tmp_path / "split.json"


def refusal(path, about=ABOUT):
    with pytest.raises(DatasetError) as caught:
        read_split(path, about)
    message = str(caught.value)
    assert message.startswith(str(path)) and "\n" not in message
    return message


def test_what_was_written_is_read_back(path):
    split = read_split(path, {"labels": ABOUT["labels"]})
    assert split.about == ABOUT
    assert {name: [part.tolist() for part in parts] for name, parts in split.parts.items()} == {
        "train": [[2, 0], []],
        "test": [[1], [3]],
    }


def test_the_digest_is_of_the_labels_and_not_of_their_type():
    assert labels_digest(LABELS.astype(np.int16)) == ABOUT["labels"]
    assert labels_digest(LABELS[::-1]) != ABOUT["labels"] != labels_digest(LABELS[:3])
    # sha256 of the bytes 00 00 00 00 01 00 00 00, by sha256sum
    assert labels_digest(np.array([0, 1])).startswith("01acecb507abfe1a")


@pytest.mark.parametrize(
    ("name", "value"), [("seed", "8"), ("labels", labels_digest(LABELS[:3])), ("new", "")]
)
def test_a_split_of_something_else_is_refused(path, name, value):
    assert f"a split with another {name};" in refusal(path, {**ABOUT, name: value})


def test_no_changed_byte_goes_unnoticed(path):
    whole = path.read_bytes().rstrip()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        refusal(path)


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"format": 1}', b"\xff", b"[" * 100_000])
def test_another_file_is_refused(path, content):
    path.write_bytes(content)
    assert "not a file of splits" in refusal(path)


def test_a_row_that_was_edited_is_noticed(path):
    content = json.loads(path.read_text())
    content["splits"]["test"][0] = [0]
    path.write_text(json.dumps(content))
    assert "damaged" in refusal(path)


def test_a_missing_file_and_a_missing_folder_are_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "absent.json")
    with pytest.raises(DatasetError, match="cannot be written"):
        write_split(tmp_path / "absent" / "split.json", SPLITS, ABOUT)
