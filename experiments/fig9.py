"""LAMeTA Fig. 9: the four factors of the chains that SRL composes while it learns.

    lameta reproduce fig9             # or python experiments/fig9.py [--seeds 10] [--out DIR]

The policies are those of fig8 (SRL, IoKD); the chains are those of the test users in held-out slots. Beside them: the
chains that are optimal for these users, and those that would be if everybody cared about all factors alike.
"""

import numpy as np
from common import arguments, finish, interval
from srl_figures import factor_curves
from srl_study import TITLES, Study, exact_search, mean_factors

from lameta_jax.intents.corpus import BENCHMARKS

METHOD = "SRL, IoKD"


def main() -> None:
    options = arguments("fig9", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    found = {name: application(study, name, seeds) for name in BENCHMARKS}
    factor_curves(options.out / "fig9.png", found, TITLES)
    finish("fig9", {"applications": found}, seeds=seeds, started=study.started, folder=options.out)


def application(study: Study, name: str, seeds: list[int]) -> dict:
    """Curves of the factors, their change from the untrained policy to the trained one, and the optima's factors."""
    policies = [study.train(METHOD, name, seed) for seed in seeds]
    users = study.users(name, "own")
    wanted = np.asarray(users.preference)
    curves, change = {}, {}
    for factor in policies[0].factors:
        values = np.stack([policy.factors[factor] for policy in policies])
        curves[factor] = [interval(point) for point in values.T]
        change[factor] = interval(values[:, -1] - values[:, 0])
    return {
        "updates": policies[0].updates.tolist(),
        "curves": curves,
        "change": change,
        "optimum": mean_factors(study.searched(exact_search, users, wanted)),
        "even_optimum": mean_factors(study.searched(exact_search, users, np.full_like(wanted, 0.25))),
        "mean_preference": wanted.mean(axis=0).tolist(),
    }


if __name__ == "__main__":
    main()
