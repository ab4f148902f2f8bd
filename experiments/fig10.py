"""LAMeTA Fig. 10: is a user better off with the policy of the application whose intents are nearer?

    lameta reproduce fig10            # or python experiments/fig10.py [--seeds 10] [--out DIR]

800 users, each served by both policies of fig8 (SRL, own preference) in held-out slots: users like those of the two
applications, and users uniform on the simplex. A policy is either told what the user wants, or the mean preference of
its own application whoever asks. Distance is (24) to an application's mean preference. Where both policies compose
chains of the same worth, there is nothing to choose: a tie.
"""

import jax.numpy as jnp
import numpy as np
from common import arguments, finish, interval, report
from srl_figures import nearer_policy
from srl_study import ELAMS, Study

from lameta_jax.composition.types import User, make_users
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.intents.preference import angular_distance

NUM_USERS = 800
TOLD = {"told what the user wants": True, "told the mean of its application": False}
SAME = 1e-5  # QoE, mean over slots, below which two policies serve a user alike
PAPER_SHARE = 0.9


def main() -> None:
    options = arguments("fig10", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    means = {
        name: np.asarray(study.users(name, "own", "training").preference).mean(axis=0) for name in BENCHMARKS
    }
    found, drawn = {}, {}
    for kind, preferences in populations(study).items():
        distances = np.stack(
            [
                np.asarray(angular_distance(jnp.asarray(preferences), jnp.asarray(means[name])))
                for name in BENCHMARKS
            ]
        )
        for label, is_told in TOLD.items():
            qoe = np.stack([values(study, preferences, means, is_told, seed) for seed in seeds])
            found[f"{kind}, {label}"] = shares(qoe, distances)
            drawn[f"{kind}, {label}"] = (distances, qoe.mean(axis=0))
            report(f"{kind}, {label}: {found[f'{kind}, {label}']['not_worse']['mean']:.3f}")
    nearer_policy(options.out / "fig10.png", drawn, found, SAME)
    results = {"populations": found, "paper_share": PAPER_SHARE, "users": NUM_USERS, "tie_below": SAME}
    finish("fig10", results, seeds=seeds, started=study.started, folder=options.out)


def populations(study: Study) -> dict[str, np.ndarray]:
    """Preferences of the users: half of each application's kind, and any."""
    generator = np.random.default_rng(10)
    pools = [np.asarray(study.users(name, "own", "training").preference) for name in BENCHMARKS]
    half = NUM_USERS // len(pools)
    alike = np.concatenate([pool[generator.integers(0, len(pool), half)] for pool in pools])
    return {"users of the applications": alike, "any users": generator.dirichlet(np.ones(4), NUM_USERS)}


def values(
    study: Study, preferences: np.ndarray, means: dict[str, np.ndarray], is_told: bool, seed: int
) -> np.ndarray:
    """QoE that each application's policy gives each user, mean over held-out slots; axes [applications, users]."""
    rows = []
    for name in BENCHMARKS:
        heard = preferences if is_told else np.broadcast_to(means[name], preferences.shape)
        users: User = make_users(preferences, np.repeat(heard[:, None], len(ELAMS), axis=1))
        found = study.serve(study.actor(study.train("SRL, own preference", name, seed)), users)
        rows.append(np.asarray(found.qoe).mean(axis=0))
    return np.stack(rows)


def shares(qoe: np.ndarray, distances: np.ndarray) -> dict[str, dict]:
    """How many users the nearer policy serves better, alike and worse; axes of QoE [seeds, applications, users]."""
    nearer = distances.argmin(axis=0)
    users = np.arange(qoe.shape[2])
    gain = qoe[:, nearer, users] - qoe[:, 1 - nearer, users]
    counts = {"better": gain > SAME, "alike": np.abs(gain) <= SAME, "not_worse": gain >= -SAME}
    found = {name: interval(which.mean(axis=1)) for name, which in counts.items()}
    return found | {"mean_gain": interval(gain.mean(axis=1)), "mean_loss_if_wrong": interval(lost(gain))}


def lost(gain: np.ndarray) -> np.ndarray:
    """Mean QoE that users lose by the nearer policy, of those whom it serves worse."""
    return np.array([-row[row < -SAME].mean() if (row < -SAME).any() else 0.0 for row in gain])


if __name__ == "__main__":
    main()
