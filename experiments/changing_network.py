"""How composers follow a network that changes: arrivals that grow, agents that fail while a slot is under way.

    lameta reproduce changing_network     # or python experiments/changing_network.py [--seeds 10] [--out DIR]

lameta-81, test users of both applications, told what they want; policies of fig8. The rate of arrivals is taken far
outside of what the policies met in training (a standard deviation of a tenth). Failures come after the policy has
looked at the slot: it either goes on with what it saw, and learns of a failure only as the agent cannot be picked, or
looks again. Fixed chains are the optima of the undisturbed network.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
from common import arguments, finish, interval, members, report
from srl_figures import changing_network
from srl_study import Study, exact_search

from lameta_jax.composition.baselines import replay_actor
from lameta_jax.composition.decisions import Decided, best_action
from lameta_jax.composition.env import EnvParams, slot_params
from lameta_jax.composition.evaluate import evaluate
from lameta_jax.composition.policy import Policy
from lameta_jax.composition.slots import Conditions, arrival_ramp, nominal_conditions, with_failures
from lameta_jax.composition.types import Actor, User
from lameta_jax.intents.corpus import BENCHMARKS
from lameta_jax.pipeline.composition import pool

FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0)
FAILED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
DRAWS = 10  # of who fails
APPLICATION = BENCHMARKS[0]  # whose policy serves everybody


def main() -> None:
    options = arguments("changing_network", 10, __doc__, runs="srl")
    study, seeds = Study(options.runs), list(range(options.seeds))
    users = pool([study.users(name, "own") for name in BENCHMARKS])
    policies = [study.train("SRL, own preference", APPLICATION, seed).params for seed in seeds]
    found = {"arrivals": arrivals(study, policies, users), "failures": failures(study, policies, users)}
    changing_network(options.out / "changing_network.png", found)
    finish("changing_network", found, seeds=seeds, started=study.started, folder=options.out)


def arrivals(study: Study, policies: list, users: User) -> dict:
    """Share of the optimum against the rate of arrivals."""
    fixed = best_chains(study.params, users)
    slots = arrival_ramp(nominal_conditions(study.scenario.network), jnp.array(FACTORS))
    rows: dict[str, list] = {"policy": [], "fixed chains": []}
    for factor, conditions in zip(FACTORS, members(slots), strict=True):
        slot = slot_params(study.params, conditions)
        best = optimal_qoe(slot, users)
        shares = [share(slot, looking(study, params, slot), users, best) for params in policies]
        rows["policy"].append(interval(shares))
        rows["fixed chains"].append(share(slot, replay_actor(fixed), users, best))
        report(f"arrivals times {factor}: {rows['policy'][-1]['mean']:.3f}")
    rate = float(study.scenario.network.arrival_rate)
    return {"factor": list(FACTORS), "arrival_rate": [rate * factor for factor in FACTORS], "share": rows}


def failures(study: Study, policies: list, users: User) -> dict:
    """Share of the optimum that is left against the share of agents that fail, mean over draws."""
    fixed, conditions = best_chains(study.params, users), nominal_conditions(study.scenario.network)
    rows: dict[str, list] = {"policy that goes on": [], "policy that looks again": [], "fixed chains": []}
    for probability in FAILED:
        shares: dict[str, list] = {label: [] for label in rows}
        for draw in range(DRAWS):
            slot = failed_slot(study.params, conditions, probability, draw)
            best = optimal_qoe(slot, users)
            for label, seen in (("policy that goes on", study.params), ("policy that looks again", slot)):
                actors = [looking(study, params, seen) for params in policies]
                shares[label].append([share(slot, actor, users, best) for actor in actors])
            shares["fixed chains"].append(share(slot, replay_actor(fixed), users, best))
        for label, values in shares.items():
            over_draws = np.mean(values, axis=0)
            rows[label].append(float(over_draws) if over_draws.ndim == 0 else interval(over_draws))
        report(f"{probability:.0%} of the agents fail: {rows['policy that goes on'][-1]['mean']:.3f}")
    return {"probability": list(FAILED), "draws": DRAWS, "share": rows}


def failed_slot(params: EnvParams, conditions: Conditions, probability: float, draw: int) -> EnvParams:
    """The slot after every agent has failed with a probability."""
    key = jax.random.fold_in(jax.random.key(42), draw)
    failed = jax.random.bernoulli(key, probability, conditions.service_rate.shape)
    return slot_params(params, with_failures(conditions, failed))


def looking(study: Study, params, seen: EnvParams) -> Actor:
    """The policy as it has seen a slot, whatever that slot has become."""
    return Actor(_playing(study.policy), params, study.policy.encode(params, study.policy.look(seen)))


@cache
def _playing(policy: Policy):
    """Kept, since a new function would be compiled again."""
    return partial(_act, policy)


def _act(policy, params, encoding, key, observation, state, env_params):
    del key, state, env_params
    view = encoding.at(observation.step)
    return best_action(
        Decided(policy.elam_logits, view, policy.decode(params, view, observation), observation)
    )


def best_chains(slot: EnvParams, users: User) -> jax.Array:
    return exact_search(slot.network, slot.request, users.preference)


def optimal_qoe(slot: EnvParams, users: User) -> np.ndarray:
    return np.asarray(evaluate(jax.random.key(1), replay_actor(best_chains(slot, users)), slot, users).qoe)


def share(slot: EnvParams, actor: Actor, users: User, best: np.ndarray) -> float:
    """Mean QoE as a share of the optimum's."""
    found = evaluate(jax.random.key(1), actor, slot, users)
    return float(np.mean(np.asarray(found.qoe)) / np.mean(best))


if __name__ == "__main__":
    main()
