"""The decision process of `env.py` as a Gymnasium environment: NumPy in and out, for algorithms from elsewhere.

Needs the extra `lameta_jax[gym]`; nothing else in the package imports this module. Importing it also registers the
environment, for `gymnasium.make("lameta_jax/ChainComposition-v0", params=..., users=...)`.

All rules are those of `env.py`; only the form differs. One environment serves one user at a time: whoever wants speed
uses `env.reset` and `env.step` under `vmap`.
"""

from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from lameta_jax.composition.encoder import NUM_NODE_FEATURES, node_features
from lameta_jax.composition.env import reset, slot_params, step
from lameta_jax.composition.slots import SlotConfig, draw_conditions
from lameta_jax.composition.types import Action, EnvParams, EnvState, Observation, StepInfo, User

try:
    import gymnasium
    from gymnasium import spaces
except ImportError as error:
    raise ImportError("gymnasium is missing: install lameta_jax[gym]") from error

ENVIRONMENT_ID = "lameta_jax/ChainComposition-v0"


class ChainCompositionEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One episode serves one user, drawn from the pool at `reset`, in a slot drawn then too.

    Action, MultiDiscrete [agents, elams]: the next agent of the chain, and the E-LAM that translates for the step
    after. An illegal one ends the episode with `failure_qoe`, one outside the space as well; see `env.py`.

    Observation, a dict of the fields of `Observation` but for two (masks and flags as 0 and 1):
      preference, elam, step, fits, linked, link_benefit, node_mask, elam_mask: as there.
      predecessor: 1 at the last agent of the chain, all 0 before the first. Hops left: the request's length less step.
      nodes: `node_features` of the slot, the same all through an episode.

    Info after a step: `step_reward` (34) of the step, `fee` (of all E-LAM calls of the episode so far), `qoe` (as the
    user feels it; 0 before the end), `chain` (agents, -1 where none yet), `succeeded` ((18d) so far). The objective
    (18a) is `qoe - fee` at the end. Info also has `user`, the place in the pool, also after a reset. Episodes are
    never truncated.

    `reset(options={"user": i})` serves user i of the pool instead of a drawn one. After `reset(seed=...)` all users
    and slots that follow are determined.

    Args:
      params: the decision process, from `make_env_params`.
      users: the pool; leaves have a leading axis of users.
      slots: how conditions vary around those of `params`; None: they do not.
    """

    metadata = {"render_modes": []}

    def __init__(self, params: EnvParams, users: User, slots: SlotConfig | None = None) -> None:
        num_agents, num_elams = params.num_agents, users.translated.shape[1]
        if num_elams != params.num_elams:
            raise ValueError(f"users have {num_elams} translations each for {params.num_elams} E-LAMs")
        self._nominal, self._users, self._slots = params, users, slots
        self._state: EnvState | None = None
        unit = partial(spaces.Box, 0.0, 1.0, dtype=np.float32)
        self.action_space = spaces.MultiDiscrete([num_agents, num_elams])
        self.observation_space = spaces.Dict(
            {
                "preference": unit((4,)),
                "elam": spaces.Discrete(num_elams),
                "step": spaces.Discrete(params.num_hops),
                "predecessor": spaces.MultiBinary(num_agents),
                "fits": spaces.MultiBinary(num_agents),
                "linked": spaces.MultiBinary(num_agents),
                "link_benefit": unit((num_agents,)),
                "node_mask": spaces.MultiBinary(num_agents),
                "elam_mask": spaces.MultiBinary(num_elams),
                "nodes": unit((num_agents, NUM_NODE_FEATURES)),
            }
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Draws a user and a slot. Both are drawn also where options name the user: the slots stay the same."""
        super().reset(seed=seed)
        num_users = self._users.preference.shape[0]
        drawn = int(self.np_random.integers(num_users))
        self._key = jax.random.key(int(self.np_random.integers(2**31)))
        self._user = (options or {}).get("user", drawn)
        if not 0 <= self._user < num_users:
            raise ValueError(f"options: user = {self._user} must be in [0, {num_users})")
        self._fee = 0.0
        self._params, self._state, observation, nodes = _begin(
            self._key, self._nominal, self._users, self._user, self._slots
        )
        self._observation, self._nodes = jax.device_get((observation, nodes))
        return _as_dict(self._observation, self._nodes), {"user": self._user}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """As `env.step`: after the end it changes nothing and pays nothing."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset before step")
        state, *outcome = _advance(self._key, self._state, np.asarray(action), self._params)
        self._state = state
        self._observation, reward, terminated, truncated, told = jax.device_get(outcome)
        self._fee += float(told.fee)
        info = {
            "user": self._user,
            "step_reward": float(told.step_reward),
            "fee": self._fee,
            "qoe": float(told.qoe),
            "chain": np.array(state.chain),
            "succeeded": bool(state.succeeded),
        }
        seen = _as_dict(self._observation, self._nodes)
        return seen, float(reward), bool(terminated), bool(truncated), info

    def action_masks(self) -> np.ndarray:
        """Which actions are legal now: node_mask and elam_mask in one row, as MaskablePPO of sb3-contrib asks."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("call reset before action_masks")
        return np.concatenate([self._observation.node_mask, self._observation.elam_mask])


def _as_dict(seen: Observation, nodes: np.ndarray) -> dict[str, Any]:
    """What is seen, in the types of the observation space."""
    return {
        "preference": seen.preference.astype(np.float32),
        "elam": np.int64(seen.elam),
        "step": np.int64(seen.step),
        "predecessor": (np.arange(len(nodes)) == seen.predecessor).astype(np.int8),
        "fits": seen.fits.astype(np.int8),
        "linked": seen.linked.astype(np.int8),
        "link_benefit": seen.link_benefit.astype(np.float32),
        "node_mask": seen.node_mask.astype(np.int8),
        "elam_mask": seen.elam_mask.astype(np.int8),
        "nodes": nodes.astype(np.float32),
    }


# Jitted here and not in each environment, so that all environments on networks of one size share what is compiled.
@partial(jax.jit, static_argnames="slots")
def _begin(
    key: Key[Array, ""], params: EnvParams, users: User, index: int | Int[Array, ""], slots: SlotConfig | None
) -> tuple[EnvParams, EnvState, Observation, Float[Array, "agents features"]]:
    """A slot, the first state of a user's episode in it, and what is seen of both."""
    if slots is not None:
        params = slot_params(params, draw_conditions(key, params.network, slots))
    observation, state = reset(key, params, jax.tree.map(lambda leaf: leaf[index], users))
    return params, state, observation, node_features(params)


@jax.jit
def _advance(
    key: Key[Array, ""], state: EnvState, action: Int[Array, "2"], params: EnvParams
) -> tuple[EnvState, Observation, Float[Array, ""], Bool[Array, ""], Bool[Array, ""], StepInfo]:
    """`env.step`, the state first."""
    observation, state, reward, terminated, truncated, told = step(
        key, state, Action(action[0], action[1]), params
    )
    return state, observation, reward, terminated, truncated, told


gymnasium.register(ENVIRONMENT_ID, entry_point=f"{__name__}:ChainCompositionEnv")
