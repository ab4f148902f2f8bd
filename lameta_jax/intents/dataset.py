"""Adaptive dataset construction from end to end: an application's own samples in, D_IoKD out.

LAMeTA Sec. IV-A, eqs. (19)-(23), (26). The contrastive answers of (25) follow from the preferences and the history
(`augmentation.contrastive_indices`); whoever trains draws them.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lameta_jax.intents.augmentation import MAX_WORDS, augmentation_size, drop_near_duplicates, synthesise
from lameta_jax.intents.augmentation_plan import PlanConfig, plan_requests
from lameta_jax.intents.corpus import CorpusError, Record, format_records, preferences_of, prompts_of
from lameta_jax.intents.dataset_statistics import DatasetStatistics, nearest, summarise
from lameta_jax.intents.requests import Request, explanation_request
from lameta_jax.intents.similarity import relevant
from lameta_jax.intents.teacher import Teacher
from lameta_jax.scale.checkpoint import CheckpointError, write_whole

Embed = Callable[[Sequence[str]], Float[np.ndarray, "prompts size"]]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """How a data set is built."""

    min_similarity: float = 0.35  # tau_min of (20)
    target: int = 500  # size of D_IoKD; the teacher adds what real samples leave open
    plan: PlanConfig = PlanConfig()

    def __post_init__(self):
        if self.target < 0:
            raise ValueError(f"target = {self.target} must not be negative")


class Dataset(NamedTuple):
    """D_IoKD of one application: demonstrations, relevant history, synthetic samples, in this order."""

    application: str
    records: tuple[Record, ...]
    statistics: DatasetStatistics


class _Group(NamedTuple):
    """Records with the embeddings of their prompts."""

    records: tuple[Record, ...]
    embeddings: Float[np.ndarray, "prompts size"]


class _Written(NamedTuple):
    """What the teacher wrote and passed validation, and how much was asked for it."""

    good: _Group
    rejects: dict[str, int]
    num_requests: int


def build_dataset(
    demonstrations: Sequence[Record],
    history: Sequence[Record],
    teacher: Teacher,
    embed: Embed,
    config: DatasetConfig,
    progress: Progress | None = None,
    requests: Sequence[Request] | None = None,
) -> Dataset:
    """Filter the history, have demonstrations explained, ask for samples until there are enough (19)-(23).

    The result depends on the records, the configuration and the teacher's answers only. Nothing is asked where real
    samples suffice. Samples that fail validation are counted by reason and never repaired; where too few are good,
    further requests follow, up to a bound (`PlanConfig.spare_requests`), and what is missing then is reported.

    Args:
      demonstrations: D_u, the application's own labelled samples; at least one, all of one application.
      history: D_h, labelled samples of any applications; may be empty.
      teacher: who explains and writes.
      embed: Sentence-BERT embeddings of prompts, one row each.
      config: sizes, threshold, seed.
      progress: called with a stage (`explanations` or `samples`), the requests done and the requests known so far.
      requests: what to ask for samples, in this order, in place of requests drawn from the demonstrations.

    Raises:
      CorpusError: no demonstrations, several applications among them, or an id that stands for two records.
      TeacherError: the teacher cannot answer; what a live teacher answered so far is in its transcript.
    """
    application = _application(demonstrations)
    own = _embedded(tuple(demonstrations), embed)
    related = _related(own, tuple(history), embed, config.min_similarity)
    real = _join(own, related)
    _check_ids(real.records)
    wanted = augmentation_size(config.target, real.records)
    num_explained = num_unexplained = 0
    if requests is None and wanted > 0:
        num_explained = _unexplained(real.records)
        real = real._replace(records=_explain(real.records, teacher, progress))
        num_unexplained = _unexplained(real.records)
        first, rest = real.records[: len(demonstrations)], real.records[len(demonstrations) :]
        requests = plan_requests(application, first, rest, wanted, config.plan)
    written = _augment(real, wanted, requests or (), teacher, embed, config, progress)
    kept = _take(written.good, np.arange(min(wanted, len(written.good.records))))
    statistics = DatasetStatistics(
        num_history=len(history),
        num_own=len(demonstrations),
        num_relevant=len(related.records),
        num_demonstrations=len(real.records),
        num_explained=num_explained,
        num_unexplained=num_unexplained,
        num_wanted=wanted,
        num_requests=written.num_requests,
        num_written=len(written.good.records) + sum(written.rejects.values()),
        num_kept=len(kept.records),
        num_surplus=len(written.good.records) - len(kept.records),
        num_missing=wanted - len(kept.records),
        rejects=written.rejects,
        real=summarise(preferences_of(real.records)),
        synthetic=summarise(preferences_of(kept.records)) if kept.records else None,
        nearest_real=nearest(kept.embeddings, real.embeddings) if kept.records else None,
    )
    return Dataset(application, real.records + kept.records, statistics)


def write_dataset(dataset: Dataset, path: str | Path) -> None:
    """Write the records to `path`, a corpus file, and the statistics beside it, to `<stem>.statistics.json`.

    Raises:
      CorpusError: they cannot be written; files that were there before are as they were.
    """
    path = Path(path)
    facts = {"application": dataset.application, **dataset.statistics.as_json()}
    _write_whole(path, format_records(dataset.records))
    _write_whole(path.with_suffix(".statistics.json"), json.dumps(facts, indent=1) + "\n")


def _write_whole(path: Path, text: str) -> None:
    try:
        write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    except CheckpointError as error:
        raise CorpusError(str(error)) from None


def _application(demonstrations: Sequence[Record]) -> str:
    applications = sorted({record.application for record in demonstrations})
    if len(applications) != 1:
        raise CorpusError(
            f"demonstrations must be of one application, not of {', '.join(applications) or 'none'}"
        )
    return applications[0]


def _related(own: _Group, history: tuple[Record, ...], embed: Embed, min_similarity: float) -> _Group:
    """D_rel, less what D_u holds already, so that the two together are D_demo: LAMeTA eqs. (20), (21)."""
    if not history:
        return _take(own, np.arange(0))
    known = set(prompts_of(own.records))
    past = _embedded(history, embed)
    similar = relevant(own.embeddings, past.embeddings, min_similarity)
    return _take(past, np.array([row for row in similar if history[row].prompt not in known], dtype=int))


def _check_ids(records: Sequence[Record]) -> None:
    for name, count in Counter(record.id for record in records).items():
        if count > 1:
            raise CorpusError(f"id {name!r} stands for {count} records of the demonstrations and the history")


def _explain(records: Sequence[Record], teacher: Teacher, progress: Progress | None) -> tuple[Record, ...]:
    """The records, with the teacher's reasoning (22) where they have none of their own."""
    explained: list[Record] = []
    done, total = 0, _unexplained(records)
    for record in records:
        if not record.rationale:
            answer = teacher.ask(explanation_request(record)).strip()
            record = replace(record, rationale=answer if len(answer.split()) <= MAX_WORDS else "")
            done += 1
            if progress is not None:
                progress("explanations", done, total)
        explained.append(record)
    return tuple(explained)


def _unexplained(records: Sequence[Record]) -> int:
    return sum(not record.rationale for record in records)


def _augment(
    real: _Group,
    wanted: int,
    requests: Sequence[Request],
    teacher: Teacher,
    embed: Embed,
    config: DatasetConfig,
    progress: Progress | None,
) -> _Written:
    """Asks, round by round, as many requests as would do if all samples were good, until there are enough."""
    good, rejects, asked = _take(real, np.arange(0)), Counter[str](), 0
    while len(good.records) < wanted and asked < len(requests):
        size = ceil((wanted - len(good.records)) / config.plan.samples_per_request)
        batch, new = requests[asked : asked + size], list[Record]()
        known_requests = asked + len(batch)
        for request in batch:
            samples = synthesise(teacher, [request], prompts_of((*real.records, *good.records, *new)))
            new += samples.records
            rejects.update(samples.rejects)
            asked += 1
            if progress is not None:
                progress("samples", asked, known_requests)
        if new:
            group = _embedded(tuple(new), embed)
            distinct = drop_near_duplicates(group.embeddings, _join(real, good).embeddings)
            rejects["near duplicate"] += len(new) - len(distinct)
            good = _join(good, _take(group, distinct))
    return _Written(good, dict(+rejects), asked)


def _embedded(records: tuple[Record, ...], embed: Embed) -> _Group:
    embeddings = np.asarray(embed(prompts_of(records)))
    if embeddings.ndim != 2 or len(embeddings) != len(records) or not np.isfinite(embeddings).all():
        raise ValueError(f"embed must give one row of finite numbers for each of {len(records)} prompts")
    return _Group(records, embeddings)


def _take(group: _Group, rows: np.ndarray) -> _Group:
    return _Group(tuple(group.records[row] for row in rows), group.embeddings[rows])


def _join(first: _Group, second: _Group) -> _Group:
    return _Group(first.records + second.records, np.concatenate([first.embeddings, second.embeddings]))
