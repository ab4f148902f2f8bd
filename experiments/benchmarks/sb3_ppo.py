"""PPO of Stable-Baselines3 on the NumPy environment, for bench_ppo.py.

MaskablePPO of sb3-contrib: plain PPO knows no masks, so that nearly all of its first episodes end with an illegal
agent. What the actor sees as one row: the translated preference, the E-LAM in force, the step and the last agent, each
of the last three one-hot; the network is always the same, so its agents need no features.
"""

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from unittest.mock import patch

import gymnasium
import numpy as np
import torch
from numpy_env import Network, NumpyChainEnv, Rules
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecEnv


class FlatChainEnv(NumpyChainEnv):
    """The environment with one row of numbers as its observation, beside the masks."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.size = 4 + self.elams + self.hops + self.agents
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (self.size,), np.float32)

    def _observe(self) -> np.ndarray:
        row, at = np.zeros(self.size, np.float32), min(len(self.chain), self.hops - 1)
        row[:4] = self.translated[self.user, self.elam]
        row[4 + self.elam] = row[4 + self.elams + at] = 1.0
        if self.chain and self.chain[-1] >= 0:
            row[4 + self.elams + self.hops + self.chain[-1]] = 1.0
        return row


class Setting(NamedTuple):
    """How Stable-Baselines3 is run on a machine."""

    envs: int
    processes: bool  # SubprocVecEnv instead of DummyVecEnv
    threads: int  # of torch

    def label(self) -> str:
        kind = "SubprocVecEnv" if self.processes else "DummyVecEnv"
        return f"Stable-Baselines3, {kind} of {self.envs}, torch threads {self.threads}"


class Sizes(NamedTuple):
    """What both sides have in common."""

    steps_per_update: int
    epochs: int
    minibatches: int
    hidden: tuple[int, ...]


def vector_env(make: Callable[[], FlatChainEnv], setting: Setting) -> VecEnv:
    if not setting.processes:
        return DummyVecEnv([make] * setting.envs)
    # The processes import this program, whose jax must leave a GPU to the parent.
    with patch.dict(os.environ, {"JAX_PLATFORMS": "cpu"}):
        return SubprocVecEnv([make] * setting.envs, start_method="spawn")


def make_model(envs: VecEnv, sizes: Sizes, hyperparameters: Any, updates: int, seed: int) -> MaskablePPO:
    """PPO with the numbers of ours; the learning rate falls linearly over `updates`."""
    return MaskablePPO(
        "MlpPolicy",
        envs,
        learning_rate=lambda left: float(hyperparameters.learning_rate) * max(left, 0.0),
        n_steps=sizes.steps_per_update // envs.num_envs,
        batch_size=sizes.steps_per_update // sizes.minibatches,
        n_epochs=sizes.epochs,
        gamma=float(hyperparameters.gamma),
        gae_lambda=float(hyperparameters.gae_lambda),
        clip_range=float(hyperparameters.clip_eps),
        ent_coef=float(hyperparameters.entropy_coefficient),
        vf_coef=float(hyperparameters.value_coefficient),
        max_grad_norm=float(hyperparameters.max_grad_norm),
        policy_kwargs={
            "net_arch": {"pi": list(sizes.hidden), "vf": list(sizes.hidden)},
            "activation_fn": torch.nn.ReLU,
        },
        seed=seed,
        device="cpu",
    )


def mean_qoe(
    model: MaskablePPO, network: Network, rules: Rules, preference: np.ndarray, translated: np.ndarray
) -> float:
    """What users get from the most probable actions."""
    envs = [FlatChainEnv(network, preference, translated, rules) for _ in preference]
    seen = np.stack([env.reset(options={"user": user})[0] for user, env in enumerate(envs)])
    total = np.zeros(len(envs))
    for _ in network.types:
        masks = np.stack([env.action_masks() for env in envs])
        actions, _ = model.predict(seen, action_masks=masks, deterministic=True)
        outcomes = [env.step(action) for env, action in zip(envs, actions, strict=True)]
        seen = np.stack([outcome[0] for outcome in outcomes])
        total += [outcome[4]["qoe"] for outcome in outcomes]
    return float(total.mean())


class UntilTarget(BaseCallback):
    """Stops when the share of the optimum is reached or the time is over; measuring the share takes no time.

    The coefficient of the entropy falls with the learning rate, as ours does.
    """

    def __init__(self, share: Callable[[MaskablePPO], float], target: float, limit: float):
        super().__init__()
        self.share, self.target, self.limit = share, target, limit
        self.seconds, self.updates, self.best, self.begun = 0.0, 0, -np.inf, None
        self.over = False

    def _on_training_start(self) -> None:
        self.entropy = self.model.ent_coef

    def _on_rollout_start(self) -> None:
        if self.begun is not None:
            self.seconds += time.perf_counter() - self.begun
            self.updates += 1
            self.best = max(self.best, self.share(self.model))
            self.over = self.best >= self.target or self.seconds >= self.limit
        self.model.ent_coef = self.entropy * max(self.model._current_progress_remaining, 0.0)
        self.begun = time.perf_counter()

    def _on_step(self) -> bool:
        return not self.over
