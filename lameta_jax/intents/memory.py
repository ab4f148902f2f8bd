"""In-context learning of the E-LAM: a memory of recent translations that steadies the next one.

LAMeTA Sec. V-D, eqs. (44)-(46). The memory is a ring buffer of fixed capacity, a pytree that may be carried through
`jit`, `vmap` and `scan`, so one of a user or of an application can live in a jitted rollout. Text cannot: a record
holds the index of its prompt in a table that stays on the host, where `memory_prompt` turns records into words.

Assumptions where the paper is silent:
- of the rules that apply, the first counts: failed answer, divergence, pattern. An outlier in a consistent stretch
  is the very case that (46) is for;
- fewer than two records show no pattern, whatever the thresholds, and nothing diverges from an empty memory;
- a model that reads the memory in its prompt (`memory_prompt`) is thereby conditioned on it as in (45). One that
  reads nothing but the user's words (the percent decoder) is conditioned afterwards, by `condition`;
- a record holds the prediction itself, as (44) says, not what calibration made of it: were the calibrated vector
  remembered, a lasting change of intents would be calibrated away, where it is followed within k records.
"""

from dataclasses import replace
from typing import NamedTuple, no_type_check

import flax.struct
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.intents.calibration import (
    calibrate,
    condition,
    consistency,
    mean_recent_preference,
    reward_trend,
)
from lameta_jax.intents.preference import NUM_FACTORS, angular_distance
from lameta_jax.types import Scalar

# How a preference came about.
PLAIN, CONSISTENT, DIVERGENT, INVALID = 0, 1, 2, 3
REGIME_NAMES = ("plain", "consistent", "divergent", "invalid")

NO_PROMPT = -1  # prompt index where nothing has been remembered yet


# no_type_check: under vmap and jit the same classes hold batched arrays, or no arrays at all.
@no_type_check
@flax.struct.dataclass(kw_only=True)
class MemoryConfig:
    """Sizes are fixed when a program is compiled; the other numbers are traced and may be swept.

    The defaults are set on the shipped history, 8 records at a time. Of one application they are consistent in 60%
    of cases, half of them from another in 27%; 9% of an application's own intents diverge, 36% of another's.
    """

    capacity: int = flax.struct.field(pytree_node=False, default=32)  # M of (44): records kept, >= 1
    num_recent: int = flax.struct.field(pytree_node=False, default=8)  # k of (45): at most the capacity
    min_consistency: Scalar = 0.7  # mean cosine similarity from which intents are consistent, in [0, 1]
    min_trend: Scalar = 0.0  # rewards improve if they grow by more than this per record
    max_distance: Scalar = 0.3  # Dis(s_t, s-bar) above which a prediction diverges, in [0, 1/2]
    distance_scale: Scalar = 0.3  # d0 of iota = exp(-d / d0), > 0; the distance at which a share 1/e is left
    prediction_variance: Scalar = 0.0  # mean squared error of the predicted weights, see `condition`; >= 0

    def __post_init__(self) -> None:
        if not 1 <= self.num_recent <= self.capacity:
            raise ValueError(f"num_recent = {self.num_recent} must be in [1, capacity = {self.capacity}]")
        # Traced numbers cannot be checked.
        if isinstance(self.distance_scale, float | int) and not self.distance_scale > 0:
            raise ValueError(f"distance_scale = {self.distance_scale} must be > 0")
        if isinstance(self.prediction_variance, float | int) and not self.prediction_variance >= 0:
            raise ValueError(f"prediction_variance = {self.prediction_variance} must be >= 0")


@no_type_check
@flax.struct.dataclass
class Memory:
    """The records of (44) in a ring: the newest overwrites the oldest."""

    prompt: Int[Array, " capacity"]  # index into a table of prompts, `NO_PROMPT` where none yet
    preference: Float[Array, "capacity 4"]  # predicted; even where none yet
    reward: Float[Array, " capacity"]  # what followed; 0 where none yet
    place: Int[Array, ""]  # where the next record goes
    count: Int[Array, ""]  # records held


class Records(NamedTuple):
    """Remembered records, most recent first."""

    prompt: Int[Array, " records"]
    preference: Float[Array, "records 4"]
    reward: Float[Array, " records"]
    valid: Bool[Array, " records"]  # False where the memory holds fewer; valid ones come first


class InContext(NamedTuple):
    """A preference that has been held against the memory."""

    preference: Float[Array, " 4"]  # on the simplex if the prediction is, or has failed
    regime: Int[Array, ""]  # PLAIN, CONSISTENT, DIVERGENT or INVALID


def empty_memory(config: MemoryConfig) -> Memory:
    """A memory that holds nothing, in the precision in force."""
    return Memory(
        prompt=jnp.full(config.capacity, NO_PROMPT, jnp.int32),
        preference=jnp.full((config.capacity, NUM_FACTORS), 1 / NUM_FACTORS, dtype=float),
        reward=jnp.zeros(config.capacity, dtype=float),
        place=jnp.zeros((), jnp.int32),
        count=jnp.zeros((), jnp.int32),
    )


def remember(
    memory: Memory, prompt: int | Int[Array, ""], preference: Float[Array, " 4"], reward: Scalar
) -> Memory:
    """The memory with one more record (44); a full one forgets its oldest.

    Args:
      prompt: index of the prompt in the caller's table.
      preference: the prediction, before calibration. Of a failed answer there is none: do not remember it.
      reward: what the episode that followed was worth, on any scale.
    """
    capacity = memory.prompt.shape[0]
    return replace(
        memory,
        prompt=memory.prompt.at[memory.place].set(jnp.asarray(prompt, memory.prompt.dtype)),
        preference=memory.preference.at[memory.place].set(preference.astype(memory.preference.dtype)),
        reward=memory.reward.at[memory.place].set(jnp.asarray(reward, memory.reward.dtype)),
        place=(memory.place + 1) % capacity,
        count=jnp.minimum(memory.count + 1, capacity),
    )


def recent(memory: Memory, num_records: int) -> Records:
    """The most recent records, `m_{t-1}, ..., m_{t-k}` of LAMeTA eq. (45).

    Raises:
      ValueError: more than the memory can hold.
    """
    capacity = memory.prompt.shape[0]
    if not 1 <= num_records <= capacity:
        raise ValueError(f"num_records = {num_records} must be in [1, capacity = {capacity}]")
    age = jnp.arange(num_records, dtype=jnp.int32)
    places = (memory.place - 1 - age) % capacity
    return Records(
        memory.prompt[places], memory.preference[places], memory.reward[places], age < memory.count
    )


def in_context(
    memory: Memory,
    predicted: Float[Array, " 4"],
    failed: bool | Bool[Array, ""],
    fallback: Float[Array, " 4"],
    config: MemoryConfig,
) -> InContext:
    """The preference to act upon, given what has been remembered.

    | regime | when, the first that applies | preference |
    | --- | --- | --- |
    | INVALID | the answer failed | s-bar; the fallback if the memory is empty |
    | DIVERGENT | Dis(s_t, s-bar) above `max_distance` | calibrated (46) |
    | CONSISTENT | consistency at least `min_consistency`, trend above `min_trend` | conditioned (45) |
    | PLAIN | otherwise | the prediction |

    Args:
      predicted: s_t; anything where the answer failed.
      fallback: mean preference of the application.

    Reference: LAMeTA Sec. V-D.
    """
    records = recent(memory, config.num_recent)
    mean = mean_recent_preference(records.preference, records.valid, fallback.astype(predicted.dtype))
    safe = jnp.where(failed, mean, predicted)
    apart = records.valid.any() & (angular_distance(safe, mean) > config.max_distance)
    similar = consistency(records.preference, records.valid) >= config.min_consistency
    improving = reward_trend(records.reward, records.valid) > config.min_trend
    pattern = similar & improving & (records.valid.sum() > 1)
    conditioned = condition(safe, records.preference, records.valid, config.prediction_variance)

    preference = jnp.where(pattern, conditioned, safe)
    preference = jnp.where(apart, calibrate(safe, mean, config.distance_scale), preference)
    regime = jnp.where(apart, DIVERGENT, jnp.where(pattern, CONSISTENT, PLAIN))
    return InContext(
        jnp.where(failed, mean, preference), jnp.where(failed, INVALID, regime).astype(jnp.int32)
    )
