"""`lameta distill --elam`: MiniLM with a decoder, as the shipped E-LAMs are."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lameta_jax.cli.common import BadInputError, say
from lameta_jax.cli.distill_plan import Made, Plan
from lameta_jax.distillation.methods import DistillationConfig
from lameta_jax.elam.distilled_files import save_distilled
from lameta_jax.elam.model import ELAM_LAYERS
from lameta_jax.elam.sentence_encoder import SentenceEncoder
from lameta_jax.pipeline.distillation import Train
from lameta_jax.pipeline.own_elam import OwnElamConfig, RecordSplit, distil_own, validation_errors

if TYPE_CHECKING:
    from lameta_jax.cli.distill import DistillConfig


def minilm_plan(config: "DistillConfig", method: DistillationConfig) -> Plan:
    """The plan of an E-LAM of `--elam`, by the method as it was tuned."""
    if config.gradient_checkpointing:
        raise BadInputError("--gradient-checkpointing needs --model")
    own = own_config(config, method)

    def make(split: RecordSplit, train: Train) -> Made:
        encoder = SentenceEncoder(ELAM_LAYERS[own.elam])
        say(f"encoding {len(split.history) + len(split.training)} prompts")
        elams = distil_own(encoder, split, own, train)
        errors = validation_errors(encoder, elams, split) if split.validation else {}
        return Made(lambda path, notes: save_distilled(path, elams.distilled, notes), errors)

    trainer = own.method.decoder_trainer if own.decoder_only else own.method.trainer
    pairs = own.method.preference_weight > 0
    return Plan(
        name=own.elam,
        purpose={"--elam": own.elam, "--decoder-only": str(own.decoder_only)},
        reads=(),
        epochs=trainer.num_epochs,
        trainings={
            "pre-training on the history": False,
            "distilling the decoder": pairs,
            "fine-tuning the encoder and the decoder": pairs,
        },
        make=make,
    )


def own_config(config: "DistillConfig", method: DistillationConfig) -> OwnElamConfig:
    """The options as the library takes them."""
    last = "decoder_trainer" if config.decoder_only else "trainer"
    if config.epochs is not None:
        method = replace(method, **{last: replace(getattr(method, last), num_epochs=config.epochs)})
    return OwnElamConfig(
        elam=config.elam or "large",
        method=method,
        decoder_only=config.decoder_only,
        validation=config.validation,
        seed=config.seed,
    )
