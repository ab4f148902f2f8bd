"""What is learned, as a learner sees it: a decision process together with a policy for it."""

from collections.abc import Callable
from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Key, PyTree

from lameta_jax.composition.types import User
from lameta_jax.functional import Params
from lameta_jax.types import Scalar


class Transition(NamedTuple):
    """One step of many episodes; leaves have axes [slots, steps, episodes, ...]."""

    observation: PyTree
    action: PyTree
    log_prob: Float[Array, "*batch"]
    value: Float[Array, "*batch"]  # of the state before the step
    next_value: Float[Array, "*batch"]  # of the state after it; anything where the episode has terminated
    reward: Float[Array, "*batch"]
    terminated: Bool[Array, "*batch"]  # truly ended with this step
    truncated: Bool[Array, "*batch"]  # cut off after this step
    alive: Bool[Array, "*batch"]  # the episode had not ended before this step


class Replayed(NamedTuple):
    """What a policy now says of transitions that an earlier one played."""

    log_prob: Float[Array, "*batch"]
    entropy: Float[Array, "*batch"]
    value: Float[Array, "*batch"]


class Task(NamedTuple):
    """A decision process together with a policy for it, as an algorithm sees them."""

    init: Callable[[Key[Array, ""]], Params]
    collect: Callable[[Params, PyTree, Key[Array, ""]], tuple[PyTree, Transition, dict[str, Array]]]
    """`(params, pool, key)` to what a replay needs besides (leading axis: slots), transitions, and metrics; one
    of these, `episode/reward`, is the mean return that best-so-far parameters are picked by."""
    replay: Callable[[Params, PyTree, Transition], Replayed]


class InContext(NamedTuple):
    """How what E-LAMs say of a user is held against what they said lately (LAMeTA Sec. V-D), for one user at a time.

    Injected, since composing knows nothing of how intents are read: see `pipeline.in_context`.
    """

    start: Callable[[], PyTree]  # a memory that holds nothing
    adjust: Callable[
        [PyTree, User], User
    ]  # the user, with translations that have been held against the memory
    remember: Callable[
        [PyTree, User, Scalar], PyTree
    ]  # what the E-LAMs said of a user, and the episode's return
