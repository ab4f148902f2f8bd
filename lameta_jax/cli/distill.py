"""`lameta distill`: from labelled prompts to an E-LAM of one's own, in steps that can be interrupted."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lameta_jax import __version__
from lameta_jax.cli.common import BadInputError, check_seed, is_same_file, refusing, say, write_json
from lameta_jax.cli.distill_causal import causal_plan
from lameta_jax.cli.distill_minilm import minilm_plan
from lameta_jax.cli.distill_plan import Made, Plan
from lameta_jax.cli.distill_report import print_summary, show_epoch, summary_of
from lameta_jax.distillation.methods import METHODS
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
from lameta_jax.pipeline.own_elam import RecordSplit, SplitConfig, records_of, split_records
from lameta_jax.pipeline.resumable import ResumableTrainer
from lameta_jax.scale.checkpoint import CheckpointError, write_whole

METHOD_OPTIONS = {name.replace(", ", "-").replace(" ", "-"): method for name, method in METHODS.items()}


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """An E-LAM of your own, from labelled prompts.

    The corpus is JSON Lines. Every line has id, application, prompt and preference, four shares that sum to 1:
    capability, information, latency, outage. An E-LAM of --elam is first pre-trained on the history, then distilled
    on the corpus; with --model, adapters of that language model are. After every epoch the state is saved beside
    --out; after an interruption the same command goes on from there, to the same result. Use it by
    lameta intent "..." --elam-file FILE.
    """

    corpus: Annotated[str, tyro.conf.arg(metavar="FILE")]  # labelled prompts, in JSON Lines
    out: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """where to write the E-LAM (.safetensors); a file that is there is replaced at the very end"""
    application: str | None = None  # whose records to take, where the corpus holds several applications
    elam: Literal["large", "small"] | None = None  # six or three layers of MiniLM; large if not given
    model: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Hugging Face folder of a Qwen2 model to distil in place of MiniLM; the E-LAM needs it to be there"""
    method: Literal["iokd", "iokd-no-anchor", "dpo", "dpo-anchored", "sft"] = (
        "iokd"  # loss; iokd is weighted DPO with an anchor
    )
    epochs: int | None = None
    """of the last training, with --decoder-only that of the decoder; the usual number if not given"""
    seed: int = 0  # of everything that is drawn
    decoder_only: tyro.conf.FlagCreatePairsOff[bool] = False  # leave the encoder as it is: faster, less exact
    gradient_checkpointing: tyro.conf.FlagCreatePairsOff[bool] = False  # with --model: less memory, slower
    history: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """labelled prompts of any applications, to pre-train on and to take contrastive answers from;
    the shipped 600 if not given"""
    validation: float = 0.1  # share of the prompts that are held out and measured on, in [0, 1)
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def distill(config: DistillConfig) -> None:
    """Distil an E-LAM, write it, and print its error on the prompts held out."""
    if config.epochs is not None and config.epochs < 1:
        raise BadInputError(f"--epochs: {config.epochs} must be at least 1")
    check_seed(config.seed)
    with refusing(ValueError):
        held_out = SplitConfig(validation=config.validation, seed=config.seed)
    with refusing(CorpusError):
        records = records_of(read_records(config.corpus), config.application, config.corpus)
        history = load_history() if config.history is None else read_records(config.history)
        split = split_records(records, history, held_out)
    _warn_of_test_prompts(records + history)
    plan = _plan(config)
    out, partial = _outputs(config, plan)
    purpose = _purpose(config, plan, records, history)
    with refusing(WeightsError, CheckpointError, CorpusError):
        trainer = ResumableTrainer(partial, purpose, show_epoch(plan, say))
        made = _make(plan, split, trainer, partial)
        write_whole(out, lambda draft: made.save(draft, purpose))
        trainer.discard()
    if made.errors and made.errors["distilled"].mse >= made.errors["raw"].mse:
        say("on the records held out, the E-LAM is no better than before distillation: more records may help")
    summary = summary_of(config, plan, split, made)
    if config.json:
        write_json(summary)
    else:
        print_summary(summary)


def _plan(config: DistillConfig) -> Plan:
    method = METHOD_OPTIONS[config.method]
    if config.model is not None:
        return causal_plan(config, config.model, method)
    return minilm_plan(config, method)


def _make(plan: Plan, split: RecordSplit, trainer: ResumableTrainer, partial: Path) -> Made:
    """The E-LAM; whoever interrupts it is told that it can be taken up."""
    if trainer.resumed:
        say(f"going on from {partial}")
    try:
        return plan.make(split, trainer)
    except KeyboardInterrupt:
        if partial.exists():
            say(f"the same command goes on from {partial}")
        raise


def _outputs(config: DistillConfig, plan: Plan) -> tuple[Path, Path]:
    """Where the E-LAM and the unfinished training go; whatever would fail after hours is refused now."""
    out, partial = Path(config.out), Path(f"{config.out}.partial")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise BadInputError(f"--out: {out} must be a file in a folder that can be written to")
    for read in filter(None, (config.corpus, config.history, *map(str, plan.reads))):
        if is_same_file(read, str(out)) or is_same_file(read, str(partial)):
            raise BadInputError(f"--out: {out} must not be a file that is read")
    return out, partial


def _purpose(
    config: DistillConfig, plan: Plan, records: Sequence[Record], history: Sequence[Record]
) -> dict[str, str]:
    """What the result depends on, by the names that a refusal shows."""
    return plan.purpose | {
        "--method": config.method,
        "--epochs": str(plan.epochs),
        "--seed": str(config.seed),
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
