"""How time and memory grow: with agents, users, runs of a sweep, and the length of chains; and how near the ceilings.

    lameta bench scaling                          # or: python experiments/benchmarks/bench_scaling.py

All sizes of one series take turns; times are steady, compiling apart. Exponents are slopes of log time per call against
log size, with an interval over turns: 1 is proportional, below 1 something is shared. Where chains grow, the factor of
time per agent more is given instead. Ceilings are measured here too: the fastest of some matrix products, and copying
an array that no cache holds. Achieved rates count matrix products alone, see `scale/flops.py`.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from bench_man import batches, initial, second_order
from benchmark import finish, options, report
from common import ROOT
from scaling_figure import scaling_figure
from stepping import chain_steps

from lameta_jax.composition.compose import composer, of_types
from lameta_jax.composition.env import EnvConfig, make_env_params
from lameta_jax.composition.learner import LearnerConfig
from lameta_jax.composition.policy import PolicyConfig, make_policy
from lameta_jax.composition.policy_files import load_policy
from lameta_jax.composition.ppo import PPOHyperparameters, make_train
from lameta_jax.composition.rollout import EpisodeConfig, composition_task
from lameta_jax.meta.power_law import slope_interval
from lameta_jax.network.network import Scenario
from lameta_jax.network.optimum import beam_search, optimum
from lameta_jax.network.scenarios import ScenarioConfig, draw_scenario, load_named
from lameta_jax.pipeline.own_policy import any_users
from lameta_jax.scale.chunks import vectorised
from lameta_jax.scale.flops import matmul_flops
from lameta_jax.scale.timing import Program, compiled, interleaved
from lameta_jax.statistics import mean_interval

RULES = EnvConfig(mask_types=True)
POLICY = load_policy(ROOT / "lameta_jax" / "data" / "policies" / "pointer.safetensors")
DEGREE, STEPS, SOME = (
    20.0,
    32,
    64,
)  # links per agent; environment steps in a call; users where users do not grow
FULL = {
    "agents": (81, 250, 1_000, 3_000, 10_000),
    "users": (1, 16, 256, 4_096, 65_536),
    "runs": (1, 4, 16, 64, 256, 1_024, 4_096),
    "agents of a chain": (2, 3, 4, 5, 6, 7, 8),
}
QUICK = {name: sizes[:2] for name, sizes in FULL.items()}


class Sized(NamedTuple):
    """A call of some size."""

    call: Callable[[], Any]
    units: int  # that its time is divided by
    program: Program | None = None  # None: what is called compiles several, or works on the host too


def main() -> None:
    given = options(__doc__)
    repeats, sizes = (3, QUICK) if given.quick else (7, FULL)
    series = []
    for what, kind, unit, build in SERIES:
        calls = {size: build(size) for size in sizes[kind]}
        series.append({"what": what, "grows with": kind, "unit": unit} | grown(calls, kind, repeats))
        report(f"{what}, by {kind}: {series[-1]['exponent']}")
    results = {"series": series, "roofline": roofline(repeats)}
    scaling_figure(series, given.out / "bench_scaling.png")
    finish("scaling", [], results, given, seeds=[0])


def grown(calls: dict[int, Sized], kind: str, repeats: int) -> dict[str, Any]:
    """Times of all sizes, and how they grow."""
    times = interleaved({str(size): one.call for size, one in calls.items()}, repeats)
    rows = {}
    for size, one in calls.items():
        timing = times[str(size)]
        rows[str(size)] = {"seconds": timing._asdict(), "seconds_per_unit": timing.median / one.units}
        if one.program is not None:
            rows[str(size)] |= {
                "compile_seconds": one.program.lower_seconds + one.program.compile_seconds,
                "temporary_bytes": one.program.temporary_bytes,
            }
    turns = np.array([times[str(size)].values for size in calls]).T  # [turns, sizes]
    scale = np.array(list(calls), float)
    if kind == "agents of a chain":
        slopes = mean_interval(jnp.asarray([np.polyfit(scale, np.log(turn), 1)[0] for turn in turns]))
        growth = {
            "factor per agent": {name: float(jnp.exp(value)) for name, value in slopes._asdict().items()}
        }
    else:
        growth = {
            "slope": {
                n: float(v)
                for n, v in slope_interval(jnp.asarray(scale), jnp.asarray(turns))._asdict().items()
            }
        }
    return {"exponent": growth, "sizes": rows}


@cache
def scenario_of(agents: int) -> Scenario:
    return draw_scenario(ScenarioConfig(num_agents=agents, mean_degree=DEGREE))


@cache
def scenario_with(hops: int) -> Scenario:
    """81 agents of eight types, and a request for the first so many types."""
    request = tuple(f"type-{place + 1}" for place in range(hops))
    return draw_scenario(ScenarioConfig(num_types=8, request=request, max_latency=10.0))


def composing(scenario: Scenario, users: int) -> Sized:
    """Chains by the shipped policy."""
    params = make_env_params(scenario, RULES)
    asked = any_users(jax.random.key(0), users, POLICY.config.num_elams)
    given = (POLICY.params, params, jax.device_put(of_types(params)), asked)
    program = compiled(composer(POLICY.config), *given)
    return Sized(lambda: program.call(*given), users, program)


def stepping(scenario: Scenario, users: int) -> Sized:
    """Environments under random legal actions."""
    params = make_env_params(scenario, RULES)
    pool = any_users(jax.random.key(0), 4096, params.num_elams)
    arguments = (params, pool, jax.random.key(1))
    program = compiled(jax.jit(chain_steps(users, STEPS)), *arguments)
    return Sized(lambda: program.call(*arguments), users * STEPS, program)


def searching(search: Callable, scenario: Scenario, users: int) -> Sized:
    """Exact or beam search."""
    asked = any_users(jax.random.key(0), users, 1).preference
    return Sized(lambda: search(scenario.network, scenario.request, asked), users)


def training(runs: int) -> Sized:
    """One PPO update of small policies, four episodes each."""
    params = make_env_params(load_named("lameta-81"), RULES)
    policy = make_policy(PolicyConfig(width=16, context_width=16, lookahead=0))
    task = composition_task(policy, params, EpisodeConfig(users_per_slot=4))
    trainer = make_train(LearnerConfig(num_updates=1), task)
    pool = any_users(jax.random.key(0), 256, params.num_elams)

    def train(settings, key):
        numbers = PPOHyperparameters(learning_rate=settings["learning_rate"])
        state, metrics = trainer.train(numbers, pool, key)
        return {"score": metrics["episode/reward"][-1]}, state.params

    arguments = ({"learning_rate": jnp.geomspace(1e-4, 1e-2, runs)}, jnp.arange(runs, dtype=jnp.uint32))
    program = compiled(jax.jit(vectorised(train, {})), *arguments)
    return Sized(lambda: program.call(*arguments), runs, program)


SERIES = (
    ("chains by the policy", "agents", "user", lambda size: composing(scenario_of(size), SOME)),
    ("chains by beam search", "agents", "user", lambda size: searching(beam_search, scenario_of(size), SOME)),
    ("environment steps", "agents", "step", lambda size: stepping(scenario_of(size), SOME)),
    ("chains by the policy", "users", "user", lambda size: composing(load_named("lameta-81"), size)),
    ("exact optimum", "users", "user", lambda size: searching(optimum, load_named("lameta-81"), size)),
    ("environment steps", "users", "step", lambda size: stepping(load_named("lameta-81"), size)),
    ("one PPO update", "runs", "run", training),
    ("chains by the policy", "agents of a chain", "user", lambda size: composing(scenario_with(size), SOME)),
    (
        "exact optimum",
        "agents of a chain",
        "user",
        lambda size: searching(optimum, scenario_with(size), SOME),
    ),
    (
        "chains by beam search",
        "agents of a chain",
        "user",
        lambda size: searching(beam_search, scenario_with(size), SOME),
    ),
)


def roofline(repeats: int) -> dict[str, Any]:
    """Achieved rates of matrix products beside the fastest there is, and of stepping beside copying."""
    found = {"ceilings": ceilings(repeats), "programs": {}}
    params = make_env_params(load_named("lameta-81"), RULES)
    task = composition_task(make_policy(PolicyConfig()), params, EpisodeConfig(users_per_slot=256))
    trainer, numbers = make_train(LearnerConfig(num_updates=10), task), PPOHyperparameters()
    pool = any_users(jax.random.key(0), 4096, params.num_elams)
    state = trainer.init(numbers, pool, jax.random.key(0))
    asked = any_users(jax.random.key(0), 4096, POLICY.config.num_elams)
    works = {
        "a PPO update": (lambda numbers, state: trainer.advance(numbers, state, 1), (numbers, state)),
        "chains of 4,096 users": (composer(POLICY.config), (POLICY.params, params, of_types(params), asked)),
        "a second-order step of MAN": (second_order("patches", "mapped"), (initial(), *batches(30))),
    }
    for name, (work, arguments) in works.items():
        flops, program = matmul_flops(work, *arguments), compiled(jax.jit(work), *arguments)
        (timing,) = interleaved({name: partial(program.call, *arguments)}, repeats).values()
        rate = flops / timing.median
        found["programs"][name] = {
            "matmul_flops": flops,
            "seconds": timing._asdict(),
            "flops_per_second": rate,
            "share_of_ceiling": rate / found["ceilings"]["flops_per_second"],
        }
        report(f"{name}: {rate / 1e9:.1f} GFLOP/s")
    return found | {"stepping": stepped(found["ceilings"]["bytes_per_second"], repeats)}


def ceilings(repeats: int) -> dict[str, float]:
    """Of matrix products of some sizes the fastest, and bytes read and written by a copy of 256 MB."""
    sizes = (512, 1024, 2048, 4096)
    product = jax.jit(jnp.matmul)
    squares = {str(size): jnp.ones((size, size)) for size in sizes}
    calls = {name: partial(product, square, square) for name, square in squares.items()}
    times = interleaved(calls, repeats)
    long = jnp.zeros(64 * 2**20)
    (copy,) = interleaved({"copy": partial(jax.jit(lambda x: x + 1), long)}, repeats).values()
    return {
        "flops_per_second": max(2 * size**3 / times[str(size)].median for size in sizes),
        "bytes_per_second": 2 * long.nbytes / copy.median,
    }


def stepped(ceiling: float, repeats: int) -> dict[str, float]:
    """What a step must read and write at least: the observation and state of every environment."""
    batch = 4096
    one = stepping(load_named("lameta-81"), batch)
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(one.call()) if leaf.ndim)
    (timing,) = interleaved({"steps": one.call}, repeats).values()
    rate = 2 * size * STEPS / timing.median
    return {
        "environments": batch,
        "bytes_per_step_of_all": 2 * size,
        "bytes_per_second": rate,
        "share_of_ceiling": rate / ceiling,
    }


if __name__ == "__main__":
    main()
