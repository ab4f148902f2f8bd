"""One policy for all preferences and for networks that it has never met, beside policies made for one application.

    lameta reproduce generalist       # or python experiments/generalist.py [--seeds 5] [--out DIR] [--ship]

A seed draws the policy's initial weights and all its episodes; the networks that it learns on are the same for all.
Tested on networks of 40 to 200 agents, on topologies that it has not learned on and on lameta-1k, each with users
uniform on the simplex, and on lameta-81 in held-out slots with the test users of both applications. Policies made
for one of these are those of fig8. --ship stores the policy of seed 0 in the package.
"""

import shutil
import time
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import ROOT, arguments, finish, interval, mean_rows, members, report
from srl_figures import generalist_bars
from srl_study import Study

from lameta_jax.composition.baselines import replay_actor
from lameta_jax.composition.env import EnvParams, make_env_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.multi_objective import multi_objective_metrics, objectives
from lameta_jax.composition.policy import make_policy, policy_actor
from lameta_jax.composition.policy_files import TrainedPolicy, load_policy, save_policy
from lameta_jax.composition.types import Actor, User
from lameta_jax.composition.users import draw_users
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.network.chains import iterate_chains
from lameta_jax.network.optimum import beam_search, optimum
from lameta_jax.network.qoe import chain_factors, meets_constraints
from lameta_jax.network.scenarios import ScenarioConfig, load_named
from lameta_jax.pipeline.generalist import GeneralistConfig, GeneralistTrainer, draw_networks

CONFIG = GeneralistConfig()
USERS_MET = draw_users(jax.random.key(2027), jnp.ones(4), 8192)
STRANGERS = draw_users(jax.random.key(2028), jnp.ones(4), 200)
PER_GROUP = 8  # networks
CHUNK = 4096  # chains valued at once
UNSEEN = {f"{size} agents": ScenarioConfig(num_agents=size) for size in (40, 80, 120, 160, 200)} | {
    "Watts-Strogatz, 100 agents": ScenarioConfig(num_agents=100, topology="watts-strogatz", mean_degree=20.0),
    "grid, 100 agents": ScenarioConfig(num_agents=100, topology="grid"),
}
OWN = {f"policy for {name}": name for name in BENCHMARKS}


def main() -> None:
    options = arguments("generalist", 5, __doc__, runs="srl", ship="store seed 0's policy in the package")
    study, seeds = Study(options.runs), list(range(options.seeds))
    policies = [generalist(study.folder, seed) for seed in seeds]
    actors = {"generalist": [actor_of(policy) for policy in policies]} | {
        label: [study.actor(study.train("SRL, own preference", name, seed)) for seed in seeds]
        for label, name in OWN.items()
    }
    results = {
        "networks_never_met": unseen(actors),
        "lameta-81": applications(study, actors),
        "whole_simplex": whole_simplex(study, actors),
        "lameta-1k": thousand(actors),
        "agents_in_training": sorted({kind.num_agents for kind in CONFIG.kinds}),
        "updates": CONFIG.num_updates,
    }
    generalist_bars(options.out / "generalist.png", results)
    if options.ship:
        shutil.copy(
            study.folder / "generalist_0.safetensors", ROOT / "lameta_jax/data/policies/pointer.safetensors"
        )
    finish("generalist", results, seeds=seeds, started=study.started, folder=options.out)


@cache
def trainer() -> GeneralistTrainer:
    report("drawing the networks that generalists learn on")
    return GeneralistTrainer(CONFIG)


def generalist(folder: Path, seed: int) -> TrainedPolicy:
    """The generalist of a seed; kept, so that none is trained twice."""
    path = folder / f"generalist_{seed}.safetensors"
    if not path.exists():
        begun = time.time()

        def told(turn):
            taken = f"{time.time() - begun:6.0f} s  seed {seed}: update {turn.done} of {CONFIG.num_updates}"
            report(f"{taken}, {turn.kind.num_agents} agents: QoE {turn.qoe:.3f}")

        save_policy(path, trainer().train(jax.random.key(seed), USERS_MET, told))
    return load_policy(path)


def actor_of(policy: TrainedPolicy) -> Actor:
    return policy_actor(make_policy(policy.config), policy.params)


def unseen(actors: dict[str, list[Actor]]) -> dict:
    """Share of the optimum on networks that nobody has met, by group of networks; intervals over seeds."""
    found = {}
    for group, kind in UNSEEN.items():
        networks = draw_networks(kind, PER_GROUP, 77_000 + kind.num_agents, CONFIG.env)
        unmet = members(networks)
        best = np.stack([optimum(one.network, one.request, STRANGERS.preference).qoe[:, 0] for one in unmet])
        found[group] = {}
        for label, policies in actors.items():
            runs = [
                [evaluate(jax.random.key(1), actor, one, STRANGERS) for one in unmet] for actor in policies
            ]
            share = np.array([[np.asarray(run.qoe) for run in seed] for seed in runs]) / best
            found[group][label] = {
                "share": interval(share.mean(axis=(1, 2))),
                "worst_network": interval(share.mean(axis=2).min(axis=1)),
                "feasible": float(np.mean([[run.feasible for run in seed] for seed in runs])),
            }
            report(f"{group}: {label} {share.mean():.4f}")
    return found


def applications(study: Study, actors: dict[str, list[Actor]]) -> dict:
    """On lameta-81 in held-out slots, told the users' own preferences: every policy for users of every application."""
    found = {}
    for name in BENCHMARKS:
        users = study.users(name, "own")
        found[name] = {
            label: mean_rows([study.row(study.serve(actor, users), users) for actor in policies])
            for label, policies in actors.items()
        }
        shares = {label: np.array(row["share"]["seeds"]) for label, row in found[name].items()}
        found[name]["generalist_minus_own"] = interval(shares["generalist"] - shares[f"policy for {name}"])
    return found


def whole_simplex(study: Study, actors: dict[str, list[Actor]]) -> dict:
    """Multi-objective metrics on lameta-81 as its file says, over users uniform on the simplex."""
    params, request = study.params, study.scenario.request
    chains = list(iterate_chains(params.network, request, CHUNK))
    factors = jax.tree.map(
        lambda *leaves: np.concatenate(leaves),
        *[
            jax.vmap(chain_factors, in_axes=(None, 0, 0))(params.network, one.agents, one.links)
            for one in chains
        ],
    )
    feasible = np.asarray(meets_constraints(factors, request))
    points = objectives(jax.tree.map(lambda leaf: leaf[feasible], factors))
    box = points.min(axis=0), points.max(axis=0)
    best = optimum(params.network, request, STRANGERS.preference)

    def metrics(found):
        works = np.asarray(found.feasible)
        kept = jax.tree.map(lambda leaf: np.asarray(leaf)[works], found.factors)
        return multi_objective_metrics(found.qoe, best.qoe[:, 0], kept, *box)._asdict()

    replayed = evaluate(jax.random.key(1), replay_actor(best.agents[:, 0]), params, STRANGERS)
    rows = {
        label: [metrics(evaluate(jax.random.key(1), actor, params, STRANGERS)) for actor in policies]
        for label, policies in actors.items()
    }
    return {label: mean_rows(values) for label, values in rows.items()} | {"optimum": metrics(replayed)}


def thousand(actors: dict[str, list[Actor]]) -> dict:
    """On lameta-1k, which is larger than anything met: value beside beam search; for the time see srl_time."""
    scenario = load_named("lameta-1k")
    params = make_env_params(scenario, CONFIG.env)
    beam = beam_search(scenario.network, scenario.request, STRANGERS.preference)
    return {
        label: {
            "share_of_beam_search": interval(
                [float(jnp.mean(served(params, actor, STRANGERS).qoe / beam.qoe)) for actor in policies]
            )
        }
        for label, policies in actors.items()
    }


def served(params: EnvParams, actor: Actor, users: User):
    return evaluate(jax.random.key(1), actor, params, users)


if __name__ == "__main__":
    main()
