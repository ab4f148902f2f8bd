"""The decision process of `lameta_jax.composition.env` as a plain Gymnasium environment: NumPy and Python, no JAX.

What its author would do for speed is done: everything that an episode only reads is tabulated when the environment is
made, an observation is six rows of tables (copied, as Gymnasium asks for new arrays), and the QoE of a chain, which is
a dozen numbers, is computed by `math`. Only the power form of QoE with the user's own preference is there.
"""

import math
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from scipy.special import gammainc

CAPABILITY, INFORMATION, LATENCY, OUTAGE = range(4)
LARGEST = float(np.finfo(np.float32).max)


class Rules(NamedTuple):
    """The choices of the process, as in `EnvConfig`."""

    functional_reward: float = 1.0
    step_reward_scale: float = 0.1
    failure_qoe: float = -1.0
    mask_types: bool = False
    initial_elam: int = 0


class Network(NamedTuple):
    """Agents, links and the request as NumPy arrays, and the fees of the E-LAMs."""

    agent_type: np.ndarray
    capability: np.ndarray
    service_rate: np.ndarray
    service_cv: np.ndarray
    outages: np.ndarray
    observations: np.ndarray
    link_ends: np.ndarray
    link_ber: np.ndarray
    arrival_rate: float
    types: np.ndarray  # of the request
    capability_threshold: float
    max_latency: float
    elam_fees: np.ndarray


def numpy_network(scenario: Any) -> Network:
    """A scenario of this package as NumPy arrays."""
    network, request = scenario.network, scenario.request
    return Network(
        *(np.asarray(getattr(network, name)) for name in Network._fields[:8]),
        arrival_rate=float(network.arrival_rate),
        types=np.asarray(request.types),
        capability_threshold=float(request.capability_threshold),
        max_latency=float(request.max_latency),
        elam_fees=np.asarray(scenario.elam_fees),
    )


def normalised_benefit(values: np.ndarray, larger_is_better: bool) -> np.ndarray:
    """I(.) of LAMeTA eq. (34): 1 for the best, 0 for the worst and for what is infinite, 1 where all are alike."""
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(len(values))
    lowest, highest = values[finite].min(), values[finite].max()
    if highest == lowest:
        return np.where(finite, 1.0, 0.0)
    values = np.where(finite, values, lowest)
    from_worst = values - lowest if larger_is_better else highest - values
    return np.where(finite, from_worst / (highest - lowest), 0.0)


class NumpyChainEnv(gymnasium.Env[dict[str, Any], np.ndarray]):
    """One episode serves one user of the pool; action [agent, E-LAM], observation as `types.Observation`.

    Args:
      network: from `numpy_network`.
      preference: what every user of the pool wants, [users, 4].
      translated: what every E-LAM makes of it, [users, elams, 4].
    """

    metadata = {"render_modes": []}

    def __init__(
        self, network: Network, preference: np.ndarray, translated: np.ndarray, rules: Rules | None = None
    ):
        self.rules = rules or Rules()
        self.agents, self.hops = len(network.agent_type), len(network.types)
        self.elams = len(network.elam_fees)
        # Whoever makes many environments shares one pool among them.
        self.preference, self.translated = np.asarray(preference), np.asarray(translated, np.float32)
        self._tabulate(network)
        flags, unit = spaces.MultiBinary(self.agents), spaces.Box(0.0, 1.0, (self.agents,), np.float32)
        number = spaces.Box(-np.inf, np.inf, (), np.float32)
        self.action_space = spaces.MultiDiscrete([self.agents, self.elams])
        self.observation_space = spaces.Dict(
            {
                "preference": spaces.Box(0.0, 1.0, (4,), np.float32),
                "elam": spaces.Discrete(self.elams),
                "step": spaces.Discrete(self.hops),
                "hops_left": spaces.Discrete(self.hops, start=1),
                "predecessor": spaces.Discrete(self.agents + 1, start=-1),
                "log_capability": number,
                "latency": number,
                "fits": flags,
                "linked": flags,
                "link_benefit": unit,
                "node_mask": flags,
                "elam_mask": spaces.MultiBinary(self.elams),
            }
        )

    def _tabulate(self, network: Network) -> None:
        rate, arrivals = network.service_rate.astype(float), network.arrival_rate
        stable = rate > arrivals
        with np.errstate(divide="ignore", invalid="ignore"):
            waiting = arrivals / rate * (1 + network.service_cv**2) / (2 * (rate - arrivals))
            latency = np.where(stable, 1 / rate + waiting, np.inf)
        crash = network.outages / network.observations
        self.latency, self.log_capability = latency.tolist(), np.log(network.capability).tolist()
        self.capability, self.up = network.capability.tolist(), (1 - crash).tolist()
        # The chance of overload falls with the rate: a chain has the largest of its agents'.
        self.overload = gammainc(np.floor(rate) + 1, arrivals).tolist()
        self.benefits = np.stack(
            [
                normalised_benefit(network.capability, True),
                np.ones(self.agents),
                normalised_benefit(latency, False),
                normalised_benefit(crash, False),
            ],
            axis=1,
        ).tolist()
        first, second = network.link_ends.reshape(-1, 2).T
        linked = np.zeros((self.agents + 1, self.agents), np.int8)  # the last row: before the first agent
        linked[first, second] = linked[second, first] = linked[-1] = 1
        benefit = np.zeros(linked.shape, np.float32)
        benefit[first, second] = benefit[second, first] = normalised_benefit(network.link_ber, False)
        benefit[-1] = 1.0
        correct = np.ones((self.agents, self.agents))
        correct[first, second] = correct[second, first] = 1 - network.link_ber
        self.linked, self.link_benefit, self.correct = linked, benefit, correct.tolist()
        fits = (network.agent_type == network.types[:, None]).astype(np.int8)
        available = (rate > 0).astype(np.int8)
        self.fits, self.fits_lists = fits, fits.astype(bool).tolist()
        allowed = fits if self.rules.mask_types else np.ones_like(fits)
        self.legal = linked[:, None] * (
            allowed * available
        )  # [predecessor, hop, agent], but for who is taken
        self.fees = network.elam_fees.tolist()
        self.any_elam = np.ones(self.elams, np.int8)
        self.this_elam = np.eye(self.elams, dtype=np.int8)
        self.everyone = np.ones(self.agents, np.int8)
        self.limits = network.capability_threshold, network.max_latency

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Serves a drawn user, or the one that `options={"user": i}` names."""
        super().reset(seed=seed)
        user = (options or {}).get("user")
        self.user = int(self.np_random.integers(len(self.preference))) if user is None else user
        self.wanted, self.said = self.preference[self.user].tolist(), self.translated[self.user].tolist()
        self.chain: list[int] = []
        self.elam, self.succeeded, self.over = self.rules.initial_elam, True, False
        self.sum_log_capability = self.sum_latency = 0.0
        self._mask()
        return self._observe(), {"user": self.user}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """As `env.step`: after the end it changes nothing and pays nothing."""
        if self.over:
            return self._observe(), 0.0, True, False, {"qoe": 0.0, "fee": 0.0, "step_reward": 0.0}
        node, elam = int(action[0]), int(action[1])
        at, rules = len(self.chain), self.rules
        exists = 0 <= node < self.agents and 0 <= elam < self.elams
        legal = exists and bool(self.legal_now[node])
        fits = exists and self.fits_lists[at][node]
        stepwise = rules.functional_reward if fits else -rules.functional_reward
        if exists:
            said, (capability, _, latency, outage) = self.said[self.elam], self.benefits[node]
            link = float(self.link_benefit[self._row(), node]) if legal else 0.0
            stepwise += (
                said[CAPABILITY] * capability
                + said[INFORMATION] * link
                + said[LATENCY] * latency
                + said[OUTAGE] * outage
            )
            self.sum_log_capability += self.log_capability[node]
            self.sum_latency += self.latency[node]
        self.chain.append(node if exists else -1)
        self.succeeded = self.succeeded and legal and fits
        self.over = not legal or at == self.hops - 1
        fee = self.fees[rules.initial_elam] if at == 0 else 0.0
        qoe = 0.0
        if self.over:
            qoe = self._qoe()
        else:
            fee += self.fees[elam]
            self.elam = elam
        self._mask()
        reward = rules.step_reward_scale * stepwise + qoe - fee
        return self._observe(), reward, self.over, False, {"qoe": qoe, "fee": fee, "step_reward": stepwise}

    def action_masks(self) -> np.ndarray:
        """Which actions are legal now, agents then E-LAMs, as MaskablePPO of sb3-contrib asks."""
        return np.concatenate([self.node_mask, self.elam_mask])

    def _place(self) -> int:
        return min(len(self.chain), self.hops - 1)

    def _row(self) -> int:
        """The row of the tables: of the last agent, or that of no agent; who does not exist passes for the first."""
        return max(self.chain[-1], 0) if self.chain else -1

    def _mask(self) -> None:
        """Who may come next; `legal_now` before the mask opens where nobody may."""
        at = self._place()
        row = self.legal[self._row(), at]
        if self.chain:
            row = row.copy()
            row[[node for node in self.chain if node >= 0]] = 0
        self.legal_now = row
        self.node_mask = row if row.any() else self.everyone
        self.elam_mask = self.any_elam if at < self.hops - 1 else self.this_elam[self.elam]

    def _observe(self) -> dict[str, Any]:
        at, row = self._place(), self._row()
        return {
            "preference": self.translated[self.user, self.elam].copy(),
            "elam": self.elam,
            "step": at,
            "hops_left": self.hops - at,
            "predecessor": self.chain[-1] if self.chain else -1,
            "log_capability": np.array(self.sum_log_capability, np.float32),
            "latency": np.array(self.sum_latency, np.float32),
            "fits": self.fits[at].copy(),
            "linked": self.linked[row].copy(),
            "link_benefit": self.link_benefit[row].copy(),
            "node_mask": self.node_mask.copy(),
            "elam_mask": self.elam_mask.copy(),
        }

    def _qoe(self) -> float:
        """The power form of QoE, or its value of failure where (18b), (18c) or (18d) is broken."""
        threshold, max_latency = self.limits
        chain = self.chain
        capability = math.exp(self.sum_log_capability) / self.hops
        complete = self.succeeded and len(chain) == self.hops
        if not complete or self.sum_latency > max_latency or capability < threshold:
            return self.rules.failure_qoe
        correct, up = 1.0, 1.0
        for one, other in zip(chain, chain[1:], strict=False):
            correct *= self.correct[one][other]
        for node in chain:
            up *= self.up[node]
        up *= 1 - max([self.overload[node] for node in chain])
        w = [4 * weight for weight in self.wanted]
        bracket = correct ** w[INFORMATION] * w[CAPABILITY] * math.log(capability / threshold)
        bracket -= w[LATENCY] * math.log(self.sum_latency)
        return bracket if bracket < 0 else bracket * up ** w[OUTAGE]
