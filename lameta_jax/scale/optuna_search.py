"""Search over what changes shapes, such as sizes of layers, by Optuna: every trial is a sweep of its own.

    sizes = {"width": range(16, 129, 16), "algorithm": ("ppo", "reinforce")}
    runs = lambda fixed: random_runs({**space, **fixed}, 20, seeds=range(5), draw_seed=0)
    do = lambda groups, folder: sweep(train, groups, config, folder=folder)
    found = optuna_search(do, runs, sizes, folder=Path("runs/search"), trials=30)

What changes no shape is not for Optuna: all of it is one program, and trying a hundred values costs little more than
trying one. After an interruption the search goes on: finished trials are in Optuna's journal in the folder, and the
trial that was running finds the chunks that it has done.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lameta_jax.scale.checkpoint import CheckpointError, digest
from lameta_jax.scale.space import Fixed, Group
from lameta_jax.scale.sweep import Kept, Swept
from lameta_jax.scale.sweep_table import configurations

Sizes = Mapping[str, Sequence[Any]]
"""Values by name; a `range` is searched as the numbers that it is."""
_JOURNAL, _PURPOSE, _UNFIT = "optuna.journal", "purpose", "does not fit"


class Trial(NamedTuple):
    """What one choice of sizes came to."""

    number: int  # of finished trials, from 0
    sizes: dict[str, Any]
    value: float  # interquartile mean over seeds of the best configuration; nan if all its runs failed


class Searched(NamedTuple):
    """What a search found."""

    table: dict[str, list[Any]]  # columns as in `Swept`, after `trial`; one entry per run
    best: list[Kept]  # best first; `run` is a row of the table
    trials: list[Trial]


def optuna_search(
    do: Callable[[Sequence[Group], Path], Swept],
    runs: Callable[[dict[str, Fixed]], Sequence[Group]],
    sizes: Sizes,
    *,
    folder: Path,
    trials: int,
    metric: str = "score",
    seed: int = 0,
    purpose: Mapping[str, str] | None = None,
    report: Callable[[Trial], None] = lambda _: None,
) -> Searched:
    """Let Optuna's tree-structured Parzen estimator choose sizes; needs the extra `sweep`.

    A choice that does not fit into memory counts as the worst, and so does one all of whose runs fail.

    Args:
      do: `(groups, folder)` to what they bring, by `sweep` or `ray_sweep`, which keep finished chunks in that folder.
      runs: the runs of a trial, given its sizes; the same for the same sizes.
      sizes: what Optuna chooses from.
      folder: for the journal and the folders of trials, which are named after their sizes.
      trials: in all, with those that are there; Optuna may choose the same sizes again, which costs nothing.
      metric: the score to make great.
      seed: of Optuna's draws; what it chooses depends on it and on the trials before.
      purpose: what the results depend on beside all this, by name.
      report: called after every trial.

    Raises:
      CheckpointError: the folder is of another search, or as `do` says.
      ModuleNotFoundError: Optuna is missing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = _study(folder, {**(purpose or {}), "metric": metric, "seed": str(seed), "sizes": _told(sizes)})
    _take_up(study)
    place = lambda chosen: folder / f"sizes-{digest(chosen)[:16]}"
    while (number := len(_finished(study))) < trials:
        # By number, so that a search that was interrupted draws as one that was not.
        study.sampler = _sampler([seed, number])
        trial = study.ask()
        chosen = _chosen(trial, sizes)
        try:
            groups = runs(_fixed(chosen))
            value = _best_value(do(groups, place(chosen)), groups, metric)
        except MemoryError as error:
            value = float("nan")
            trial.set_user_attr(_UNFIT, str(error))
        _tell(study, trial.number, value)
        report(Trial(number, chosen, value))
    return _gathered(study, sizes, lambda chosen: do(runs(_fixed(chosen)), place(chosen)), trials)


def _gathered(study: Any, sizes: Sizes, again: Callable[[dict[str, Any]], Swept], trials: int) -> Searched:
    """All trials; their runs are read from the chunks that they have left."""
    found: list[Trial] = []
    table: dict[str, list[Any]] = {"trial": []}
    best: list[Kept] = []
    keep, seen = 0, set()
    for number, kept in enumerate(_finished(study)[:trials]):
        chosen = _values(kept.params, sizes)
        found.append(Trial(number, chosen, float("nan") if kept.value is None else kept.value))
        if _told(chosen) in seen or _UNFIT in kept.user_attrs:
            continue
        seen.add(_told(chosen))
        swept, first = again(chosen), len(table["trial"])
        count = len(swept.table["run"])
        columns = {**swept.table, "trial": [number] * count, "run": list(range(first, first + count))}
        for name in dict.fromkeys([*table, *columns]):  # a score that not all trials have is nan elsewhere
            before = table.get(name, [float("nan")] * first)
            table[name] = before + list(columns.get(name, [float("nan")] * count))
        best += [one._replace(run=first + one.run) for one in swept.best]
        keep = max(keep, len(swept.best))
    return Searched(table, sorted(best, key=lambda one: (-one.score, one.run))[:keep], found)


def _best_value(swept: Swept, groups: Sequence[Group], metric: str) -> float:
    return configurations(swept.table, list(groups[0].columns), metric)[f"{metric}_iqm"][0]


def _fixed(chosen: Mapping[str, Any]) -> dict[str, Fixed]:
    return {name: Fixed((value,)) for name, value in chosen.items()}


def _study(folder: Path, purpose: Mapping[str, str]) -> Any:
    """The study in the folder's journal, which is begun if there is none."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    with _quiet(optuna):
        storage = JournalStorage(JournalFileBackend(str(folder / _JOURNAL)))
        study = optuna.create_study(
            study_name="search", storage=storage, direction="maximize", load_if_exists=True
        )
    if _PURPOSE not in study.user_attrs:
        study.set_user_attr(_PURPOSE, dict(purpose))
    before = study.user_attrs[_PURPOSE]
    others = [name for name in dict.fromkeys([*purpose, *before]) if before.get(name) != purpose.get(name)]
    if others:
        raise CheckpointError(f"{folder}: a search with another {', '.join(others)}; delete it to start anew")
    return study


def _take_up(study: Any) -> None:
    """Trials whose process has ended are begun again with what they had chosen."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _finished(study: Any) -> list[Any]:
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _tell(study: Any, number: int, value: float) -> None:
    from optuna.trial import TrialState

    if np.isfinite(value):
        study.tell(number, value)
    else:  # counts as a trial, and as worse than all that have a value
        study.tell(number, state=TrialState.PRUNED)


def _sampler(seed: Sequence[int]) -> Any:
    from optuna.samplers import TPESampler

    return TPESampler(seed=int(np.random.SeedSequence(seed).generate_state(1)[0]))


def _chosen(trial: Any, sizes: Sizes) -> dict[str, Any]:
    for name, values in sizes.items():
        if isinstance(values, range):
            trial.suggest_int(name, values[0], values[-1], step=values.step)
        else:
            trial.suggest_categorical(name, [str(value) for value in values])
    return _values(trial.params, sizes)


def _values(params: Mapping[str, Any], sizes: Sizes) -> dict[str, Any]:
    """What Optuna knows by the text of it."""
    by_text = lambda name: {str(value): value for value in sizes[name]}
    return {name: by_text(name)[str(params[name])] for name in sizes}


def _told(value: Any) -> str:
    return json.dumps(value, default=repr, sort_keys=True)


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
