"""`lameta distill`: from labelled prompts to an E-LAM of one's own, in steps that can be interrupted."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lameta_jax import __version__
from lameta_jax.cli.common import BadInputError, is_same_file, refusing, say, write_json, write_table
from lameta_jax.distillation.metrics import TranslationError
from lameta_jax.distillation.train import METHODS
from lameta_jax.elam.distilled_files import save_distilled
from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.elam.weights import WeightsError
from lameta_jax.intents.corpus import (
    BENCHMARKS,
    CorpusError,
    Record,
    digest,
    load_benchmark,
    load_history,
    prompts_of,
    read_records,
)
from lameta_jax.pipeline.own_elam import (
    OwnElamConfig,
    RecordSplit,
    distil_own,
    records_of,
    split_records,
    validation_errors,
)
from lameta_jax.pipeline.resumable import Epoch, ResumableTrainer, ResumeError, write_whole
from lameta_jax.types import FACTOR_NAMES

MAX_SEED = 2**32 - 1
SHOWN_EPOCHS = 10  # lines of progress of a long training
METHOD_OPTIONS = {name.replace(", ", "-").replace(" ", "-"): method for name, method in METHODS.items()}
TRAININGS = (
    "pre-training on the history",
    "distilling the decoder",
    "fine-tuning the encoder and the decoder",
)


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """An E-LAM of your own, from labelled prompts.

    The corpus is JSON Lines. Every line has id, application, prompt and preference, four shares that sum to 1:
    capability, information, latency, outage. An E-LAM is first pre-trained on the history, then distilled on the
    corpus. After every epoch the state is saved beside --out; after an interruption the same command goes on from
    there, to the same result. Use it by lameta intent "..." --elam-file FILE.
    """

    corpus: Annotated[str, tyro.conf.arg(metavar="FILE")]  # labelled prompts, in JSON Lines
    out: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """where to write the E-LAM (.safetensors); a file that is there is replaced at the very end"""
    application: str | None = None  # whose records to take, where the corpus holds several applications
    elam: Literal["large", "small"] = "large"  # six or three layers of MiniLM
    method: Literal["iokd", "iokd-no-anchor", "dpo", "dpo-anchored", "sft"] = (
        "iokd"  # loss; iokd is weighted DPO with an anchor
    )
    epochs: int | None = None
    """of the last training, with --decoder-only that of the decoder; the tuned number if not given"""
    seed: int = 0  # of everything that is drawn
    decoder_only: tyro.conf.FlagCreatePairsOff[bool] = False  # leave the encoder as it is: faster, less exact
    history: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """labelled prompts of any applications, to pre-train on and to take contrastive answers from;
    the shipped 600 if not given"""
    validation: float = 0.1  # share of the prompts that are held out and measured on, in [0, 1)
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def distill(config: DistillConfig) -> None:
    """Distil an E-LAM, write it, and print its error on the prompts held out."""
    own = _own_config(config)
    with refusing(CorpusError):
        records = records_of(read_records(config.corpus), config.application, config.corpus)
        history = load_history() if config.history is None else read_records(config.history)
        split = split_records(records, history, own)
    _warn_of_test_prompts(records + history)
    out, partial = _outputs(config)
    purpose = _purpose(config, own, records, history)
    with refusing(WeightsError, ResumeError):
        trainer = ResumableTrainer(partial, purpose, _show_epoch(own))
        if trainer.resumed:
            say(f"going on from {partial}")
        encoder = SentenceEncoder(ELAM_LAYERS[own.elam])
        say(f"encoding {len(split.history) + len(split.training)} prompts")
        try:
            elams = distil_own(encoder, split, own, trainer)
        except KeyboardInterrupt:
            if partial.exists():
                say(f"the same command goes on from {partial}")
            raise
        errors = validation_errors(encoder, elams, split) if split.validation else {}
        write_whole(out, lambda draft: save_distilled(draft, elams.distilled, purpose))
        trainer.discard()
    if errors and errors["distilled"].mse >= errors["raw"].mse:
        say("on the records held out, the E-LAM is no better than before distillation: more records may help")
    summary = _summary(config, own, split, elams.distilled.application, errors)
    if config.json:
        write_json(summary)
    else:
        _print(summary)


def _own_config(config: DistillConfig) -> OwnElamConfig:
    if config.epochs is not None and config.epochs < 1:
        raise BadInputError(f"--epochs: {config.epochs} must be at least 1")
    if not 0 <= config.seed <= MAX_SEED:
        raise BadInputError(f"--seed: {config.seed} must lie between 0 and {MAX_SEED}")
    method = METHOD_OPTIONS[config.method]
    last = "decoder_trainer" if config.decoder_only else "trainer"
    if config.epochs is not None:
        method = replace(method, **{last: replace(getattr(method, last), num_epochs=config.epochs)})
    with refusing(ValueError):
        return OwnElamConfig(
            elam=config.elam,
            method=method,
            decoder_only=config.decoder_only,
            validation=config.validation,
            seed=config.seed,
        )


def _last_epochs(own: OwnElamConfig) -> int:
    trainer = own.method.decoder_trainer if own.decoder_only else own.method.trainer
    return trainer.num_epochs


def _outputs(config: DistillConfig) -> tuple[Path, Path]:
    """Where the E-LAM and the unfinished training go; whatever would fail after hours is refused now."""
    out, partial = Path(config.out), Path(f"{config.out}.partial")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise BadInputError(f"--out: {out} must be a file in a folder that can be written to")
    for read in filter(None, (config.corpus, config.history)):
        if is_same_file(read, str(out)) or is_same_file(read, str(partial)):
            raise BadInputError(f"--out: {out} must not be a file that is read")
    return out, partial


def _purpose(
    config: DistillConfig, own: OwnElamConfig, records: Sequence[Record], history: Sequence[Record]
) -> dict[str, str]:
    """What the result depends on, by the names that a refusal shows."""
    return {
        "--elam": config.elam,
        "--method": config.method,
        "--epochs": str(_last_epochs(own)),
        "--seed": str(config.seed),
        "--decoder-only": str(config.decoder_only),
        "--validation": str(config.validation),
        "corpus": digest(records),
        "history": digest(history),
        "version of lameta": __version__,
    }


def _warn_of_test_prompts(records: Sequence[Record]) -> None:
    tests = {prompt for name in BENCHMARKS for prompt in prompts_of(load_benchmark(name).test)}
    count = sum(record.prompt in tests for record in records)
    if count:
        say(f"{count} records hold test prompts of the shipped benchmark: do not measure this E-LAM on it")


def _show_epoch(own: OwnElamConfig):
    def show(epoch: Epoch) -> None:
        every = 1 if epoch.total <= 2 * SHOWN_EPOCHS else epoch.total // SHOWN_EPOCHS
        if epoch.done % every and epoch.done != epoch.total:
            return
        text = f"{TRAININGS[epoch.training]}: epoch {epoch.done} of {epoch.total}, loss {epoch.loss:.4g}"
        if epoch.training > 0 and own.method.preference_weight:
            text += f", reward margin {epoch.reward_margin:.3f}, accuracy {epoch.reward_accuracy:.3f}"
        say(text)

    return show


def _summary(
    config: DistillConfig,
    own: OwnElamConfig,
    split: RecordSplit,
    application: str,
    errors: dict[str, TranslationError],
) -> dict[str, Any]:
    return {
        "out": config.out,
        "application": application,
        "elam": own.elam,
        "method": config.method,
        "decoder_only": own.decoder_only,
        "epochs": _last_epochs(own),
        "seed": own.seed,
        "records": {name: len(records) for name, records in split._asdict().items()},
        "validation": [
            {
                "model": name,
                "mse": error.mse,
                "mae": error.mae,
                "failure_rate": error.failure_rate,
                "factor_mae": dict(zip(FACTOR_NAMES, map(float, error.factor_mae), strict=True)),
            }
            for name, error in errors.items()
        ],
    }


def _print(summary: dict[str, Any]) -> None:
    counts = summary["records"]
    print(
        f"{summary['out']}: {summary['elam']} E-LAM of {summary['application']}, {summary['method']},"
        f" {counts['training']} records trained on, {counts['validation']} held out"
    )
    if not summary["validation"]:
        return
    print("Error on the records held out; the last columns are the mean absolute error of each factor:")
    rows: list[tuple[str, ...]] = [("", "MSE", "MAE", "failed", *FACTOR_NAMES)]
    for row in summary["validation"]:
        shares = [f"{value:.4f}" for value in row["factor_mae"].values()]
        rows.append(
            (row["model"], f"{row['mse']:.4f}", f"{row['mae']:.4f}", f"{row['failure_rate']:.0%}", *shares)
        )
    write_table(rows)
