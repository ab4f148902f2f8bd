"""What each part of SRL contributes: better reading of intents, the form of the QoE, lookahead.

    lameta reproduce srl_ablations    # or python experiments/srl_ablations.py [--seeds 10] [--out DIR]

lameta-81, test users in held-out slots; the policies of fig8, and policies without lookahead.
"""

import numpy as np
from common import arguments, finish, interval, mean_rows
from srl_figures import ablation_bars
from srl_study import TITLES, Study, exact_search

from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.network.optimum import optimum

# What a policy is told of users, in training and in the test.
READINGS = {
    "nothing (DRL-even)": "DRL-even",
    "raw E-LAM, large": "SRL, raw, large alone",
    "IoKD E-LAM, large": "SRL, IoKD, large alone",
    "their own preference": "SRL, own preference",
}


def main() -> None:
    options = arguments("srl_ablations", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    plain = Study(options.runs / "no_lookahead", lookahead=0)
    found = {
        name: {
            "elam_quality": elam_quality(study, name, seeds),
            "qoe_form": qoe_form(study, name, seeds),
            "lookahead": lookahead(study, plain, name, seeds),
        }
        for name in BENCHMARKS
    }
    ablation_bars(options.out / "srl_ablations.png", found, TITLES)
    finish("srl_ablations", {"applications": found}, seeds=seeds, started=study.started, folder=options.out)


def rows_of(study: Study, name: str, method: str, reading: str, seeds: list[int]) -> dict:
    users = study.users(name, reading)
    return mean_rows(
        [study.row(study.serve(study.actor(study.train(method, name, seed)), users), users) for seed in seeds]
    )


def elam_quality(study: Study, name: str, seeds: list[int]) -> dict:
    """The better users are understood, the more they get: policies, and what exact search makes of the same reading."""
    found = {}
    for label, method in READINGS.items():
        reading = {"DRL-even": "nothing", "SRL, own preference": "own"}.get(method)
        reading = reading or ("raw, large" if "raw" in method else "iokd, large")
        users = study.users(name, reading)
        told = np.asarray(users.translated[:, 0])
        plug_in = study.row(study.searched(exact_search, users, told), users)
        policy = rows_of(study, name, method, reading, seeds)
        found[label] = {
            "policy": policy,
            "plug_in": plug_in,
            "policy_minus_plug_in": interval(np.array(policy["share"]["seeds"]) - plug_in["share"]),
            "mean_squared_error": float(np.mean((told - np.asarray(users.preference)) ** 2)),
        }
    return found


def qoe_form(study: Study, name: str, seeds: list[int]) -> dict:
    """Chains for (35) as printed and for "power", by policies and by exact search; all valued by "power"."""
    users = study.users(name, "own")

    def printed(network, request, wanted):
        return optimum(network, request, wanted, form="printed").agents[:, 0]

    wanted = np.asarray(users.preference)
    return {
        "power, policy": rows_of(study, name, "SRL, own preference", "own", seeds),
        "printed, policy": rows_of(study, name, "SRL, own preference, printed", "own", seeds),
        "printed, exact search": study.row(study.searched(printed, users, wanted), users),
        "even weights, exact search": study.row(
            study.searched(exact_search, users, np.full_like(wanted, 0.25)), users
        ),
    }


def lookahead(study: Study, plain: Study, name: str, seeds: list[int]) -> dict:
    """Curves of the policy with lookahead and of one that has graph convolutions alone."""
    found = {}
    for label, one in (("with lookahead", study), ("graph convolutions alone", plain)):
        policies = [one.train("SRL, own preference", name, seed) for seed in seeds]
        share = np.stack([policy.share for policy in policies])
        reached = np.array([int(policy.updates[np.argmax(policy.share >= 0.95)]) for policy in policies])
        found[label] = {
            "updates": policies[0].updates.tolist(),
            "share": [interval(values) for values in share.T],
            "updates_to_95_percent": interval(reached),
        }
    return found


if __name__ == "__main__":
    main()
