"""How long training a composition policy takes and where the time goes, and what a decision costs by every method.

    python experiments/benchmarks/srl_time.py     # writes experiments/results/srl_time.json

lameta-81, 256 episodes per update in 8 slots, users of multimedia told what they want: the policies of fig8. Compiling
apart. The share of the optimum is that of the test users in held-out slots; measuring it is not counted.
"""

import json
import sys
import time
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from common import ROOT, arguments, interval, report, write_results
from fig8 import ACTORS, SEARCHES
from srl_methods import NUM_UPDATES
from srl_study import EPISODES, Study

from lameta_jax.composition.compose import compose_chains
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig, actor_critic_loss, normalised_advantages
from lameta_jax.composition.policy import policy_actor
from lameta_jax.composition.policy_files import TrainedPolicy, load_policy
from lameta_jax.composition.ppo import PPOHyperparameters, clipped_surrogate, make_train
from lameta_jax.composition.rollout import composition_task
from lameta_jax.composition.types import User
from lameta_jax.composition.users import draw_users
from lameta_jax.intents.compose_request import compose_request
from lameta_jax.intents.corpus import load_benchmark
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.network.network import AgenticNetwork, Request, Scenario
from lameta_jax.network.optimum import beam_search
from lameta_jax.network.scenarios import load_named
from lameta_jax.pipeline.zero_shot import network_tables
from lameta_jax.scale.timing import interleaved

RULES = EnvConfig(mask_types=True)
SHIPPED = ROOT / "lameta_jax" / "data" / "policies" / "pointer.safetensors"
MANY = 32768
STRANGERS = draw_users(jax.random.key(2028), jnp.ones(4), MANY)
TARGET, MOST = 0.95, 60  # share of the optimum, and updates that it may take
CONFIG, HYPERPARAMETERS = LearnerConfig(num_updates=NUM_UPDATES), PPOHyperparameters()


def main() -> None:
    options = arguments("srl_time", 10, __doc__)
    study, seeds = Study(options.runs), list(range(options.seeds))
    task = composition_task(study.policy, study.params, EPISODES)
    trainer = make_train(CONFIG, task)
    pool = study.users("multimedia", "own", "training")
    state = trainer.init(HYPERPARAMETERS, pool, jax.random.key(0))
    begun = time.perf_counter()
    update = trainer.advance.lower(HYPERPARAMETERS, state, 1).compile()
    compiling = time.perf_counter() - begun
    steady = [first_above(study, trainer, update, pool, seed) for seed in seeds]
    policy = load_policy(SHIPPED)
    results = {
        "compile_seconds": compiling,
        "seconds_per_update": float(np.median([one["seconds_per_update"] for one in steady])),
        "updates_to_target": interval([one["updates"] for one in steady]),
        "seconds_to_target": interval([one["seconds"] for one in steady]),
        "target": TARGET,
        "parts": parts(study, task, trainer, pool),
        "decisions": {
            "lameta-81": decisions(study.scenario, study.users("multimedia", "own"), (40, 1), policy),
            "lameta-1k": decisions(load_named("lameta-1k"), STRANGERS, (MANY, 200, 1), policy),
        },
        "zero_shot_characters": zero_shot_characters(study),
    }
    path = write_results("srl_time", results, seeds=seeds, started=study.started, folder=options.out)
    report(f"wrote {path}")
    print(json.dumps({"results": str(path)}))


def first_above(study: Study, trainer, update, pool, seed: int) -> dict[str, float]:
    """Updates and steady seconds until test users get the target."""
    users = study.users("multimedia", "own")
    state, seconds = trainer.init(HYPERPARAMETERS, pool, jax.random.key(seed)), []
    for number in range(1, MOST + 1):
        begun = time.perf_counter()
        state, _ = jax.block_until_ready(update(HYPERPARAMETERS, state))
        seconds.append(time.perf_counter() - begun)
        found = study.serve(policy_actor(study.policy, state.params), users)
        share = float(study.share(found, users).mean())
        if share >= TARGET:
            report(f"seed {seed}: {share:.3f} after {number} updates, {sum(seconds):.2f} s")
            break
    else:
        raise RuntimeError(f"seed {seed}: {share:.3f} after {MOST} updates")
    return {"updates": number, "seconds": sum(seconds), "seconds_per_update": float(np.median(seconds))}


def parts(study: Study, task, trainer, pool) -> dict[str, float]:
    """Seconds per update of what an update is made of, each compiled and timed alone."""
    state = trainer.init(HYPERPARAMETERS, pool, jax.random.key(0))
    collect = jax.jit(task.collect)
    scenes, batch, _ = collect(state.params, pool, jax.random.key(1))
    quarter = jax.tree.map(lambda leaf: leaf[:, :, : leaf.shape[2] // CONFIG.num_minibatches], batch)
    advantages = jax.vmap(partial(normalised_advantages, HYPERPARAMETERS))(quarter)

    def surrogate(numbers, log_prob, old_log_prob, advantage):
        return clipped_surrogate(log_prob, old_log_prob, advantage, numbers.clip_eps)

    gradient = jax.jit(jax.grad(partial(actor_critic_loss, task, surrogate, HYPERPARAMETERS), has_aux=True))
    encode = jax.jit(jax.vmap(partial(study.policy.encode, state.params)))
    encode_gradient = jax.jit(
        jax.grad(lambda params: jnp.sum(jax.vmap(partial(study.policy.encode, params))(scenes).nodes))
    )
    times = interleaved(
        {
            "playing the episodes": lambda: collect(state.params, pool, jax.random.key(1)),
            "gradients": lambda: gradient(state.params, scenes, quarter, advantages),
            "gradients: of them, encoding the slots and back": lambda: encode_gradient(state.params),
            "encoding the slots once, forwards": lambda: encode(scenes),
        },
        repeats=10,
    )
    steps = CONFIG.num_epochs * CONFIG.num_minibatches
    return {name: time.median * (steps if "gradients" in name else 1) for name, time in times.items()}


def decisions(
    scenario: Scenario, users: User, counts: tuple[int, ...], policy: TrainedPolicy
) -> dict[str, dict[str, float]]:
    """Seconds per user once compiled, so many users at once. Every call takes in the network anew."""
    params, network, request = make_env_params(scenario, RULES), scenario.network, scenario.request
    methods = {
        "SRL": partial(compose_chains, policy, params),
        "SRL, the best of 8 chains": lambda users: compose_chains(policy, params, users, 8),
    }
    methods |= {
        name: partial(lambda actor, users: evaluate(jax.random.key(1), actor, params, users).chain, actor)
        for name, actor in ACTORS.items()
    }
    methods |= {
        name: partial(lambda search, users: search(network, request, users.preference), search)
        for name, search in (SEARCHES | {"beam search": wide_beam}).items()
    }
    found: dict[str, dict[str, float]] = {name: {} for name in methods}
    for count in counts:
        some = jax.tree.map(lambda leaf, count=count: leaf[:count], users)
        calls = {name: partial(method, some) for name, method in methods.items()}
        for name, taken in interleaved(calls, repeats=3 if count > 1000 else 15).items():
            found[name][f"{count} at once"] = taken.median / count
        report(f"{scenario.name}, {count} at once")
    return found


def wide_beam(network: AgenticNetwork, request: Request, wanted: jax.Array) -> jax.Array:
    """Beam search of the usual width."""
    return beam_search(network, request, wanted).agents


def zero_shot_characters(study: Study) -> dict[str, float]:
    """What a language model reads and writes to compose one chain from the tables of lameta-81, on average."""
    asked, answered = [], []
    tables, teacher = network_tables(study.scenario), RecordedTeacher()
    for record in load_benchmark("multimedia").test:
        request = compose_request(record, tables)
        asked.append(sum(len(message.content) for message in request.messages))
        answered.append(len(teacher.ask(request)))
    return {"read": float(np.mean(asked)), "written": float(np.mean(answered))}


if __name__ == "__main__":
    main()
