"""An E-LAM for an application of one's own: from labelled records to a distilled model and its held-out error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from lameta_jax.distillation.methods import DECODER_ALONE, IOKD, DistillationConfig, TrainerConfig
from lameta_jax.distillation.metrics import TranslationError, translation_error
from lameta_jax.distillation.train import distil
from lameta_jax.elam.answering import MiniLMElam
from lameta_jax.elam.model import Distilled
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.intents.corpus import CorpusError, Record, preferences_of, prompts_of
from lameta_jax.intents.translator import AnsweringModel, translate
from lameta_jax.pipeline.distillation import Train, distil_decoder, distil_raw, fine_tune, training_states
from lameta_jax.pipeline.intents import ApplicationData, IntentConfig, Labelled

MIN_RECORDS = 8  # with distinct prompts, to train on and in the history


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Who validates."""

    validation: float = 0.1  # share of the prompts held out, in [0, 1)
    seed: int = 0

    def __post_init__(self):
        if not 0.0 <= self.validation < 1.0:
            raise ValueError(f"validation = {self.validation} must lie in [0, 1)")


@dataclass(frozen=True, kw_only=True)
class OwnElamConfig(SplitConfig):
    """How an E-LAM is made from records that are an application's D_IoKD as they are; the seed is of all it draws."""

    elam: str = "large"  # small or large
    method: DistillationConfig = IOKD
    decoder_only: bool = False  # leave the encoder as it is
    pretraining: TrainerConfig = DECODER_ALONE  # of the raw E-LAM


class RecordSplit(NamedTuple):
    """Who trains and who validates."""

    training: tuple[Record, ...]
    validation: tuple[Record, ...]
    history: tuple[Record, ...]  # without the prompts held out


class OwnElam(NamedTuple):
    """An E-LAM of one's own, and what it was before distillation."""

    raw: Distilled
    distilled: Distilled


def records_of(records: Sequence[Record], application: str | None, place: str) -> tuple[Record, ...]:
    """The records of one application; of the only one there is where none is named.

    Raises:
      CorpusError: naming `place`, if there are none, or several applications to choose from.
    """
    names = sorted({record.application for record in records})
    if not records:
        raise CorpusError(f"{place}: no records")
    if application is None and len(names) > 1:
        raise CorpusError(f"{place}: several applications, name one of {', '.join(names)}")
    if application is not None and application not in names:
        raise CorpusError(f"{place}: no records of application {application!r}; there are {', '.join(names)}")
    wanted = names[0] if application is None else application
    return tuple(record for record in records if record.application == wanted)


def split_records(records: Sequence[Record], history: Sequence[Record], config: SplitConfig) -> RecordSplit:
    """Hold out a random share of the prompts, at least one unless the share is 0.

    Records with one prompt stay together, and the history loses those with a prompt that is held out: what validates
    trains nothing, not even the raw model. Letter case and spaces make no other prompt.

    Raises:
      CorpusError: fewer than `MIN_RECORDS` distinct prompts are left to train on, or in the history.
    """
    prompts = list(dict.fromkeys(map(_normalised, records)))
    count = max(round(config.validation * len(prompts)), 1) if config.validation else 0
    order = np.random.default_rng(config.seed).permutation(len(prompts))
    held_out = {prompts[place] for place in order[:count]}
    split = RecordSplit(
        tuple(record for record in records if _normalised(record) not in held_out),
        tuple(record for record in records if _normalised(record) in held_out),
        tuple(record for record in history if _normalised(record) not in held_out),
    )
    for what, rest in {"to train on": split.training, "in the history": split.history}.items():
        distinct = len(set(map(_normalised, rest)))
        if distinct < MIN_RECORDS:
            raise CorpusError(
                f"{distinct} records with distinct prompts {what}, must be at least {MIN_RECORDS}"
                f" ({len(split.validation)} are held out)"
            )
    return split


def _normalised(record: Record) -> str:
    return " ".join(record.prompt.split()).casefold()


def distil_own(
    encoder: SentenceEncoder,
    split: RecordSplit,
    config: OwnElamConfig,
    train: Train = distil,
    progress: Callable[[int, int], None] | None = None,
) -> OwnElam:
    """Pre-train a raw E-LAM on the history and distil it for the application of the training records.

    Args:
      encoder: of at least as many layers as the E-LAM has.
      train: called for every training in turn: pre-training, the decoder, and unless `decoder_only` the encoder's
        last layer together with it.
      progress: called with the prompts encoded so far and all of them.
    """
    key_raw, key = jax.random.split(jax.random.key(config.seed))
    records = split.history + split.training
    levels = encoder.levels(prompts_of(records), progress)
    history = Labelled(split.history, levels[: len(split.history)])
    training = Labelled(split.training, levels[len(split.history) :])
    application = ApplicationData(
        application=split.training[0].application,
        training=training,
        test=training.take(np.arange(0)),
        num_relevant=0,
        num_synthetic=0,
        rejects={},
    )
    raw = distil_raw(key_raw, config.elam, history, IntentConfig(pretraining=config.pretraining), train)
    if config.decoder_only:
        distilled, _ = distil_decoder(key, raw, application, history, config.method, train)
    else:
        states = training_states(encoder, config.elam, application)
        distilled, _ = fine_tune(key, raw, application, history, config.method, encoder, states, train)
    return OwnElam(raw, distilled)


def validation_errors(
    encoder: SentenceEncoder, own: OwnElam, split: RecordSplit
) -> dict[str, TranslationError]:
    """Errors on the records held out: of the training records' mean vector, the raw and the distilled model."""
    return held_out_errors({name: MiniLMElam(model, encoder) for name, model in own._asdict().items()}, split)


def held_out_errors(elams: Mapping[str, AnsweringModel], split: RecordSplit) -> dict[str, TranslationError]:
    """Errors on the records held out, by name: of the training records' `mean vector`, and of every E-LAM."""
    actual = preferences_of(split.validation)
    mean = np.broadcast_to(preferences_of(split.training).mean(axis=0), actual.shape)
    errors = {"mean vector": translation_error(mean, actual)}
    for name, elam in elams.items():
        read = translate(elam, prompts_of(split.validation))
        predicted = np.array([translation.preference for translation in read])
        errors[name] = translation_error(predicted, actual, [translation.failed for translation in read])
    return errors
