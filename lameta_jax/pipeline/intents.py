"""The data of stage 1: from the corpus and a teacher to encoded data sets of every application (LAMeTA Sec. IV-A)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from lameta_jax.distillation.methods import DECODER_ALONE, IOKD, DistillationConfig, TrainerConfig
from lameta_jax.elam.sentence_encoder import SentenceEncoder, sentence_embeddings
from lameta_jax.intents.corpus import Record, load_benchmark, load_history, preferences_of, prompts_of
from lameta_jax.intents.dataset import DatasetConfig, build_dataset
from lameta_jax.intents.teacher import RecordedTeacher, Teacher

Levels = Float[np.ndarray, "prompts levels hidden"]


@dataclass(frozen=True, kw_only=True)
class IntentConfig:
    """How the E-LAMs of an application are made; chosen by cross-validation on history and synthetic prompts."""

    min_similarity: dict[str, float] = field(  # tau_min of (20), per application
        default_factory=lambda: {"multimedia": 0.35, "qa": 0.30}
    )
    # Size of D_IoKD; the teacher adds what real samples leave open. The recorded one has 500 samples per
    # application, and cross-validation wants them all (experiments/select_distillation.py).
    target: int = 1000
    pretraining: TrainerConfig = DECODER_ALONE  # of the raw E-LAM
    method: DistillationConfig = IOKD


class Labelled(NamedTuple):
    """Records with the encoder's levels for their prompts."""

    records: tuple[Record, ...]
    levels: Levels

    @property
    def preferences(self) -> Float[np.ndarray, "prompts 4"]:
        return preferences_of(self.records)

    def take(self, indices: np.ndarray) -> "Labelled":
        """Some of them, in the order given."""
        return Labelled(tuple(self.records[index] for index in indices), self.levels[indices])


class ApplicationData(NamedTuple):
    """Everything stage 1 knows about one application."""

    application: str
    training: Labelled  # D_IoKD of (26)
    test: Labelled
    num_relevant: int  # |D_rel| of (20)
    num_synthetic: int  # N_aug of (23), after validation
    rejects: dict[str, int]  # synthetic samples left out, by reason


class IntentData(NamedTuple):
    """The corpus, encoded once for all sizes, applications and seeds."""

    history: Labelled  # D_h
    applications: dict[str, ApplicationData]


def prepare_intents(
    encoder: SentenceEncoder,
    teacher: Teacher,
    applications: Sequence[str],
    config: IntentConfig,
    progress: Callable[[int, int], None] | None = None,
) -> IntentData:
    """Build the data sets of all applications: filter, augment, validate (LAMeTA eqs. (19)-(23)).

    Whoever the teacher is, it is asked for samples what the shipped transcript records: the draw of demonstrations and
    settings is part of the corpus, and another teacher's samples then differ by the teacher alone.
    """
    history = load_history()
    benchmarks = {name: load_benchmark(name) for name in applications}
    encoded = _EncodedPrompts(encoder, progress)
    encoded.levels([record.prompt for group in (history, *sum(benchmarks.values(), ())) for record in group])
    data = {}
    for name, (demonstrations, test) in benchmarks.items():
        asked = DatasetConfig(min_similarity=config.min_similarity[name], target=config.target)
        requests = RecordedTeacher().requests("augment", name)
        built = build_dataset(demonstrations, history, teacher, encoded.embed, asked, requests=requests)
        counts = built.statistics
        data[name] = ApplicationData(
            application=name,
            training=encoded.label(built.records),
            test=encoded.label(test),
            num_relevant=counts.num_relevant,
            num_synthetic=counts.num_kept,
            rejects=dict(counts.rejects),
        )
    return IntentData(encoded.label(history), data)


class _EncodedPrompts:
    """The encoder's levels of every prompt asked for, each encoded once."""

    def __init__(self, encoder: SentenceEncoder, progress: Callable[[int, int], None] | None):
        self._encoder, self._progress = encoder, progress
        self._levels: dict[str, np.ndarray] = {}

    def levels(self, prompts: Sequence[str]) -> Levels:
        new = list(dict.fromkeys(prompt for prompt in prompts if prompt not in self._levels))
        if new:
            self._levels.update(zip(new, self._encoder.levels(new, self._progress), strict=True))
        return np.stack([self._levels[prompt] for prompt in prompts])

    def embed(self, prompts: Sequence[str]) -> Float[np.ndarray, "prompts hidden"]:
        return sentence_embeddings(self.levels(prompts))

    def label(self, records: Sequence[Record]) -> Labelled:
        return Labelled(tuple(records), self.levels(prompts_of(records)))
