"""Trainings that can be interrupted: after every epoch, all they carry is in one file.

The file holds the SHA-256 of its content and what the trainings are of; a damaged or a foreign one is refused.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.serialization import from_state_dict, msgpack_restore, msgpack_serialize, to_state_dict
from jaxtyping import Array, PyTree

from lameta_jax.distillation.train import (
    DistillationConfig,
    LogProbs,
    Metrics,
    PreferenceData,
    TrainState,
    prepare,
    run,
    start,
)

_MAGIC = b"lameta unfinished training 1 "
_DIGEST_SIZE = 64


class ResumeError(ValueError):
    """The file of an unfinished training cannot be used or written; the message is one line."""


class Epoch(NamedTuple):
    """What one epoch looked like; the last three are means over its steps."""

    training: int  # trainings that were finished before this one
    done: int  # epochs of this training, this one included
    total: int
    loss: float
    reward_margin: float
    reward_accuracy: float


class ResumableTrainer:
    """`distil` for trainings that follow one another, which the next process takes up where this one ends.

    Call it as `distil` is called, for the same trainings in the same order each time. Results are equal to the bit,
    however often the trainings were interrupted.
    """

    def __init__(
        self,
        path: str | Path,
        purpose: Mapping[str, str],
        progress: Callable[[Epoch], None] | None = None,
    ):
        """Read what an earlier process left at `path`, if anything.

        Args:
          path: the file; written after every epoch.
          purpose: what the results depend on, by name, such as the SHA-256 of the data.
          progress: called after every epoch.

        Raises:
          ResumeError: the file is damaged, or of trainings with another purpose.
        """
        self._path, self._progress = Path(path), progress
        self._purpose = dict(purpose) | {"float type": jnp.result_type(float).name}
        self._calls = 0
        self._finished: list[dict[str, Any]] = []  # one per training: parameters and metrics
        self._current: dict[str, Any] | None = None  # of the training that comes next: state and metrics
        if os.path.lexists(self._path):
            self._read()

    @property
    def resumed(self) -> bool:
        """Whether there was something to take up."""
        return bool(self._finished) or self._current is not None

    def __call__(
        self,
        log_probs: LogProbs,
        key: Array,
        reference: PyTree,
        frozen: PyTree,
        data: PreferenceData,
        config: DistillationConfig,
        begin: PyTree | None = None,
    ) -> tuple[PyTree, Metrics]:
        """What `distil` returns for these arguments, trained epoch by epoch.

        Raises:
          ResumeError: the state cannot be written.
        """
        begin, number = reference if begin is None else begin, self._calls
        self._calls += 1
        if number < len(self._finished):
            kept = self._finished[number]
            return _restored(begin, kept["params"]), _metrics(kept["metrics"])
        problem = prepare(log_probs, reference, frozen, data, config)
        state, parts = start(key, begin, problem, config.trainer), []
        if self._current is not None:
            state = _unpacked(state, self._current["state"])
            parts = [_metrics(self._current["metrics"])]
        total = config.trainer.num_epochs
        while int(state.epoch) < total:
            state, metrics = run(log_probs, state, problem, config.trainer, 1)
            parts.append(metrics)
            if int(state.epoch) < total:
                self._current = {"state": _packed(state), "metrics": _joined(parts)._asdict()}
            else:
                self._current = None
                self._finished.append(
                    {"params": to_state_dict(state.params), "metrics": _joined(parts)._asdict()}
                )
            self._write()
            if self._progress is not None:
                means = (float(np.mean(np.asarray(values))) for values in metrics)
                self._progress(Epoch(number, int(state.epoch), total, *means))
        return state.params, _joined(parts)

    def discard(self) -> None:
        """Remove the file: the results are elsewhere."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = {"purpose": self._purpose, "finished": self._finished, "current": self._current}
        payload = msgpack_serialize(content)
        digest = hashlib.sha256(payload).hexdigest().encode()
        write_whole(self._path, lambda draft: draft.write_bytes(_MAGIC + digest + b"\n" + payload))

    def _read(self) -> None:
        hint = "delete it to start anew"
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise ResumeError(f"{self._path}: cannot be read ({error.strerror}); {hint}") from None
        head, payload = content[: len(_MAGIC) + _DIGEST_SIZE + 1], content[len(_MAGIC) + _DIGEST_SIZE + 1 :]
        if head != _MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n":
            raise ResumeError(f"{self._path}: damaged, or not an unfinished training; {hint}")
        kept: dict[str, Any] = dict(msgpack_restore(payload))
        names = [*self._purpose, *kept["purpose"]]
        others = [
            name for name in dict.fromkeys(names) if kept["purpose"].get(name) != self._purpose.get(name)
        ]
        if others:
            raise ResumeError(
                f"{self._path}: an unfinished training with another {', '.join(others)}; {hint}"
            )
        self._finished, self._current = kept["finished"], kept["current"]


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file written beside `path` and put in its place at once, so that no reader ever sees half of it.

    Raises:
      ResumeError: it cannot be written; the file that was there before is as it was.
    """
    draft = path.with_name(f"{path.name}.part")
    try:
        write(draft)
        os.replace(draft, path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ResumeError(f"{path}: cannot be written ({error.strerror})") from None


def _packed(state: TrainState) -> dict[str, Any]:
    return to_state_dict(state._replace(key=jax.random.key_data(state.key)))


def _unpacked(like: TrainState, kept: dict[str, Any]) -> TrainState:
    state = _restored(like._replace(key=jax.random.key_data(like.key)), kept)
    return state._replace(key=jax.random.wrap_key_data(state.key))


def _restored(like: PyTree, kept: dict[str, Any]) -> PyTree:
    return jax.tree.map(jnp.asarray, from_state_dict(like, kept))


def _metrics(kept: Mapping[str, Any]) -> Metrics:
    return Metrics(**{name: jnp.asarray(values) for name, values in kept.items()})


def _joined(parts: list[Metrics]) -> Metrics:
    return jax.tree.map(lambda *values: jnp.concatenate(values), *parts)
