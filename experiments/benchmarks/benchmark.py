"""What the benchmarks share: their options, rates of contenders, comparisons with an aim, the results file."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, report, write_results  # noqa: E402 the folder above

from lameta_jax.scale.timing import Program, Timing, interleaved  # noqa: E402

OURS = "lameta_jax"


class Contender(NamedTuple):
    """A call, how much work it does, and what compiling it took (None: nothing is compiled)."""

    call: Callable[[], Any]
    amount: float  # of work in one call, such as environment steps
    program: Program | None = None


def options(description: str | None) -> argparse.Namespace:
    """`--quick`, `--out`, and the moment at which the program began."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds, to see that it works: not to be quoted"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results file")
    given = parser.parse_args()
    given.started = time.time()
    return given


def measured(contenders: Mapping[str, Contender], repeats: int, warmup: int = 1) -> dict[str, dict[str, Any]]:
    """Times of contenders that take turns, and how much each does per second, by the median."""
    calls = {label: contender.call for label, contender in contenders.items()}
    times = interleaved(calls, repeats, warmup=warmup)
    return {label: row(times[label], contender) for label, contender in contenders.items()}


def row(timing: Timing, contender: Contender) -> dict[str, Any]:
    """What the results file says of one contender."""
    found = {"per_second": contender.amount / timing.median, "amount": contender.amount}
    found |= {"seconds": timing._asdict()}
    if contender.program is not None:
        found["compile_seconds"] = contender.program.lower_seconds + contender.program.compile_seconds
        found["temporary_bytes"] = contender.program.temporary_bytes
    return found


def comparison(
    what: str,
    rows: Mapping[str, dict[str, Any]],
    ours: str,
    peer: str,
    *,
    unit: str,
    aim: float | None = None,
) -> dict[str, Any]:
    """One line of the table of `lameta bench`: the ratio of what both do per second, by their medians."""
    ratio = rows[ours]["per_second"] / rows[peer]["per_second"]
    report(f"{what}: {ours} {ratio:.3g} times as fast as {peer}" + (f" (aim {aim:g})" if aim else ""))
    return {
        "what": what,
        "ours": ours,
        "peer": peer,
        "unit": unit,
        "ours_per_second": rows[ours]["per_second"],
        "peer_per_second": rows[peer]["per_second"],
        "ratio": ratio,
        "aim": aim,
    }


def fastest(rows: Mapping[str, dict[str, Any]], *labels: str) -> str:
    """The label of the contender that does most per second."""
    return max(labels, key=lambda label: rows[label]["per_second"])


def finish(
    subject: str, comparisons: list[dict], results: dict, given: argparse.Namespace, seeds: list[int]
) -> None:
    """Write `bench_<subject>.json` and say where it is."""
    content = {"quick": given.quick, "comparisons": comparisons, **results}
    path = write_results(f"bench_{subject}", content, seeds=seeds, started=given.started, folder=given.out)
    print(json.dumps({"results": str(path)}))
