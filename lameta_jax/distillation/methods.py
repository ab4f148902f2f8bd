"""The methods of distillation by name, and how each trains an E-LAM (LAMeTA Sec. IV-B)."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """Optimiser: AdamW, linear warm-up and cosine decay to 0."""

    num_epochs: int = 3
    batch_size: int | None = 32  # samples of a step; None: all of them
    reference_batch_size: int = 64  # samples whose reference log-probabilities are computed at a time
    learning_rate: float = 1e-3  # of the decoder
    weight_decay: float = 1.0  # of the decoder
    adapter_learning_rate: float = 5e-4  # of low-rank adapters, if there are any
    adapter_weight_decay: float = 0.01
    warmup: float = 0.1  # share of the steps
    max_gradient_norm: float = 1.0


DECODER_ALONE = TrainerConfig(
    num_epochs=200, batch_size=None, learning_rate=1e-2, weight_decay=1.0, warmup=0.0
)
"""For a decoder over a frozen encoder. A few hundred prompts for 10^5 weights: the decay is strong on purpose."""


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """One method: a preference loss, a likelihood loss, or both."""

    preference_weight: float = 1.0  # of (31); 0 leaves supervised fine-tuning
    beta_base: float = 0.1  # of (32)
    beta_slope: float = 1.0  # lambda of (32), in [0, 2); 0 is plain DPO
    num_rejected: int = 4  # k of (25)
    label_smoothing: float = 0.0  # share of pairs taken to be the wrong way round, in [0, 1/2)
    anchor_weight: float = 0.03  # of the likelihood of the chosen answer, which plain DPO lowers
    negatives: Literal["farthest", "random"] = (
        "farthest"  # how (25) picks contrastive answers from the history
    )
    decoder_trainer: TrainerConfig = DECODER_ALONE  # over the frozen encoder, at first
    trainer: TrainerConfig = TrainerConfig()  # with adapters in the encoder, from there on

    def with_trainer(self, trainer: TrainerConfig) -> "DistillationConfig":
        """The same method, trained otherwise."""
        return replace(self, trainer=trainer)

    def __post_init__(self):
        if not 0.0 <= self.beta_slope < 2.0:
            raise ValueError(f"beta_slope {self.beta_slope} must lie in [0, 2): eq. (32) would turn negative")
        if not 0.0 <= self.label_smoothing < 0.5:
            raise ValueError(f"label_smoothing {self.label_smoothing} must lie in [0, 1/2)")


IOKD = DistillationConfig()
_SLOW = replace(DECODER_ALONE, learning_rate=1e-3)  # larger steps without an anchor end above the raw error
METHODS = {
    "sft": replace(IOKD, preference_weight=0.0, anchor_weight=1.0),
    "dpo": replace(IOKD, beta_slope=0.0, anchor_weight=0.0, decoder_trainer=_SLOW),
    "dpo, anchored": replace(IOKD, beta_slope=0.0),
    "iokd, no anchor": replace(IOKD, anchor_weight=0.0, decoder_trainer=_SLOW),
    "iokd": IOKD,
}
"""The methods that train, by name; `even`, the mean vector and `raw` do not.

Their temperatures and anchors are those that experiments/select_distillation.py chose on validation prompts.
"""
