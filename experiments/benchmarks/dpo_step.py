"""Time of one weighted-DPO step on a small Qwen2 with LoRA: this package beside TRL's DPOTrainer with PEFT.

Needs the extra `bench`. Same random weights, same adapters at the start, same pairs, batch size, optimiser (AdamW
without decay or clipping), float32, same threads; the losses of the first steps must agree, or nothing is written.

What each does in a step:
- lameta_jax: one pass over one sequence per prompt that holds the prompt once and both answers, logits for answer
  tokens alone, reference log-probabilities computed once before training; prompts are padded to a multiple of 32.
- TRL, precomputed: one pass over [prompt + chosen; prompt + rejected], padded to the longest of the batch, logits for
  answer tokens alone (its fused head), reference log-probabilities from `precompute_ref_log_probs=True`; it also logs
  entropy, accuracy and mean logits.
- TRL: the same with `precompute_ref_log_probs=False`, its default: another pass without gradient in every step.
TRL's time is that of `training_step` plus the optimiser, without data loading. Gradient checkpointing, which TRL has on
by default, is off everywhere. All take turns, batch by batch; medians over all steps are compared.

All use as many threads as the process may use cores. Where other programs share the machine, pin the process to one
core (`taskset -c 0`): with more, threads that wait for each other make the times worthless.

Writes experiments/results/dpo_step.json.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

sys.path.insert(0, str(Path(__file__).parents[1]))

from common import report, write_results  # noqa: E402 the folder above

from lameta_jax.distillation.causal import (  # noqa: E402
    Batch,
    CausalConfig,
    TextPairs,
    make_train_step,
    reference_log_probs,
)
from lameta_jax.elam.chat import LENGTH_STEP, pad  # noqa: E402
from lameta_jax.elam.lora import LoRAConfig, add_lora, split_adapters  # noqa: E402
from lameta_jax.elam.qwen2_weights import load_qwen2  # noqa: E402
from lameta_jax.functional import functionalize  # noqa: E402

VOCABULARY, HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 8192, 256, 8, 8, 2, 1024
RANK, ALPHA, BETA, LEARNING_RATE = 8, 16.0, 0.1, 1e-3
BATCH_SIZE, BATCHES, ROUNDS = 8, 3, 4
# lengths in tokens: what the intents need, and the other extreme, answers longer than their prompts
WORKLOADS = {"intents": ((40, 96), (9, 13)), "long answers": ((32, 64), (65, 96))}
LINEARS = {
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


class Pair(NamedTuple):
    """One prompt with two answers, as tokens."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]


class Contender(NamedTuple):
    """`step(number) -> loss` on the batch of that number, and the seconds that preparing it took."""

    step: Callable[[int], float]
    seconds: dict[str, float]


def draw_pairs(name: str) -> list[Pair]:
    random = np.random.default_rng(0)
    prompts, answers = WORKLOADS[name]

    def text(least: int, most: int) -> list[int]:
        return random.integers(10, VOCABULARY, random.integers(least, most + 1)).tolist()

    return [Pair(text(*prompts), text(*answers), text(*answers)) for _ in range(BATCH_SIZE * BATCHES)]


def write_model(folder: str) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        intermediate_size=INTERMEDIATE,
        tie_word_embeddings=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)


def trl_contender(folder: str, pairs: list[Pair], precompute: bool) -> tuple[Contender, dict]:
    """TRL's trainer and the adapters that it starts from."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
    from trl import DPOConfig, DPOTrainer

    special = {"pad_token": "<pad>", "eos_token": "<end>", "unk_token": "<unknown>"}  # tokens 0, 1 and 2
    vocabulary = [*special.values(), *(f"t{number}" for number in range(len(special), VOCABULARY))]
    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(vocabulary)}))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, **special)

    def text(ids: list[int]) -> str:
        return "".join(f" t{number}" for number in ids)

    rows = [{name: text(getattr(pair, name)) for name in Pair._fields} for pair in pairs]
    started = time.perf_counter()
    trainer = DPOTrainer(
        Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32),
        args=DPOConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH_SIZE,
            beta=BETA,
            precompute_ref_log_probs=precompute,
            gradient_checkpointing=False,
            bf16=False,
            use_cpu=True,
            max_length=None,
            report_to=[],
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            lora_dropout=0.0,
            target_modules=[place.split(".")[1] for place in LINEARS.values()],
            task_type="CAUSAL_LM",
        ),
    )
    seconds = time.perf_counter() - started
    trainer.current_gradient_accumulation_steps = 1  # what `train` sets before its first `training_step`
    model = trainer.model.train()
    adapters = {
        name.replace("base_model.model.model.", ""): value.detach().numpy().copy()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    examples = [trainer.train_dataset[row] for row in range(len(pairs))]
    eos = [1]
    for example, pair in zip(examples, pairs, strict=True):
        assert example["prompt_ids"] == pair.prompt and example["chosen_ids"] == pair.chosen + eos
    batches = [
        trainer.data_collator(examples[start : start + BATCH_SIZE])
        for start in range(0, len(examples), BATCH_SIZE)
    ]
    trained = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=LEARNING_RATE, weight_decay=0.0)

    def step(number: int) -> float:
        optimiser.zero_grad()
        loss = trainer.training_step(model, dict(batches[number % len(batches)]))
        optimiser.step()
        return float(loss)

    return Contender(step, {"prepare": seconds}), adapters


def our_contender(folder: str, pairs: list[Pair], start: dict) -> Contender:
    """This package, from TRL's adapters."""
    model = load_qwen2(folder)
    config = LoRAConfig(rank=RANK, alpha=ALPHA, targets=r"layers\..*")
    apply, params = functionalize(add_lora(jax.random.key(0), model, config))
    adapters, base = split_adapters(params)
    for name, place in LINEARS.items():
        tree = adapters["layers"]
        for part in name.split("."):
            tree = tree[part]
        for ours, theirs in (("lora_a", "lora_A"), ("lora_b", "lora_B")):
            values = [start[f"layers.{layer}.{place}.{theirs}.default.weight"].T for layer in range(LAYERS)]
            tree[ours] = jnp.asarray(np.stack(values))
    longest = max(len(pair.prompt) for pair in pairs)
    prompts = pad([pair.prompt for pair in pairs], -(-longest // LENGTH_STEP) * LENGTH_STEP, left=True)
    said = [[*answer, 1] for pair in pairs for answer in (pair.chosen, pair.rejected)]
    answers = pad(said, max(map(len, said)), left=False)
    shape = (len(pairs), 2, -1)
    beta = jnp.full(len(pairs), BETA)
    tokens = (*prompts, answers.ids.reshape(shape), answers.mask.reshape(shape))
    data = TextPairs(*map(jnp.asarray, tokens), beta)
    started = time.perf_counter()
    reference = jax.block_until_ready(
        reference_log_probs(functionalize(model)[0], base, data, batch_size=BATCH_SIZE)
    )
    seconds = {"reference, with its compilation": time.perf_counter() - started}
    whole = Batch(data, reference)
    batches = [
        jax.tree.map(lambda value, first=first: value[first : first + BATCH_SIZE], whole)
        for first in range(0, len(pairs), BATCH_SIZE)
    ]
    optimiser = optax.adamw(LEARNING_RATE, weight_decay=0.0)
    state = optimiser.init(adapters)
    train_step = make_train_step(apply, optimiser, CausalConfig(anchor_weight=0.0))
    started = time.perf_counter()
    program = train_step.lower(adapters, base, state, batches[0]).compile()
    seconds["compile step"] = time.perf_counter() - started
    carry = [adapters, state]

    def step(number: int) -> float:
        carry[0], carry[1], metrics = program(carry[0], base, carry[1], batches[number % len(batches)])
        jax.block_until_ready(carry)
        return float(metrics.loss)

    return Contender(step, seconds)


def compare(name: str, folder: str) -> dict:
    """Times of all contenders on one workload."""
    pairs = draw_pairs(name)
    trl, adapters = trl_contender(folder, pairs, precompute=True)
    contenders = {
        "lameta_jax": our_contender(folder, pairs, adapters),
        "trl, precomputed": trl,
        "trl": trl_contender(folder, pairs, precompute=False)[0],
    }
    times = {who: [] for who in contenders}
    losses = {who: [] for who in contenders}
    for number in range((1 + ROUNDS) * BATCHES):  # the first round is not timed
        for who, contender in contenders.items():
            started = time.perf_counter()
            loss = contender.step(number)
            if number >= BATCHES:
                times[who].append(time.perf_counter() - started)
            losses[who].append(loss)
        if number % BATCHES == 0:
            report(f"{name}, step {number}: " + ", ".join(f"{w} {v[-1]:.4f}" for w, v in losses.items()))
    first = np.array([values[: 2 * BATCHES] for values in losses.values()])
    if np.abs(first - first[:1]).max() > 1e-3:
        raise SystemExit(f"the losses disagree, so the steps are not the same: {first.tolist()}")
    median = {who: statistics.median(values) for who, values in times.items()}
    return {
        "tokens": {"prompt": WORKLOADS[name][0], "answer": WORKLOADS[name][1]},
        "seconds_per_step": {
            who: {"median": median[who], "fastest": min(values), "all": values}
            for who, values in times.items()
        },
        "seconds_before": {who: contender.seconds for who, contender in contenders.items()},
        "ratio_of_medians": {
            f"{who} / lameta_jax": median[who] / median["lameta_jax"] for who in ("trl, precomputed", "trl")
        },
        "ratio_of_fastest": {
            f"{who} / lameta_jax": min(times[who]) / min(times["lameta_jax"])
            for who in ("trl, precomputed", "trl")
        },
        "loss_of_first_steps": {who: values[: 2 * BATCHES] for who, values in losses.items()},
    }


def main() -> None:
    import torch

    began = time.time()
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    results = {}
    for name in WORKLOADS:
        with tempfile.TemporaryDirectory() as folder:
            write_model(folder)
            results[name] = compare(name, folder)
    model = {"layers": LAYERS, "hidden": HIDDEN, "heads": HEADS, "kv_heads": KV_HEADS}
    model |= {"intermediate": INTERMEDIATE, "vocabulary": VOCABULARY, "lora_rank": RANK}
    settings = {"model": model, "batch_size": BATCH_SIZE, "dtype": "float32", "threads": threads}
    others = {name: metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate")}
    results = settings | {"versions_of_others": others, "workloads": results}
    path = write_results("dpo_step", results, seeds=[0], started=began)
    report(f"wrote {path}")


if __name__ == "__main__":
    main()
