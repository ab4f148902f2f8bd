"""LAMeTA Fig. 8: convergence and performance of SRL, of the paper's baselines, and of searches beyond the paper.

    lameta reproduce fig8             # or python experiments/fig8.py [--seeds 10] [--out DIR]

A seed draws a policy's initial weights and all its episodes. All composers serve the same 40 test users per
application, in ten slots that no policy has met and in the network as its file says. What E-LAMs read is taken from
results/srl_translations.json. Policies are kept under --runs, where the other studies of composition find them.
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, finish, interval, mean_rows
from srl_figures import convergence, share_bars
from srl_methods import METHODS
from srl_study import ELAMS, HELD_OUT, NOMINAL, TITLES, Study, exact_search

from lameta_jax.composition.annealing import AnnealingConfig, anneal
from lameta_jax.composition.baselines import greedy_actor, greedy_reward_actor, random_actor
from lameta_jax.intents.corpus import BENCHMARKS, load_benchmark
from lameta_jax.intents.teacher import RecordedTeacher
from lameta_jax.network.optimum import beam_search
from lameta_jax.pipeline.zero_shot import compose_zero_shot

PAPER_MARGIN = {"multimedia": 0.172, "qa": 0.235}  # of SRL over the best other composer
READINGS = {"own preference": "own", **{f"IoKD, {elam}": f"iokd, {elam}" for elam in ELAMS}}
ACTORS = {
    "random": random_actor(respect_types=True),
    "greedy": greedy_actor(),
    "greedy on the step reward": greedy_reward_actor(),
}
SEARCHES = {
    "beam search of width 1": lambda network, request, wanted: (
        beam_search(network, request, wanted, width=1).agents
    ),
    "simulated annealing, 256 chains": lambda network, request, wanted: (
        anneal(jax.random.key(0), network, request, wanted, AnnealingConfig(num_evaluations=256)).agents
    ),
    "exact search": exact_search,
}


def main() -> None:
    options = arguments("fig8", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    found = {name: application(study, name, seeds) for name in BENCHMARKS}
    convergence(options.out / "fig8_convergence.png", found, TITLES)
    share_bars(options.out / "fig8.png", found, TITLES)
    finish("fig8", {"applications": found}, seeds=seeds, started=study.started, folder=options.out)


def application(study: Study, name: str, seeds: list[int]) -> dict:
    """Everything about one application."""
    learned, curves = {}, {}
    for method, how in METHODS.items():
        policies = [study.train(method, name, seed) for seed in seeds]
        learned[method] = served(study, name, policies, how.reading)
        share = np.stack([policy.share for policy in policies])
        points = zip(policies[0].updates, share.T, strict=True)
        curves[method] = [{"updates": int(update), "share": interval(values)} for update, values in points]
    own = [study.train("SRL, own preference", name, seed) for seed in seeds]
    for elam in ELAMS:
        learned[f"SRL, own preference, told IoKD, {elam}"] = served(study, name, own, f"iokd, {elam}")
    fixed = {
        where: {method: told(study, name, method, where) for method in (*ACTORS, *SEARCHES)}
        for where in (HELD_OUT, NOMINAL)
    }
    chains = compose_zero_shot(RecordedTeacher(), study.scenario, load_benchmark(name).test).agents
    fixed[NOMINAL]["LLM zero-shot"] = {"the prompts": zero_shot(study, name, chains, NOMINAL)}
    fixed[HELD_OUT]["LLM zero-shot, chains for the nominal network"] = {
        "the prompts": zero_shot(study, name, chains, HELD_OUT)
    }
    return {
        "learned": learned,
        "curves": curves,
        "others": fixed,
        "margins": margins(learned, fixed),
        "paper_margin": PAPER_MARGIN[name],
    }


def served(study: Study, name: str, policies: list, reading: str) -> dict:
    """What policies give the test users whom they are told of in one way; intervals over seeds."""
    users = study.users(name, reading)
    rows = {
        where: mean_rows(
            [study.row(study.serve(study.actor(one), users, where), users, where) for one in policies]
        )
        for where in (HELD_OUT, NOMINAL)
    }
    return rows | {"told": reading, "seconds": interval([policy.seconds for policy in policies])}


def told(study: Study, name: str, method: str, where: str) -> dict:
    """What a composer that learns nothing gives users, by what it is told of them."""
    rows = {}
    for label, reading in READINGS.items():
        users = study.users(name, reading)
        if method in ACTORS:
            found = study.serve(ACTORS[method], users, where)
        else:
            found = study.searched(SEARCHES[method], users, np.asarray(users.translated[:, 0]), where)
        rows[label] = study.row(found, users, where)
    return rows


def zero_shot(study: Study, name: str, chains: np.ndarray, where: str) -> dict:
    """The chains that the C-LAM composed for the nominal network, whatever the slot."""
    users = study.users(name, "own")
    found = study.searched(lambda *_: jnp.asarray(chains), users, users.preference, where)
    return study.row(found, users, where)


def margins(learned: dict, fixed: dict) -> dict:
    """By how much SRL's mean QoE is above each other composer's, as a share of the latter's; all told the same."""
    told_by = {"own preference": "SRL, own preference", "IoKD, large": "SRL, IoKD, large alone"}
    found = {}
    for where in (HELD_OUT, NOMINAL):
        for label, method in told_by.items():
            srl = np.array(learned[method][where]["qoe"]["seeds"])
            others = {name: rows[label]["qoe"] for name, rows in fixed[where].items() if label in rows}
            others["DRL-even"] = np.array(learned["DRL-even"][where]["qoe"]["seeds"])
            found.setdefault(where, {})[label] = {
                name: interval(srl / np.asarray(value) - 1) for name, value in others.items()
            }
    return found


if __name__ == "__main__":
    main()
