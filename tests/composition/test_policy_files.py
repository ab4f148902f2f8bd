"""Policy files: what is written is read back, what is damaged is refused in one line, and what they compose."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.policy_files import (
    FORMAT,
    PolicyError,
    TrainedPolicy,
    load_policy,
    save_policy,
)

SMALL = PolicyConfig(width=4, num_layers=1, context_width=6, intent_width=3, elam_width=2, num_elams=2)


@pytest.fixture(scope="module")
def policy():
    return TrainedPolicy(config=SMALL, params=make_policy(SMALL).init(jax.random.key(0)), initial_elam=1)


@pytest.fixture
def path(policy, tmp_path):
    save_policy(tmp_path / "policy.safetensors", policy)
    return tmp_path / "policy.safetensors"


def rewritten(path, change_tensors=None, **header):
    """The file with some tensors or header entries replaced; None leaves an entry out."""
    tensors = dict(load_file(path))
    if change_tensors:
        change_tensors(tensors)
    complete = {"format": FORMAT, "config": json.dumps(SMALL.__dict__), "initial_elam": "1"} | header
    save_file(tensors, path, metadata={key: value for key, value in complete.items() if value is not None})
    return path


def test_what_is_saved_is_loaded(policy, path):
    loaded = load_policy(path)
    assert (loaded.config, loaded.initial_elam) == (policy.config, policy.initial_elam)
    assert jax.tree.structure(loaded.params) == jax.tree.structure(policy.params)
    for saved, read in zip(jax.tree.leaves(policy.params), jax.tree.leaves(loaded.params), strict=True):
        assert saved.dtype == read.dtype
        np.testing.assert_array_equal(saved, read)


def test_tensors_are_named_by_their_place_in_the_policy(path):
    names = set(load_file(path))
    assert {"actor.0.kernel", "encoder.embed.bias", "value.kernel"} <= names


def test_weights_come_in_the_float_type_in_force(path):
    with jax.enable_x64(True):
        assert {leaf.dtype for leaf in jax.tree.leaves(load_policy(path).params)} == {np.dtype("float64")}


def rename(tensors):
    tensors["actor.7.kernel"] = tensors.pop("actor.0.kernel")


def reshape(tensors):
    tensors["actor.0.kernel"] = tensors["actor.0.kernel"].T.copy()


def poison(tensors):
    tensors["actor.0.bias"] = np.full_like(tensors["actor.0.bias"], np.nan)


def halve(tensors):
    tensors["actor.0.bias"] = tensors["actor.0.bias"].astype(np.float16)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"change_tensors": rename}, "actor.0.kernel is missing"),
        ({"change_tensors": lambda tensors: tensors.update(extra=np.zeros(1))}, "extra is unknown"),
        ({"change_tensors": reshape}, "actor.0.kernel: shape"),
        ({"change_tensors": poison}, "actor.0.bias must be finite"),
        ({"change_tensors": halve}, "actor.0.bias: dtype = F16"),
        ({"format": None}, "format = None"),
        ({"format": "something"}, "format = 'something'"),
        ({"config": None}, "header"),
        ({"config": "{"}, "header"),
        ({"config": "[]"}, "config must have the keys"),
        ({"config": json.dumps(SMALL.__dict__ | {"depth": 1})}, "config must have the keys"),
        ({"config": json.dumps(SMALL.__dict__ | {"width": 0})}, "width = 0"),
        ({"config": json.dumps(SMALL.__dict__ | {"width": True})}, "width = True"),
        ({"config": json.dumps(SMALL.__dict__ | {"width": 10**9})}, "width = 1000000000"),
        ({"config": json.dumps(SMALL.__dict__ | {"width": 8})}, "shape"),
        ({"initial_elam": "2"}, "initial_elam = 2"),
        ({"initial_elam": "x"}, "header"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(path, change, named):
    with pytest.raises(PolicyError) as refusal:
        load_policy(rewritten(path, **change))
    message = str(refusal.value)
    assert named in message and message.startswith(str(path)) and "\n" not in message


@pytest.mark.parametrize("content", [b"", b"not a policy", b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(PolicyError, match="not readable as safetensors"):
        load_policy(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(PolicyError):
        load_policy(path)


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    for place in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(PolicyError, match="cannot be read"):
            load_policy(place)
