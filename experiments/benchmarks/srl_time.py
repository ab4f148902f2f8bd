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
from common import arguments, interval, report, seconds_per_call, write_results
from fig8 import ACTORS, SEARCHES
from srl_methods import NUM_UPDATES
from srl_study import EPISODES, Study

from lameta_jax.composition.compose import greedy_chains
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.learner import LearnerConfig, actor_critic_loss, normalised_advantages
from lameta_jax.composition.policy import policy_actor
from lameta_jax.composition.ppo import PPOHyperparameters, clipped_surrogate, make_train
from lameta_jax.composition.rollout import composition_task
from lameta_jax.intents.compose_request import compose_request
from lameta_jax.intents.corpus import load_benchmark
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.pipeline.zero_shot import network_tables

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
    results = {
        "compile_seconds": compiling,
        "seconds_per_update": float(np.median([one["seconds_per_update"] for one in steady])),
        "updates_to_target": interval([one["updates"] for one in steady]),
        "seconds_to_target": interval([one["seconds"] for one in steady]),
        "target": TARGET,
        "parts": parts(study, task, trainer, pool),
        "decisions": decisions(study, state.params),
        "zero_shot_characters": zero_shot_characters(study),
    }
    path = write_results("srl_training_time", results, seeds=seeds, started=study.started, folder=options.out)
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
    slots, batch, _ = collect(state.params, pool, jax.random.key(1))
    quarter = jax.tree.map(lambda leaf: leaf[:, :, : leaf.shape[2] // CONFIG.num_minibatches], batch)
    advantages = jax.vmap(partial(normalised_advantages, HYPERPARAMETERS))(quarter)

    def surrogate(numbers, log_prob, old_log_prob, advantage):
        return clipped_surrogate(log_prob, old_log_prob, advantage, numbers.clip_eps)

    gradient = jax.jit(jax.grad(partial(actor_critic_loss, task, surrogate, HYPERPARAMETERS), has_aux=True))
    encode = jax.jit(jax.vmap(partial(study.policy.encode, state.params)))
    encode_gradient = jax.jit(
        jax.grad(lambda params: jnp.sum(jax.vmap(partial(study.policy.encode, params))(slots).nodes))
    )
    steps = CONFIG.num_epochs * CONFIG.num_minibatches
    return {
        "playing the episodes": seconds_per_call(
            lambda: collect(state.params, pool, jax.random.key(1))[1].reward
        ),
        "gradients": steps * seconds_per_call(lambda: gradient(state.params, slots, quarter, advantages)),
        "gradients: of them, encoding the slots and back": steps
        * seconds_per_call(lambda: encode_gradient(state.params)),
        "encoding the slots once, forwards": seconds_per_call(lambda: encode(slots)),
    }


def decisions(study: Study, params) -> dict[str, dict[str, float]]:
    """Seconds per user on lameta-81 once compiled: 40 users at once, and one alone. Both take in the network anew."""
    everybody = study.users("multimedia", "own")
    compose = greedy_chains(study.sizes)
    methods = {"SRL": lambda users: compose(params, study.params, users)[0]}
    methods |= {
        name: partial(
            lambda actor, users: evaluate(jax.random.key(1), actor, study.params, users).chain, actor
        )
        for name, actor in ACTORS.items()
    }
    network, request = study.scenario.network, study.scenario.request
    methods |= {
        name: partial(lambda search, users: search(network, request, users.preference), search)
        for name, search in SEARCHES.items()
    }
    found = {}
    for name, method in methods.items():
        found[name] = {}
        for count in (everybody.index.shape[0], 1):
            users = jax.tree.map(lambda leaf, count=count: leaf[:count], everybody)
            found[name][f"{count} at once"] = seconds_per_call(lambda m=method, u=users: m(u)) / count
        report(f"{name}: {found[name]}")
    return found


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
