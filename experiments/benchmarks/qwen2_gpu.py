"""A LoRA weighted-DPO step and generation on the models of LAMeTA Sec. VI, with random bfloat16 weights, on one GPU.

Tokens per second, greatest memory and model-FLOP utilisation. Writes experiments/results/qwen2_gpu.json. The preset
`tiny` shows on any device that the script works, and writes nothing.

Model FLOP, per token that is read: 2 for every weight of a matrix product and 4 `hidden_size` times the mean number of
keys for attention, in every layer; the output layer is counted for the tokens whose logits are computed. A step with
frozen weights costs 2 forward passes (forward, and the gradient with respect to the activations), and a third with
gradient checkpointing, which is not counted: utilisation is about the model, not about the program.
"""

import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import jax.numpy as jnp
import tyro

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import report, write_results  # noqa: E402 the folder above

from lameta_jax.distillation.causal import CausalInputs, causal_log_probs  # noqa: E402
from lameta_jax.distillation.methods import IOKD, TrainerConfig  # noqa: E402
from lameta_jax.distillation.train import PreferenceData, prepare, run, start  # noqa: E402
from lameta_jax.elam.generation import generate  # noqa: E402
from lameta_jax.elam.lora import LoRAConfig, add_lora, split_adapters  # noqa: E402
from lameta_jax.elam.qwen2 import new_qwen2  # noqa: E402
from lameta_jax.elam.qwen2_config import PRESETS, Qwen2Config  # noqa: E402
from lameta_jax.functional import functionalize  # noqa: E402

TINY = Qwen2Config(
    vocabulary_size=512, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, intermediate_size=48
)
SIZES = {"1.5b": PRESETS["deepseek-r1-distill-qwen-1.5b"], "7b": PRESETS["deepseek-r1-distill-qwen-7b"]}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured."""

    preset: str = "all"  # 1.5b, 7b, all, or tiny
    batch_size: int = 8  # prompts
    answers: int = 2  # to each prompt: one chosen, the others rejected
    prompt_tokens: int = 128
    answer_tokens: int = 12
    new_tokens: int = 64  # generated; random weights never end an answer
    repetitions: int = 10
    gradient_checkpointing: bool = True
    peak_tflops: float = 989.0  # of the device in bfloat16; the default is that of an H100 SXM, dense


def timed(function, repetitions: int) -> tuple[float, float]:
    """Seconds of the first call, which compiles, and the median of the others."""
    seconds = []
    for _ in range(repetitions + 1):
        started = time.perf_counter()
        jax.block_until_ready(function())
        seconds.append(time.perf_counter() - started)
    return seconds[0], statistics.median(seconds[1:])


def forward_flop(config: Qwen2Config, tokens: int, logits: int, keys: float) -> float:
    """Floating-point operations of a forward pass that reads `tokens`, each with that mean number of `keys`."""
    shared = config.num_kv_heads * config.head_size
    layer = (
        2 * config.hidden_size * (config.hidden_size + shared)
        + 3 * config.hidden_size * config.intermediate_size
    )
    attention = 4 * config.hidden_size * keys
    head = 2 * config.hidden_size * config.vocabulary_size * logits
    return config.num_layers * tokens * (2 * layer + attention) + head


def random_batch(settings: Settings, config: Qwen2Config) -> PreferenceData:
    key_prompt, key_answer = jax.random.split(jax.random.key(1))
    prompts = (settings.batch_size, settings.prompt_tokens)
    shape = (settings.batch_size, settings.answers, settings.answer_tokens)
    answers = jax.random.randint(key_answer, shape, 0, config.vocabulary_size)
    return PreferenceData(
        CausalInputs(
            jax.random.randint(key_prompt, prompts, 0, config.vocabulary_size), jnp.ones(prompts, bool)
        ),
        jnp.full((settings.batch_size, 4), 0.25),
        answers[:, 0],
        answers[:, 1:],
    )


def peak_bytes() -> int | None:
    """Greatest memory in use on the device since the process began, where the device counts it."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def measure(settings: Settings, config: Qwen2Config) -> dict:
    """Training first, then generation, since the peak of memory is never reset."""
    model = new_qwen2(jax.random.key(0), config, jnp.bfloat16)
    apply, params = functionalize(model)
    adapted, joined = functionalize(
        add_lora(jax.random.key(2), model, LoRAConfig(rank=16, targets=r"layers\..*"))
    )
    adapters, base = split_adapters(joined)
    data = random_batch(settings, config)
    log_probs = causal_log_probs(adapted, gradient_checkpointing=settings.gradient_checkpointing)
    trainer = TrainerConfig(
        num_epochs=settings.repetitions + 1,
        batch_size=None,  # an epoch is one step
        reference_batch_size=settings.batch_size,
        adapter_learning_rate=1e-4,
    )
    learned = {"adapters": adapters}
    problem = prepare(log_probs, learned, base, data, IOKD.with_trainer(trainer))
    state = start(jax.random.key(3), learned, problem, trainer)

    def train() -> jax.Array:
        nonlocal state
        state, metrics = run(log_probs, state, problem, trainer, 1)
        return metrics.loss

    compiled, seconds = timed(train, settings.repetitions)
    follow = settings.answers * (settings.answer_tokens - 1)
    read = settings.prompt_tokens + follow  # the prompt once, then every answer but its last token
    own = settings.prompt_tokens * (settings.prompt_tokens + 1) / 2
    own += follow * (settings.prompt_tokens + settings.answer_tokens / 2)
    flop = 2 * forward_flop(
        config, settings.batch_size * read, settings.batch_size * (1 + follow), own / read
    )
    results = {
        "parameters": sum(value.size for value in jax.tree.leaves(base)),
        "train_step": {
            "first_seconds": compiled,
            "seconds": seconds,
            "tokens_per_second": settings.batch_size * read / seconds,
            "model_flop_utilisation": flop / seconds / (settings.peak_tflops * 1e12),
            "peak_bytes": peak_bytes(),
        },
    }
    endless = replace(config, eos_tokens=())
    compiled, seconds = timed(
        lambda: generate(apply, endless, params, *data.inputs, settings.new_tokens),
        settings.repetitions,
    )
    rate = settings.batch_size * settings.new_tokens / seconds
    return results | {
        "generation": {
            "first_seconds": compiled,
            "seconds": seconds,
            "tokens_per_second": rate,
            "peak_bytes": peak_bytes(),
        }
    }


def main(settings: Settings) -> None:
    began = time.time()
    chosen = {"tiny": TINY} if settings.preset == "tiny" else SIZES
    names = tuple(chosen) if settings.preset in ("all", "tiny") else (settings.preset,)
    if not set(names) <= set(chosen):
        raise SystemExit(f"no preset {settings.preset!r}; there are tiny, all, {', '.join(SIZES)}")
    results = {}
    for name in names:
        results[name] = measure(settings, chosen[name])
        report(f"{name}: {results[name]}")
    if settings.preset != "tiny":
        device = {"device_kind": jax.devices()[0].device_kind, "settings": vars(settings)}
        report(f"wrote {write_results('qwen2_gpu', device | results, seeds=[0], started=began)}")


if __name__ == "__main__":
    main(tyro.cli(Settings))
