"""Trainings that can be interrupted: after every epoch, all they carry is in one checkpoint."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from lameta_jax.distillation.methods import DistillationConfig
from lameta_jax.distillation.train import LogProbs, Metrics, PreferenceData, prepare, run, start
from lameta_jax.scale.checkpoint import packed, read_checkpoint, unpacked, write_checkpoint


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
          CheckpointError: the file is damaged, or of trainings with another purpose.
        """
        self._path, self._progress = Path(path), progress
        self._purpose, self._calls = dict(purpose), 0
        kept = read_checkpoint(self._path, self._purpose) or {"finished": [], "current": None}
        self._finished: list[dict[str, Any]] = kept["finished"]  # one per training: parameters and metrics
        self._current: dict[str, Any] | None = kept["current"]  # of the next one: state and metrics

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
          CheckpointError: the state cannot be written.
        """
        begin, number = reference if begin is None else begin, self._calls
        self._calls += 1
        if number < len(self._finished):
            kept = self._finished[number]
            return unpacked(begin, kept["params"]), _metrics(kept["metrics"])
        problem = prepare(log_probs, reference, frozen, data, config)
        state, parts = start(key, begin, problem, config.trainer), []
        if self._current is not None:
            state = unpacked(state, self._current["state"])
            parts = [_metrics(self._current["metrics"])]
        total = config.trainer.num_epochs
        while int(state.epoch) < total:
            state, metrics = run(log_probs, state, problem, config.trainer, 1)
            parts.append(metrics)
            if int(state.epoch) < total:
                self._current = {"state": packed(state), "metrics": _joined(parts)._asdict()}
            else:
                self._current = None
                self._finished.append({"params": packed(state.params), "metrics": _joined(parts)._asdict()})
            self._write()
            if self._progress is not None:
                means = (float(np.mean(np.asarray(values))) for values in metrics)
                self._progress(Epoch(number, int(state.epoch), total, *means))
        return state.params, _joined(parts)

    def discard(self) -> None:
        """Remove the file: the results are elsewhere."""
        self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        content = {"finished": self._finished, "current": self._current}
        write_checkpoint(self._path, self._purpose, content)


def _metrics(kept: Mapping[str, Any]) -> Metrics:
    return Metrics(**{name: jnp.asarray(values) for name, values in kept.items()})


def _joined(parts: list[Metrics]) -> Metrics:
    return jax.tree.map(lambda *values: jnp.concatenate(values), *parts)
