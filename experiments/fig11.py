"""LAMeTA Fig. 11: in-context learning, with a fifth of the translations taken from the other application.

    lameta reproduce fig11            # or python experiments/fig11.py [--seeds 10] [--out DIR]

A policy for multimedia learns while a fifth of its users are disturbed, with and without the memory of Sec. V-D.
The paper can be read in two ways, so both are measured: users who are *misread* (their wishes are those of multimedia,
what the E-LAM says is a sample of qa), and *foreign* users, who do want what users of qa want. A twentieth of all
translations fails altogether. Policies are valued on test users who are disturbed in the same way.
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, finish, interval
from srl_figures import in_context_curves
from srl_methods import NUM_UPDATES, Method, Trained
from srl_study import SLOTS, Study, exact_search

from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.composition.types import User
from lameta_jax.composition.users import foreign_users, misread_users, unread_users
from lameta_jax.intents.memory import MemoryConfig
from lameta_jax.pipeline.in_context import in_context_learning

APPLICATION, OTHER = "multimedia", "qa"
SHARE, FAILURES = 0.2, 0.05  # of users who are disturbed, and of translations that fail
ROUNDS = 16  # users of a slot who come one after the other
LEARNING = EpisodeConfig(num_slots=8, users_per_slot=32, slots=SLOTS, rounds=ROUNDS)
TESTING = EpisodeConfig(num_slots=32, users_per_slot=128, slots=SLOTS, rounds=ROUNDS)
DISTURBANCES = {"misread": misread_users, "foreign": foreign_users}
MEMORIES = {"without memory": None, "with memory": MemoryConfig()}
SMOOTHED = 5  # updates that a capability is averaged over
COPIES = {"training": 1, "test": 25}
THRESHOLD = 0.9  # of the capability that optimal chains have


def main() -> None:
    options = arguments("fig11", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    found = {kind: compared(study, kind, seeds) for kind in DISTURBANCES}
    in_context_curves(options.out / "fig11.png", found, THRESHOLD)
    results = {"disturbances": found, "share": SHARE, "failures": FAILURES, "threshold": THRESHOLD}
    finish("fig11", results, seeds=seeds, started=study.started, folder=options.out)


def compared(study: Study, kind: str, seeds: list[int]) -> dict:
    """Curves with and without a memory, and what the memory changes, paired by seed."""
    pools = {group: disturbed(study, kind, group) for group in ("training", "test")}
    best = float(optimal_capability(study))
    rows, runs = {}, {}
    for label, memory in MEMORIES.items():
        policies = trained(study, f"{kind} {label}", memory, pools, seeds)
        capability = np.stack([smooth(policy.metrics["factor/capability"]) for policy in policies]) / best
        runs[label] = {
            "final_capability": capability[:, -1],
            "updates_to_threshold": np.array([first_above(one) for one in capability]),
            "qoe": np.array([policy.share[-1] for policy in policies]),
        }
        curve = [interval(values) for values in capability[:, ::SMOOTHED].T]
        rows[label] = {"capability": curve} | {name: interval(values) for name, values in runs[label].items()}
    change = {
        name: interval(runs["with memory"][name] - runs["without memory"][name])
        for name in runs["with memory"]
    }
    return {"rows": rows, "change": change, "updates": list(range(1, NUM_UPDATES + 1, SMOOTHED))}


def trained(
    study: Study, label: str, memory: MemoryConfig | None, pools: dict, seeds: list[int]
) -> list[Trained]:
    """Policies that learn from disturbed users; their value is the mean QoE of disturbed test users."""
    in_context = None if memory is None else in_context_learning(memory, mean_preference(study))
    # Once for all seeds, as it is compiled.
    collect = jax.jit(composition_task(study.policy, study.params, TESTING, in_context).collect)

    def point(params):
        metrics = collect(params, pools["test"], jax.random.key(7))[2]
        factors = {name: float(value) for name, value in metrics.items() if name.startswith("factor/")}
        return float(metrics["episode/qoe"]), factors

    method, context = Method(reading="iokd, large"), (str(memory), in_context)
    return [
        study.trained(
            f"{label} {seed}", method, study.params, LEARNING, pools["training"], point, seed, context
        )
        for seed in seeds
    ]


def mean_preference(study: Study) -> jax.Array:
    """Of the application, where a translation fails."""
    return study.users(APPLICATION, "own", "training").preference.mean(axis=0)


def disturbed(study: Study, kind: str, group: str) -> User:
    """Users of whom a fifth are misread or foreign, and of whom a twentieth of the translations fail."""
    own, others = (study.users(name, "iokd, large", group) for name in (APPLICATION, OTHER))
    # A test user is met often: each time with the same chance of being disturbed.
    own = jax.tree.map(lambda leaf: jnp.tile(leaf, (COPIES[group], *[1] * (leaf.ndim - 1))), own)
    key_who, key_failed = jax.random.split(jax.random.key(11))
    return unread_users(
        key_failed, DISTURBANCES[kind](key_who, own, others, SHARE), FAILURES, mean_preference(study)
    )


def optimal_capability(study: Study) -> jax.Array:
    """Mean capability of the optimal chains of undisturbed training users."""
    users = study.users(APPLICATION, "own", "training")
    return jnp.mean(study.searched(exact_search, users, np.asarray(users.preference)).factors.capability)


def smooth(values: np.ndarray) -> np.ndarray:
    """Means over the last few updates, up to each."""
    sums = np.cumsum(values)
    before = np.concatenate([np.zeros(SMOOTHED), sums])[: len(values)]
    return (sums - before) / np.minimum(np.arange(1, len(values) + 1), SMOOTHED)


def first_above(capability: np.ndarray) -> float:
    """The update from which the threshold is first reached; the number of updates where it never is."""
    above = np.flatnonzero(capability >= THRESHOLD)
    return float(above[0] + 1 if len(above) else NUM_UPDATES)


if __name__ == "__main__":
    main()
