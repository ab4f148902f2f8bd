"""Environment steps per second under random legal actions: ours, the same process in Gymnasium, gymnax CartPole.

    lameta bench env                              # or: python experiments/benchmarks/bench_env.py

lameta-81, users of any preferences. Ours and gymnax: one compiled program per number of parallel environments, which
start anew by themselves; all observations are computed and stored. Gymnasium: `numpy_env.py` stepped by a plain loop,
which is what the aim is about, and SyncVectorEnv of it. CartPole is a yardstick: its state is four numbers, an
observation here is five rows of 81. Mean rewards per step must agree, or nothing is written.
"""

from functools import partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from benchmark import OURS, Contender, comparison, fastest, finish, measured, options
from jax.sharding import PartitionSpec
from numpy_env import NumpyChainEnv, numpy_network
from stepping import chain_steps, gymnax_steps, numpy_steps, vector_steps

from lameta_jax.composition.env import make_env_params
from lameta_jax.composition.users import draw_users
from lameta_jax.network.scenarios import load_named
from lameta_jax.scale.cores import cores_as_devices
from lameta_jax.scale.distributed import device_mesh
from lameta_jax.scale.timing import compiled

cores_as_devices()
DEVICES = jax.device_count()
AIM = 500
SCENARIO = load_named("lameta-81")
USERS = draw_users(jax.random.key(0), jnp.ones(4), 4096)
NUMPY, CLASSIC = "Gymnasium, NumPy", "gymnax CartPole-v1"
BATCHES = {"cpu": (16, 64, 256, 1024, 4096), "gpu": (1024, 4096, 16384, 65536, 262144)}


def main() -> None:
    given = options(__doc__)
    device = jax.default_backend()
    batches = BATCHES.get(device, BATCHES["gpu"])
    if given.quick:
        batches = batches[1:3]
    repeats, steps = (2, 16_384) if given.quick else (7, 262_144 if device == "cpu" else 1 << 25)
    peers = gymnasium_contenders(2_000 if given.quick else 10_000)
    mine = {batch: ours(batch, max(16, steps // batch)) for batch in batches}
    classic = {batch: yardstick(batch, max(16, steps // batch)) for batch in batches}
    contenders = {label_of(OURS, batch): one for batch, one in mine.items()} | peers
    if DEVICES > 1:
        shared = {batch: ours(batch, max(16, steps // batch), DEVICES) for batch in batches}
        contenders |= {spread_label(batch): one for batch, one in shared.items()}
    contenders |= {label_of(CLASSIC, batch): one for batch, one in classic.items()}
    check_rewards(mine[batches[0]], peers[NUMPY])
    rows = measured(contenders, repeats)
    best = fastest(rows, *(label for label in rows if label.startswith(OURS)))
    best_classic = fastest(rows, *(label_of(CLASSIC, batch) for batch in batches))
    best_vector = fastest(rows, *(label for label in peers if label != NUMPY))
    unit = "environment steps"
    comparisons = [
        comparison("environment steps", rows, best, NUMPY, unit=unit, aim=AIM),
        comparison("environment steps, beside SyncVectorEnv", rows, best, best_vector, unit=unit),
        comparison("environment steps, beside CartPole", rows, best, best_classic, unit=unit),
    ]
    finish("env", comparisons, {"batches": list(batches), "contenders": rows}, given, seeds=[0])


def label_of(name: str, batch: int) -> str:
    return f"{name}, {batch} at once"


def spread_label(batch: int) -> str:
    return f"{OURS}, {batch} at once on each of {DEVICES} devices"


def ours(batch: int, steps: int, devices: int = 1) -> Contender:
    """`batch` environments at once on each device."""
    run, params = chain_steps(batch, steps), make_env_params(SCENARIO)
    if devices == 1:
        arguments, work = (params, USERS, jax.random.key(1)), run
    else:
        arguments, own = (
            (params, USERS, jax.random.split(jax.random.key(1), devices)),
            PartitionSpec("devices"),
        )
        work = jax.shard_map(
            lambda params, users, keys: run(params, users, keys[0]),
            mesh=device_mesh(devices),
            in_specs=(PartitionSpec(), PartitionSpec(), own),
            out_specs=own,
            check_vma=False,
        )
    program = compiled(jax.jit(work), *arguments)
    return Contender(lambda: program.call(*arguments), devices * batch * steps, program)


def yardstick(batch: int, steps: int) -> Contender:
    key = jax.random.key(1)
    program = compiled(jax.jit(gymnax_steps("CartPole-v1", batch, steps)), key)
    return Contender(lambda: program.call(key), batch * steps, program)


def gymnasium_contenders(steps: int) -> dict[str, Contender]:
    network = numpy_network(SCENARIO)
    make = partial(NumpyChainEnv, network, np.asarray(USERS.preference), np.asarray(USERS.translated))
    found = {NUMPY: Contender(partial(numpy_steps, make(), steps), steps)}
    for count in (8, 64):
        envs = gymnasium.vector.SyncVectorEnv(
            [make] * count, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP
        )
        call = partial(vector_steps, envs, steps // count)
        found[f"SyncVectorEnv of {count}"] = Contender(call, steps // count * count)
    return found


def check_rewards(mine: Contender, peer: Contender) -> None:
    """Both serve users of one pool by random legal actions, so that a step pays the same on average."""
    paid = float(jnp.sum(mine.call()[2])) / mine.amount
    expected = peer.call() / peer.amount
    if abs(paid - expected) > 0.05:
        raise SystemExit(f"mean rewards of a step disagree: {paid:.4f} and {expected:.4f}")


if __name__ == "__main__":
    main()
