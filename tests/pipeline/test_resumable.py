"""Trainings cut anywhere and taken up again, and files that must not be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.distillation.methods import METHODS, TrainerConfig
from lameta_jax.distillation.train import PreferenceData, distil
from lameta_jax.pipeline.resumable import ResumableTrainer
from lameta_jax.scale.checkpoint import CheckpointError

PURPOSE = {"corpus": "one", "--seed": "0"}
METHOD = METHODS["iokd"].with_trainer(TrainerConfig(num_epochs=3, batch_size=2, learning_rate=0.1))
FIRST = METHODS["sft"].with_trainer(TrainerConfig(num_epochs=2, batch_size=None, learning_rate=0.1))


def linear(params, frozen, inputs, answers):
    """Log-probabilities up to a constant; layers have numbers, as those of the encoder."""
    read = inputs @ params["layers"][0] * params["adapters"]["a"][None] + frozen
    return -jnp.square(read[:, None] - answers / 100.0).sum(axis=-1)


def weights():
    return {"layers": {0: jnp.full((3, 4), 0.5)}, "adapters": {"a": jnp.ones(4)}}


def samples():
    rng = np.random.default_rng(0)
    preferences = rng.dirichlet(np.ones(4), 6)
    return PreferenceData(
        inputs=jnp.asarray(rng.normal(size=(6, 3)), dtype=float),
        preferences=jnp.asarray(preferences, dtype=float),
        chosen=jnp.asarray(np.rint(100 * preferences), dtype=int),
        rejected=jnp.asarray(rng.integers(0, 100, (6, 2, 4))),
    )


def both(train):
    """Two trainings, one from where the other ended, with weights to start from that are not the reference's."""
    key, frozen, data = jax.random.key(1), jnp.zeros(()), samples()
    params, first = train(linear, key, weights(), frozen, data, FIRST)
    return train(linear, key, weights(), frozen, data, METHOD, params), first


def interrupted(path, calls):
    """The trainings, interrupted after that many epochs in all, again and again until they are done."""
    seen, restarts = [], 0
    while True:
        last = len(seen) + calls

        def progress(epoch, last=last):
            seen.append(epoch)
            if len(seen) == last:
                raise KeyboardInterrupt

        trainer = ResumableTrainer(path, PURPOSE, progress)
        assert trainer.resumed == (restarts > 0)
        try:
            return both(trainer), seen, restarts
        except KeyboardInterrupt:
            restarts += 1


def assert_equal_bits(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    result, seen, restarts = interrupted(tmp_path_factory.mktemp("whole") / "it.partial", 100)
    assert restarts == 0
    return result, seen


def test_uncut_it_is_what_the_trainer_does(whole):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), whole[0], both(distil))


@pytest.mark.parametrize("calls", [1, 2, 4])
def test_cut_anywhere_it_ends_with_the_same_bits(whole, tmp_path, calls):
    result, seen, restarts = interrupted(tmp_path / "it.partial", calls)
    assert restarts == 5 // calls
    assert_equal_bits(result, whole[0])
    assert seen == whole[1]  # no epoch twice


def test_progress_tells_the_epochs_and_means_over_steps(whole):
    ((_, second), first), seen = whole
    assert [(epoch.training, epoch.done, epoch.total) for epoch in seen] == [
        (0, 1, 2),
        (0, 2, 2),
        (1, 1, 3),
        (1, 2, 3),
        (1, 3, 3),
    ]
    assert first.loss.shape == (2,) and second.loss.shape == (9,)
    for name in ("loss", "reward_margin", "reward_accuracy"):
        found = [getattr(epoch, name) for epoch in seen[2:]]
        values = np.asarray(getattr(second, name))
        np.testing.assert_allclose(found, values.reshape(3, 3).mean(axis=1), rtol=1e-5, atol=1e-7)


@pytest.fixture
def partial(tmp_path):
    """The file of trainings that were interrupted in the second one."""

    def stop(epoch):
        if epoch[:2] == (1, 1):
            raise KeyboardInterrupt

    path = tmp_path / "it.partial"
    with pytest.raises(KeyboardInterrupt):
        both(ResumableTrainer(path, PURPOSE, stop))
    assert list(tmp_path.iterdir()) == [path]  # no draft
    return path


def refusal(path, purpose=PURPOSE):
    with pytest.raises(CheckpointError) as caught:
        ResumableTrainer(path, purpose)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_a_flipped_or_missing_byte_anywhere_is_found(partial):
    content = partial.read_bytes()
    for place in {0, 30, 95, *range(0, len(content), 97), len(content) - 1}:
        damaged = bytearray(content)
        damaged[place] ^= 1
        partial.write_bytes(damaged)
        assert "damaged" in refusal(partial) and "delete it" in refusal(partial)
        assert partial.read_bytes() == damaged  # it is for the user to delete
    for size in (0, 10, 100, len(content) - 1):
        partial.write_bytes(content[:size])
        assert "damaged" in refusal(partial)
    partial.write_bytes(content)
    assert ResumableTrainer(partial, PURPOSE).resumed


def test_trainings_of_something_else_are_refused_by_name(partial):
    assert "another corpus; delete it" in refusal(partial, PURPOSE | {"corpus": "two"})
    assert "another corpus, --seed;" in refusal(partial, {"corpus": "two", "--seed": "1"})
    assert "another history;" in refusal(partial, PURPOSE | {"history": "none"})
    assert "another --seed;" in refusal(partial, {"corpus": "one"})
    with jax.enable_x64(True):
        assert "another float type;" in refusal(partial)


def test_a_file_that_cannot_be_read_or_written_is_one_line(tmp_path):
    (tmp_path / "folder").mkdir()
    assert "cannot be read (Is a directory)" in refusal(tmp_path / "folder")
    missing = tmp_path / "none" / "it.partial"
    with pytest.raises(CheckpointError, match=r"it\.partial: cannot be written \(No such file"):
        both(ResumableTrainer(missing, PURPOSE))


def test_discarded_it_starts_anew(partial):
    trainer = ResumableTrainer(partial, PURPOSE)
    trainer.discard()
    trainer.discard()  # nothing is there to remove
    assert not partial.exists() and not ResumableTrainer(partial, PURPOSE).resumed
