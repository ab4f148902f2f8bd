"""Chain composition as a task for the learners: episodes played by a policy, many users of one slot at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Key, PyTree

from lameta_jax.composition.advantages import weighted_mean
from lameta_jax.composition.decisions import Decided, evaluate_action, sample_action
from lameta_jax.composition.encoder import Encoding, View
from lameta_jax.composition.env import EnvParams, final_factors, reset, slot_params, step
from lameta_jax.composition.policy import Policy
from lameta_jax.composition.slots import SlotConfig, draw_conditions
from lameta_jax.composition.task import InContext, Replayed, Task, Transition
from lameta_jax.composition.types import EnvState, Observation, StepInfo, User
from lameta_jax.functional import Params
from lameta_jax.network.qoe import ChainFactors
from lameta_jax.scale.distributed import placement


@dataclass(frozen=True, kw_only=True)
class EpisodeConfig:
    """Who is served where, in every update of a policy."""

    num_slots: int = 1  # slots drawn
    users_per_slot: int = 256  # episodes per slot
    slots: SlotConfig = SlotConfig()
    rounds: int = 1  # how many users of a slot come one after the other, where there is a memory

    def __post_init__(self) -> None:
        if self.users_per_slot % self.rounds:
            raise ValueError(f"rounds = {self.rounds} must divide users_per_slot = {self.users_per_slot}")


def composition_task(
    policy: Policy,
    networks: EnvParams,
    config: EpisodeConfig,
    in_context: InContext | None = None,
    mesh: Mesh | None = None,
) -> Task:
    """The composition of chains in slots of one network, or of many.

    Every update draws slots, and for every slot users from the pool (with replacement) who are served once each.
    With in-context learning they come in queues of `config.rounds`, and each queue has a memory, which is empty when
    the slot begins.

    Args:
      policy: from `make_policy`; must be able to choose among the E-LAMs of the scenario.
      networks: the decision process; slots vary around its network. With a leading axis, see `stack_networks`, every
        slot is one of a network drawn from them.
      config: sizes.
      in_context: what a memory makes of translations; none: they are taken as they are.
      mesh: devices that share the episodes of every slot, each with a copy of the parameters; none: the default device.

    Returns:
      A task whose pool are `User`s, of whom `translated` is what each E-LAM makes of each, computed beforehand.

    Raises:
      ValueError: the users who come at once are no multiple of the devices.
    """
    if mesh is not None and (config.users_per_slot // config.rounds) % mesh.size:
        raise ValueError(
            f"users_per_slot / rounds = {config.users_per_slot // config.rounds} must be a multiple of the"
            f" {mesh.size} devices"
        )
    many = networks.elam_fees.ndim > 1

    def draw_slot(key):
        key_network, key_conditions = jax.random.split(key)
        own = networks
        if many:
            index = jax.random.randint(key_network, (), 0, networks.elam_fees.shape[0])
            own = jax.tree.map(lambda leaf: leaf[index], networks)
        return slot_params(own, draw_conditions(key_conditions, own.network, config.slots))

    def collect(params, pool, key):
        key_slots, key_users, key_rollout = jax.random.split(key, 3)
        slots = jax.vmap(draw_slot)(jax.random.split(key_slots, config.num_slots))
        shape = (config.num_slots, config.users_per_slot)
        chosen = jnp.floor(pool.preference.shape[0] * jax.random.uniform(key_users, shape)).astype(int)
        users = jax.tree.map(lambda leaf: leaf[chosen], pool)
        scenes, params = jax.vmap(policy.look)(slots), _copied(params, mesh)
        decisions = config.users_per_slot * networks.request.types.shape[-1]
        encodings = jax.vmap(lambda scene: policy.encode(params, scene, decisions))(scenes)

        def play(key, encoded_slot, users):
            slot, encoding = encoded_slot
            return collect_episodes(policy, params, key, slot, encoding, _spread(users, mesh, 0))

        serve = play if in_context is None else partial(collect_in_turn, play, in_context, config.rounds)
        keys = jax.random.split(key_rollout, config.num_slots)
        batch, told, last = jax.vmap(serve)(keys, (slots, encodings), users)
        factors = jax.vmap(lambda slot, states: jax.vmap(lambda one: final_factors(one, slot))(states))
        metrics = episode_metrics(batch, told, last.succeeded, factors(slots, last))
        return scenes, batch, metrics

    def init(key):
        return _copied(policy.init(key), mesh)

    def replay(params, scenes, batch):
        episodes = batch.reward.shape[2]
        if mesh is not None and episodes % mesh.size:
            raise ValueError(f"{episodes} episodes of a minibatch must be a multiple of {mesh.size} devices")

        def replay_slot(scene, observation, action):
            encoding = policy.encode(params, scene, observation.step.size)
            places = jnp.arange(observation.step.shape[0])
            return jax.vmap(partial(replay_place, encoding))(places, observation, action)

        def replay_place(encoding, place, observation, action):
            decided = decide(policy, params, encoding.at(place), observation)
            return Replayed(*evaluate_action(decided, action), decided.decision.value)

        params, seen = _copied(params, mesh), _spread((batch.observation, batch.action), mesh, 2)
        return jax.vmap(replay_slot)(scenes, *seen)

    return Task(init=init, collect=collect, replay=replay)


def collect_episodes(
    policy: Policy,
    params: Params,
    key: Key[Array, ""],
    slot: EnvParams,
    encoding: Encoding,
    users: User,
) -> tuple[Transition, StepInfo, EnvState]:
    """Plays one episode per user in one slot, sampling actions.

    Args:
      encoding: the slot, encoded with these parameters.

    Returns:
      Transitions and what happened in each, axes [steps, users, ...]; the last states, axes [users, ...].
    """
    step_all = jax.vmap(lambda state, action: step(key, state, action, slot))

    def all_users(carry, now):
        (observation, state), (place, key_step) = carry, now
        decided = decide(policy, params, encoding.at(place), observation)
        action, log_prob = sample_action(key_step, decided)
        next_observation, next_state, reward, terminated, truncated, info = step_all(state, action)
        played = (
            observation,
            action,
            log_prob,
            decided.decision.value,
            reward,
            terminated,
            truncated,
            ~state.terminated,
        )
        return (next_observation, next_state), (played, info)

    start = jax.vmap(lambda user: reset(key, slot, user))(users)
    steps = jnp.arange(slot.num_hops), jax.random.split(key, slot.num_hops)
    (_, last), (played, info) = jax.lax.scan(all_users, start, steps)
    observation, action, log_prob, value, reward, terminated, truncated, alive = played
    next_value = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])  # every episode ends by itself
    transitions = Transition(
        observation, action, log_prob, value, next_value, reward, terminated, truncated, alive
    )
    return transitions, info, last


def decide(policy: Policy, params: Params, view: View, observations: Observation) -> Decided:
    """What a policy says to many users at the same place of the request."""
    decision = jax.vmap(partial(policy.decode, params, view))(observations)
    return Decided(policy.elam_logits, view, decision, observations)


def _spread(tree: PyTree, mesh: Mesh | None, axis: int) -> PyTree:
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, placement(mesh, axis))


def _copied(tree: PyTree, mesh: Mesh | None) -> PyTree:
    return tree if mesh is None else jax.lax.with_sharding_constraint(tree, placement(mesh))


def collect_in_turn(
    play: Callable[..., tuple[Transition, PyTree, PyTree]],
    in_context: InContext,
    rounds: int,
    key: Key[Array, ""],
    slot: PyTree,
    users: User,
) -> tuple[Transition, PyTree, PyTree]:
    """Plays one episode per user as `play` does, in queues of `rounds` users, of whom each meets the queue's memory.

    Args:
      play: `(key, slot, users)` to what `collect_episodes` returns.

    Returns:
      The same for all users, in their order.
    """
    num_users = users.index.shape[0]
    lanes = num_users // rounds
    by_round = jax.tree.map(lambda leaf: leaf.reshape(rounds, lanes, *leaf.shape[1:]), users)

    def one_round(memories, drawn):
        key_round, asking = drawn
        played = play(key_round, slot, jax.vmap(in_context.adjust)(memories, asking))
        returns = jnp.sum(played[0].reward, axis=0)
        return jax.vmap(in_context.remember)(memories, asking, returns), played

    memories = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (lanes, *leaf.shape)), in_context.start())
    _, (batch, told, last) = jax.lax.scan(one_round, memories, (jax.random.split(key, rounds), by_round))

    def in_order(leaf):  # [rounds, steps, lanes, ...] to [steps, users, ...]
        moved = jnp.moveaxis(leaf, 0, 1)
        return moved.reshape(moved.shape[0], num_users, *moved.shape[3:])

    batch, told = jax.tree.map(in_order, (batch, told))
    return batch, told, jax.tree.map(lambda leaf: leaf.reshape(num_users, *leaf.shape[2:]), last)


def episode_metrics(
    batch: Transition, told: StepInfo, succeeded: Bool[Array, "slots users"], factors: ChainFactors
) -> dict[str, Array]:
    """Means over the episodes of an update; an episode's QoE is paid at its last step.

    `factor/...` are those of the chains that serve their request in finite time; latency in minutes.
    """
    kind = batch.reward.dtype
    worked = succeeded & jnp.isfinite(factors.latency)
    averages = {
        f"factor/{name}": weighted_mean(jnp.where(worked, values, 0.0), worked.astype(kind))
        for name, values in factors._asdict().items()
    }
    return {
        "episode/qoe": jnp.mean(jnp.sum(told.qoe, axis=1)),
        "episode/reward": jnp.mean(jnp.sum(batch.reward, axis=1)),
        "episode/fee": jnp.mean(jnp.sum(told.fee, axis=1)),
        "episode/success": jnp.mean(succeeded.astype(kind)),
        **averages,
    }
