"""How the policies of the studies of composition are trained: what they are told, by which algorithm, for how long."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lameta_jax.composition.learner import Hyperparameters
from lameta_jax.composition.ppo import PPOHyperparameters
from lameta_jax.composition.reinforce import ReinforceHyperparameters
from lameta_jax.functional import Params

NUM_UPDATES, NUM_POINTS = 120, 12  # updates of PPO, and points of a curve


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a policy is trained: what it is told of its users, and what it learns from."""

    reading: str  # "own" preference; "raw" or "iokd", by both E-LAMs or "iokd, large" alone; "nothing"
    algorithm: str = "ppo"  # one of BUDGETS
    qoe_form: str = "power"


METHODS = {
    "SRL, own preference": Method(reading="own"),
    "SRL, IoKD": Method(reading="iokd"),
    "SRL, IoKD, large alone": Method(reading="iokd, large"),
    "SRL, raw, large alone": Method(reading="raw, large"),
    "SRL, own preference, printed": Method(reading="own", qoe_form="printed"),
    "REINFORCE, IoKD": Method(reading="iokd", algorithm="reinforce"),
    "DRL-even": Method(reading="nothing"),
}


class Budget(NamedTuple):
    """How long an algorithm learns, and with which numbers."""

    num_updates: int
    hyperparameters: Hyperparameters


# REINFORCE takes one gradient step per update, PPO sixteen: four times the episodes take it about as long. Its learning
# rate is the best of 0.002, 0.005 and 0.01 by what training users of multimedia got, for seeds that no study has.
BUDGETS = {
    "ppo": Budget(NUM_UPDATES, PPOHyperparameters()),
    "reinforce": Budget(4 * NUM_UPDATES, ReinforceHyperparameters(learning_rate=0.005)),
}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A policy with what it gave the test users while it learned; arrays have a leading axis of points."""

    params: Params
    updates: np.ndarray
    share: np.ndarray  # of the optimum, over test users and held-out slots
    factors: dict[str, np.ndarray]  # of the chains that work, means
    metrics: dict[str, np.ndarray]  # of its own episodes, for every update
    seconds: float  # of training, compiling apart
