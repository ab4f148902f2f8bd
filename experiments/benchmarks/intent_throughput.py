"""How fast intents are read from a file, beside sentence-transformers encoding the same prompts with the same model.

    python experiments/benchmarks/intent_throughput.py [--prompts 10000]
    python experiments/benchmarks/intent_throughput.py --memory      # replaces the memory in the results file

Both start warm. `lameta intent --file` does more than encode (it parses, picks the application, decodes four percents,
writes JSON); sentence-transformers sorts all prompts by length and encodes them 32 at a time. Rounds are interleaved in
one process. Peak memory is that of a process of its own that reads a file with the small E-LAM, a short one and then
one that is four times as long.
"""

import argparse
import io
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import RESULTS, report, write_results

from lameta_jax.cli.intent import AUTO, open_reader  # noqa: E402
from lameta_jax.cli.intent_file import translate_lines
from lameta_jax.elam.weights import find_minilm
from lameta_jax.intents.corpus import load_history

ROUNDS = 3
WARM_UP = 400  # prompts of all lengths, with which everything is compiled


def prompts(count: int) -> list[str]:
    """Prompts of the history, of the lengths that people write; each is made another by a number."""
    texts = [record.prompt for record in load_history()]
    order = np.random.default_rng(0).permutation(count)
    return [f"{texts[place % len(texts)]} {place}" for place in order]


def lines_of(texts: list[str]) -> io.BytesIO:
    lines = [json.dumps({"id": place, "prompt": text}) for place, text in enumerate(texts)]
    return io.BytesIO("\n".join(lines).encode())


def read_file(texts: list[str], size: str) -> float:
    reader, source = open_reader(size, AUTO, None), lines_of(texts)
    started = time.perf_counter()
    found = [json.dumps(result) for result in translate_lines(source, reader, AUTO)]
    assert len(found) == len(texts)
    return time.perf_counter() - started


def peak_megabytes(count: int) -> float:
    """Peak memory of a program that reads so many lines from a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prompts.jsonl"
        path.write_bytes(lines_of(prompts(count)).getvalue())
        program = (
            "from lameta_jax.cli import main;"
            f"main(['intent', '--elam', 'small', '--file', {str(path)!r}, '--out', {str(path) + '.out'!r}]);"
            # ru_maxrss would count what this program holds, of which the other one is a fork
            "print(next(int(x.split()[1]) / 1024 for x in open('/proc/self/status') if x.startswith('VmHWM')))"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(run.stdout.splitlines()[-1])


def peaks(count: int) -> dict[str, float]:
    return {str(number): peak_megabytes(number) for number in (count // 4, count)}


def replace_memory(count: int) -> None:
    """Measure the memory again, for the results that there are."""
    path = RESULTS / "intent_throughput.json"
    results = json.loads(path.read_text())
    results["peak_megabytes"] = peaks(count)
    results["made_by"]["command"] += "; then with --memory"
    path.write_text(json.dumps(results, indent=1) + "\n")
    report(f"wrote {path}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=10_000)
    parser.add_argument("--memory", action="store_true", help="measure nothing but the memory")
    arguments, started = parser.parse_args(), time.time()
    count = arguments.prompts
    if arguments.memory:
        replace_memory(count)
        return
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(find_minilm()), device="cpu")
    texts = prompts(count)
    ways = {
        "lameta intent, large": lambda texts: read_file(texts, "large"),
        "sentence-transformers": lambda texts: timed(lambda: model.encode(texts)),
        "lameta intent, small": lambda texts: read_file(texts, "small"),
    }
    first = {name: way(texts[:WARM_UP]) for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _, (name, way) in itertools.product(range(ROUNDS), ways.items()):
        seconds[name].append(way(texts))
        report(f"{name}: {seconds[name][-1]:.1f} s for {count} prompts")
    median = {name: statistics.median(values) for name, values in seconds.items()}
    results = {
        "prompts": count,
        "warm_up": {"prompts": WARM_UP, "seconds_with_compilation": first},
        "seconds": seconds,
        "prompts_per_second": {name: count / value for name, value in median.items()},
        "times_as_fast_as_sentence_transformers": {
            name: median["sentence-transformers"] / value for name, value in median.items()
        },
        "peak_megabytes": peaks(count),
    }
    report(f"wrote {write_results('intent_throughput', results, seeds=[0], started=started)}")


def timed(run) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
