"""Time of one weighted-DPO step on a small Qwen2 with LoRA: this package beside TRL's DPOTrainer with PEFT.

    lameta bench dpo                              # or: python experiments/benchmarks/bench_dpo.py

Same random weights, same adapters at the start, same pairs, batch size, optimiser (AdamW
without decay, gradients clipped at norm 1, cosine schedule), float32, same threads; the losses of the first steps must
agree, or nothing is written.

What each does in a step:
- lameta_jax: one pass over one sequence per prompt that holds the prompt once and both answers, logits for answer
  tokens alone, reference log-probabilities computed once before training; prompts are padded to a multiple of 32.
- TRL, precomputed: one pass over [prompt + chosen; prompt + rejected], padded to the longest of the batch, logits for
  answer tokens alone (its fused head), reference log-probabilities from `precompute_ref_log_probs=True`; it also logs
  entropy, accuracy and mean logits.
- TRL: the same with `precompute_ref_log_probs=False`, its default: another pass without gradient in every step.
Our time is that of `run` on one batch, TRL's that of `training_step`, clipping and the optimiser, without data loading.
Gradient checkpointing, which TRL has on by default, is off everywhere. All take turns, batch by batch; medians over all
steps are compared.

Every number of threads is measured in a process of its own that may use that many cores. Where other programs share
the machine, believe the times of one thread alone: more threads wait for each other.
"""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import metadata
from itertools import count
from multiprocessing import get_context
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from benchmark import OURS, Contender, comparison, finish, measured, options
from common import report

from lameta_jax.distillation.causal import PADDING, CausalInputs, causal_log_probs
from lameta_jax.distillation.methods import METHODS, TrainerConfig
from lameta_jax.distillation.train import PreferenceData, prepare, run, start
from lameta_jax.elam.chat import LENGTH_STEP, pad
from lameta_jax.elam.lora import LoRAConfig, add_lora, split_adapters
from lameta_jax.elam.qwen2_weights import load_qwen2
from lameta_jax.functional import functionalize
from lameta_jax.scale.cores import usable_cores

AIM, PRECOMPUTED, PLAIN = 1.5, "trl, precomputed", "trl"
VOCABULARY, HIDDEN, LAYERS, HEADS, KV_HEADS, INTERMEDIATE = 8192, 256, 8, 8, 2, 1024
RANK, ALPHA, BETA, LEARNING_RATE, MAX_GRADIENT_NORM = 8, 16.0, 0.1, 1e-3, 1.0
BATCH_SIZE, BATCHES = 8, 3
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


class Trainer(NamedTuple):
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


def their_trainer(folder: str, pairs: list[Pair], num_steps: int, precompute: bool) -> tuple[Trainer, dict]:
    """TRL's trainer and the adapters that it starts from."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM, get_cosine_schedule_with_warmup
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
    schedule = get_cosine_schedule_with_warmup(optimiser, 0, num_steps)

    def step(number: int) -> float:
        optimiser.zero_grad()
        loss = trainer.training_step(model, dict(batches[number % len(batches)]))
        torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        return float(loss)

    return Trainer(step, {"prepare": seconds}), adapters


def our_trainer(folder: str, pairs: list[Pair], num_steps: int, initial: dict) -> Trainer:
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
            values = [initial[f"layers.{layer}.{place}.{theirs}.default.weight"].T for layer in range(LAYERS)]
            tree[ours] = jnp.asarray(np.stack(values))
    trainer = TrainerConfig(
        num_epochs=num_steps,
        batch_size=None,  # an epoch is one step on what `run` is given, here a batch
        reference_batch_size=BATCH_SIZE,
        adapter_learning_rate=LEARNING_RATE,
        adapter_weight_decay=0.0,
        warmup=0.0,
        max_gradient_norm=MAX_GRADIENT_NORM,
    )
    method = replace(METHODS["dpo"], beta_base=BETA, trainer=trainer)
    log_probs, learned = causal_log_probs(apply), {"adapters": adapters}
    started = time.perf_counter()
    whole = jax.block_until_ready(prepare(log_probs, learned, base, preference_data(pairs), method))
    seconds = {"reference, with its compilation": time.perf_counter() - started}
    batches = [
        whole._replace(samples=jax.tree.map(lambda value, at=at: value[at : at + BATCH_SIZE], whole.samples))
        for at in range(0, len(pairs), BATCH_SIZE)
    ]
    state = start(jax.random.key(1), learned, batches[0], trainer)
    started = time.perf_counter()
    program = run.lower(log_probs, state, batches[0], trainer, 1).compile()
    seconds["compile step"] = time.perf_counter() - started

    def step(number: int) -> float:
        nonlocal state
        state, metrics = jax.block_until_ready(program(state, batches[number % len(batches)]))
        return float(metrics.loss[0])

    return Trainer(step, seconds)


def preference_data(pairs: list[Pair]) -> PreferenceData:
    """Padded as `tokenize_pairs` does; plain DPO does not look at the preferences."""
    longest = max(len(pair.prompt) for pair in pairs)
    prompts = pad([pair.prompt for pair in pairs], -(-longest // LENGTH_STEP) * LENGTH_STEP, left=True)
    said = [[*answer, 1] for pair in pairs for answer in (pair.chosen, pair.rejected)]
    ids, mask = pad(said, max(map(len, said)), left=False)
    answers = jnp.where(mask, ids, PADDING).reshape(len(pairs), 2, -1)
    inputs = CausalInputs(*map(jnp.asarray, prompts))
    return PreferenceData(inputs, jnp.full((len(pairs), 4), 0.25), answers[:, 0], answers[:, 1:])


def compare(name: str, folder: str, rounds: int) -> dict[str, Any]:
    """Times of all contenders on one workload, and the losses of their first steps, which must agree."""
    pairs, num_steps = draw_pairs(name), (1 + rounds) * BATCHES
    trl, adapters = their_trainer(folder, pairs, num_steps, precompute=True)
    trainers = {
        OURS: our_trainer(folder, pairs, num_steps, adapters),
        PRECOMPUTED: trl,
        PLAIN: their_trainer(folder, pairs, num_steps, precompute=False)[0],
    }
    losses: dict[str, list[float]] = {who: [] for who in trainers}
    contenders = {who: Contender(recorded(one.step, losses[who]), 1) for who, one in trainers.items()}
    rows = measured(contenders, rounds * BATCHES, warmup=BATCHES)
    first = np.array([values[: 2 * BATCHES] for values in losses.values()])
    if np.abs(first - first[:1]).max() > 1e-3:
        raise SystemExit(f"the losses disagree, so the steps are not the same: {first.tolist()}")
    return {
        "tokens": {"prompt": WORKLOADS[name][0], "answer": WORKLOADS[name][1]},
        "contenders": rows,
        "seconds_per_step": {who: row["seconds"] for who, row in rows.items()},
        "seconds_before": {who: one.seconds for who, one in trainers.items()},
        "ratio_of_medians": {
            f"{who} / {OURS}": rows[OURS]["per_second"] / rows[who]["per_second"]
            for who in (PRECOMPUTED, PLAIN)
        },
        "loss_of_first_steps": {who: values[: 2 * BATCHES] for who, values in losses.items()},
    }


def recorded(step: Callable[[int], float], losses: list[float]) -> Callable[[], None]:
    """A call that takes the next step and keeps its loss."""
    numbers = count()
    return lambda: losses.append(step(next(numbers)))


def measure(threads: int, rounds: int, names: list[str]) -> dict[str, Any]:
    """Workloads in this process."""
    import torch

    torch.set_num_threads(threads)
    results = {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            write_model(folder)
            results[name] = compare(name, folder, rounds)
    return results


def measure_apart(threads: int, rounds: int, names: list[str]) -> dict:
    """`measure` in a process of its own on so many cores: a program takes its threads when it starts."""
    report(f"threads: {threads}")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:threads])
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(measure, threads, rounds, names).result()
    finally:
        os.sched_setaffinity(0, cores)


def main() -> None:
    given = options(__doc__)
    cores = usable_cores()
    counts = [1] if given.quick or cores == 1 else [1, cores]
    rounds, names = (1, list(WORKLOADS)[:1]) if given.quick else (4, list(WORKLOADS))
    by_threads = {str(threads): measure_apart(threads, rounds, names) for threads in counts}
    comparisons = [
        comparison(
            f"DPO step, {name}, {threads} thread(s)",
            found["contenders"],
            OURS,
            peer,
            unit="steps",
            aim=AIM if peer == PRECOMPUTED else None,
        )
        for threads, workloads in by_threads.items()
        for name, found in workloads.items()
        for peer in (PRECOMPUTED, PLAIN)
    ]
    model = {"layers": LAYERS, "hidden": HIDDEN, "heads": HEADS, "kv_heads": KV_HEADS}
    model |= {"intermediate": INTERMEDIATE, "vocabulary": VOCABULARY, "lora_rank": RANK}
    others = {name: metadata.version(name) for name in ("torch", "transformers", "trl", "peft", "accelerate")}
    results = {
        "model": model,
        "batch_size": BATCH_SIZE,
        "dtype": "float32",
        "versions_of_others": others,
        "workloads_by_threads": by_threads,
    }
    finish("dpo", comparisons, results, given, seeds=[0])


if __name__ == "__main__":
    main()
