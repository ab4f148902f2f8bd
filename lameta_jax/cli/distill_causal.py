"""`lameta distill --model`: a causal language model of one's own, by adapters."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lameta_jax.cli.common import BadInputError, refusing, say
from lameta_jax.cli.distill_plan import Made, Plan
from lameta_jax.distillation.methods import DistillationConfig
from lameta_jax.elam.causal_files import save_causal
from lameta_jax.elam.model_files import model_digest, model_files
from lameta_jax.elam.qwen2_elam import model_name
from lameta_jax.elam.weights import WeightsError
from lameta_jax.pipeline.distillation import Train
from lameta_jax.pipeline.own_causal import CAUSAL_TRAINER, OwnCausalConfig, distil_causal, header_of
from lameta_jax.pipeline.own_elam import RecordSplit, held_out_errors

if TYPE_CHECKING:
    from lameta_jax.cli.distill import DistillConfig


def causal_plan(config: "DistillConfig", folder: str, method: DistillationConfig) -> Plan:
    """The plan of an E-LAM made of the model in a folder, by the method with `CAUSAL_TRAINER`."""
    if config.elam is not None:
        raise BadInputError("--elam and --model cannot both be given: each says what is distilled")
    if config.decoder_only:
        raise BadInputError("--decoder-only cannot be given with --model: it has no decoder of its own")
    own = causal_config(config, method)
    with refusing(WeightsError):
        files, digest = model_files(folder), model_digest(folder)

    def make(split: RecordSplit, train: Train) -> Made:
        say(f"loading {folder}")
        elams = distil_causal(folder, split, own, train)
        errors = {}
        if split.validation:
            say(f"answering {len(split.validation)} prompts without and with the adapters")
            errors = held_out_errors({"raw": elams.raw, "distilled": elams.distilled}, split)
        header = header_of(elams, folder, digest)
        return Made(lambda path, notes: save_causal(path, elams.adapters, own.lora, header, notes), errors)

    return Plan(
        name=model_name(folder),
        purpose={"--gradient-checkpointing": str(own.gradient_checkpointing), "model": digest},
        reads=tuple(files),
        epochs=own.method.trainer.num_epochs,
        trainings={"distilling the adapters": own.method.preference_weight > 0},
        make=make,
    )


def causal_config(config: "DistillConfig", method: DistillationConfig) -> OwnCausalConfig:
    """The options as the library takes them."""
    epochs = CAUSAL_TRAINER.num_epochs if config.epochs is None else config.epochs
    return OwnCausalConfig(
        method=method.with_trainer(replace(CAUSAL_TRAINER, num_epochs=epochs)),
        gradient_checkpointing=config.gradient_checkpointing,
        validation=config.validation,
        seed=config.seed,
    )
