"""Several chains proposed by a policy, of which the best for what the user is said to want is taken.

    lameta reproduce proposals        # or python experiments/proposals.py [--seeds 10] [--out DIR]

The policies are those of fig8, told what users want or what the large E-LAM reads; test users in held-out slots. Beside
them the plug-in optimum, exact search that is told the same; and the shipped generalist on lameta-1k, with beam search.
A policy proposes the chains that it holds most likely; one alone is its greedy chain.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import ROOT, arguments, finish, interval, report
from srl_study import TITLES, Study, exact_search

from lameta_jax.composition.baselines import replay_actor
from lameta_jax.composition.compose import compose_chains, of_types
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.evaluate import evaluate, value_chains
from lameta_jax.composition.policy_files import TrainedPolicy, load_policy
from lameta_jax.composition.types import User
from lameta_jax.composition.users import draw_users
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.network.optimum import beam_search
from lameta_jax.network.scenarios import load_named

WIDTHS = (1, 2, 4, 8, 16)
SHIPPED = ROOT / "lameta_jax" / "data" / "policies" / "pointer.safetensors"
STRANGERS = draw_users(jax.random.key(2028), jnp.ones(4), 200)  # those of the study of generalists
LARGE, OWN = "IoKD, large", "own preference"
READINGS = {LARGE: "iokd, large", OWN: "own"}
POLICIES = {LARGE: "SRL, IoKD, large alone", OWN: "SRL, own preference"}


def main() -> None:
    options = arguments("proposals", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    found = {name: application(study, name, seeds) for name in BENCHMARKS}
    curves(options.out / "proposals.png", found)
    results = {"widths": list(WIDTHS), "applications": found, "lameta-1k": thousand()}
    finish("proposals", results, seeds=seeds, started=study.started, folder=options.out)


def application(study: Study, name: str, seeds: list[int]) -> dict:
    """Shares of the optimum by width, and less that of exact search told the same; intervals over seeds."""
    found = {}
    for told, reading in READINGS.items():
        users = study.users(name, reading)
        plug_in = study.row(study.searched(exact_search, users, users.translated[:, 0]), users)["share"]
        trained = [study.train(POLICIES[told], name, seed) for seed in seeds]
        policies = [TrainedPolicy(config=study.sizes, params=one.params) for one in trained]
        share = {
            str(width): [proposed(study, policy, users, width) for policy in policies] for width in WIDTHS
        }
        found[told] = {
            "share": {width: interval(values) for width, values in share.items()},
            "less_plug_in": {
                width: interval([value - plug_in for value in values]) for width, values in share.items()
            },
            "plug_in": plug_in,
        }
        report(
            f"{name}, {told}: {found[told]['share']['1']['mean']:.4f} alone, {plug_in:.4f} by exact search"
        )
    return found


def proposed(study: Study, policy: TrainedPolicy, users: User, width: int) -> float:
    """Share of the optimum that test users get from the best of the chains that are proposed for what is read."""
    runs, fitting = [], of_types(study.params)
    for slot in study.in_slots():
        chains = compose_chains(policy, slot, users, width, fitting)
        runs.append(evaluate(jax.random.key(1), replay_actor(chains), slot, users))
    found = jax.tree.map(lambda *leaves: jnp.stack(leaves), *runs)
    return float(study.share(found, users).mean())


def thousand() -> dict[str, float]:
    """What the shipped generalist proposes on lameta-1k, as a share of what beam search finds."""
    scenario, policy = load_named("lameta-1k"), load_policy(SHIPPED)
    params = make_env_params(scenario, EnvConfig(mask_types=True))
    value = partial(value_chains, scenario.network, scenario.request, preferences=STRANGERS.preference)
    beam = beam_search(scenario.network, scenario.request, STRANGERS.preference).qoe
    return {
        str(width): float(jnp.mean(value(compose_chains(policy, params, STRANGERS, width)) / beam))
        for width in WIDTHS
    }


def curves(path: Path, found: dict) -> None:
    """Share of the optimum by the number of chains proposed."""
    figure, axes = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.2), layout="constrained")
    for axis, (name, rows) in zip(np.atleast_1d(axes), found.items(), strict=True):
        for colour, (told, row) in enumerate(rows.items()):
            mean, low, high = (
                [one[part] for one in row["share"].values()] for part in ("mean", "low", "high")
            )
            axis.plot(WIDTHS, mean, color=f"C{colour}", marker="o", label=f"told {told}")
            axis.fill_between(WIDTHS, low, high, color=f"C{colour}", alpha=0.2)
            label = "exact search, told the same" if colour == 0 else None
            axis.axhline(row["plug_in"], color=f"C{colour}", linestyle="--", linewidth=1, label=label)
        axis.set(xscale="log", xlabel="chains proposed", ylabel="share of the optimum", title=TITLES[name])
        axis.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
        axis.minorticks_off()
    np.atleast_1d(axes)[0].legend(fontsize="small")
    figure.savefig(path, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    main()
