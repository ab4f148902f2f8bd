"""The harness of the benchmarks, with a clock that moves only when a contender says so."""

import os
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lameta_jax.scale.timing import (
    compiled,
    interleaved,
    machine,
    peak_memory,
    ratio_of_medians,
    summarised,
)


class Clock:
    """Stands still but for `spend`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


class Result:
    """Something that is there only after it has been waited for, which takes a while."""

    def __init__(self, clock, seconds):
        self.clock, self.seconds, self.waits = clock, seconds, 0

    def block_until_ready(self):
        self.clock.spend(0.0 if self.waits else self.seconds)
        self.waits += 1
        return self


def test_calls_of_known_cost():
    clock, costs = Clock(), iter([50.0, 3.0, 1.0, 2.0, 9.0])  # the first one warms up
    times = interleaved(
        {"varying": lambda: clock.spend(next(costs)), "steady": lambda: clock.spend(0.5)},
        repeats=4,
        clock=clock,
    )
    assert times["varying"].values == (3.0, 1.0, 2.0, 9.0)
    assert times["varying"][:3] == (2.5, 1.0, 9.0)
    assert times["varying"][3:5] == tuple(np.quantile([3.0, 1.0, 2.0, 9.0], [0.25, 0.75]))
    assert times["steady"][:5] == (0.5,) * 5
    assert ratio_of_medians(times, "varying", "steady") == 5.0
    assert ratio_of_medians(times, "steady", "varying") == 0.2


@pytest.mark.parametrize("warmup", [0, 1, 2])
def test_contenders_take_turns_and_warm_up(warmup):
    clock, calls = Clock(), []

    def contender(name, seconds):
        def call():
            calls.append(name)
            clock.spend(seconds if len(calls) > 3 * warmup else 1000.0)

        return call

    contenders = {name: contender(name, cost) for name, cost in (("b", 1.0), ("a", 2.0), ("c", 4.0))}
    times = interleaved(contenders, repeats=3, warmup=warmup, clock=clock)
    assert calls == ["b", "a", "c"] * (warmup + 3)
    assert {name: timing.values for name, timing in times.items()} == {
        "b": (1.0,) * 3,
        "a": (2.0,) * 3,
        "c": (4.0,) * 3,
    }


def test_a_call_counts_until_its_result_is_there():
    clock = Clock()
    made = [Result(clock, 0.25 * (number + 1)) for number in range(6)]
    left = iter(made)
    times = interleaved({"queued": lambda: {"a": next(left), "b": [next(left)]}}, repeats=2, clock=clock)
    assert times["queued"].values == (0.75 + 1.0, 1.25 + 1.5)
    assert [result.waits for result in made] == [1] * 6


def test_compiling_is_timed_apart_from_lowering_and_calls():
    clock = Clock()

    class Executable:
        def __call__(self, value):
            return [Result(clock, value)]

        def memory_analysis(self):
            return None

    class Lowered:
        def compile(self):
            clock.spend(7.0)
            return Executable()

    class Jitted:
        def lower(self, value):
            assert value == 2.0
            clock.spend(3.0)
            return Lowered()

    program = compiled(Jitted(), 2.0, clock=clock)
    assert program[1:] == (3.0, 7.0, None)
    (result,) = program.call(5.0)
    assert result.waits == 1
    assert interleaved({"program": lambda: program.call(5.0)}, 1, clock=clock)["program"].median == 5.0


def test_a_real_program_computes_and_says_what_it_reserves():
    def matrices(value):  # the first product must be held to make the second
        return jnp.sum(jnp.sin(value @ value) @ value)

    value = jnp.asarray(np.random.default_rng(0).normal(size=(64, 64)), dtype=jnp.float32)
    program = compiled(jax.jit(matrices), value)
    exact = np.asarray(value, np.float64)
    assert float(program.call(value)) == pytest.approx((np.sin(exact @ exact) @ exact).sum(), rel=1e-3)
    assert program.temporary_bytes is not None and program.temporary_bytes >= 64 * 64 * 4


def test_one_value_has_no_spread():
    assert summarised([0.3]) == (0.3, 0.3, 0.3, 0.3, 0.3, (0.3,))


@pytest.mark.parametrize("counts", [{"repeats": 0}, {"repeats": 1, "warmup": -1}])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="must be at least 1 and warmup"):
        interleaved({}, **counts)


def test_what_it_ran_on():
    found = machine(("numpy",))
    assert found["versions"]["numpy"] == metadata.version("numpy") == np.__version__
    assert found["device"] == jax.default_backend() and found["device_kind"]
    assert 1 <= found["cores"] <= (os.cpu_count() or 1)


def test_peak_memory_is_that_of_the_kernel():
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("only Linux has /proc/self/status to compare with")
    (kilobytes,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert peak_memory() == pytest.approx(1024 * int(kilobytes), rel=0.02)
