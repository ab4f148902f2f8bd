"""Writes experiments/bench.md, how fast this package is, from the results files of the benchmarks alone.

python experiments/bench_page.py
"""

from pathlib import Path
from typing import Any

from bench_page_missed import missed
from pages import joined, load, table

from lameta_jax.cli.bench import is_met

PAGE = Path(__file__).parent / "bench.md"
KINDS = ("first", "later", "later_without_bytecode")
SUBJECTS = ("qoe", "env", "ppo", "queue", "dpo", "man", "sweep")


def page() -> str:
    """The page as text."""
    head = (
        "# How fast it is, beside others and beside the machine\n\n"
        "Written by `python experiments/bench_page.py` from the results files; `lameta bench` "
        "measures all of it anew, "
        "`lameta bench SUBJECT` one part. Contenders take turns in one process and do the same work, "
        "which is checked "
        "first; ratios are of medians of steady time, compiling is given apart."
    )
    return joined(head, (peers, profile, sweeps, growth, ceilings, startup))


def made_by(results: dict[str, Any]) -> str:
    made = results["made_by"]
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("python", "jax", "numpy"))
    cores = f", {made['cores']} cores" if "cores" in made else ""
    return f"Made by `{made['command']}`, {versions}, {made['device']}{cores}, {made['date']}."


def comparisons() -> list[dict[str, Any]]:
    """Everything that was compared, with the subject that it belongs to."""
    return [
        one | {"subject": subject} for subject in SUBJECTS for one in load(f"bench_{subject}")["comparisons"]
    ]


def peers() -> str:
    rows = []
    for one in comparisons():
        aim = "" if one["aim"] is None else f"{one['aim']:g}"
        met = "" if one["aim"] is None else ("yes" if is_met(one) else "**no**")
        ratio = f"{'at least ' if one.get('lower_bound') else ''}{one['ratio']:.3g}"
        rows.append([one["subject"], one["what"], one["ours"], one["peer"], ratio, aim, met])
    sources = "\n".join(f"- {subject}: {made_by(load(f'bench_{subject}'))}" for subject in SUBJECTS)
    return "\n\n".join(
        [
            "## Beside other libraries",
            table(["subject", "what", "ours", "peer", "times as fast", "aim", "met"], rows),
            missed(),
            sources,
        ]
    )


def sweeps() -> str:
    results = load("bench_sweep")
    found, sizes = results["sweep"], results["sizes"]
    rows = [
        [label, f"{1 / row['per_second']:.3f} s"]
        for label, row in results["contenders"].items()
        if label != "the sweep"
    ]
    chosen = ", ".join(f"{count} by {width}" for width, count in found["runs_by_width"].items())
    return "\n\n".join(
        [
            "## Many trainings",
            f"{sizes['runs']} trainings of the pointer policy on lameta-81, {sizes['updates']} updates of "
            f"{sizes['users']} episodes. Seconds per training, contenders in turn:",
            table(["", "per training"], rows),
            f"`sweep` measures this by itself as it goes and took {found['seconds_per_run']:.3f} s per training "
            f"(runs by how many at once: {chosen}), and {found['compile_seconds']:.0f} s in all to compile; "
            "its largest program reserves "
            f"{found['program_bytes'] / 1e6:.0f} MB of a budget of {found['budget_bytes'] / 1e9:.0f} GB.",
            made_by(results),
        ]
    )


def growth() -> str:
    results = load("bench_scaling")
    rows = []
    for one in results["series"]:
        sizes = list(one["sizes"].items())
        ((kind, found),) = one["exponent"].items()
        (small, least), (large, most) = sizes[0], sizes[-1]
        memory = [row.get("temporary_bytes") for _, row in (sizes[0], sizes[-1])]
        shown = f"{memory[0] / 1e6:.2g} to {memory[1] / 1e6:.3g} MB" if all(memory) else ""
        rows.append(
            [
                one["what"],
                f"{one['grows with']}, {int(small):,} to {int(large):,}",
                f"{1e6 * least['seconds_per_unit']:.3g} to {1e6 * most['seconds_per_unit']:.3g} us "
                f"per {one['unit']}",
                f"{kind} {found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f})",
                shown,
            ]
        )
    return "\n\n".join(
        [
            "## As problems grow",
            "![Time and memory by size](results/bench_scaling.png)",
            "The slope is that of log time per call against log size, with a 95% interval over turns: 1 is "
            "proportional, less means that something is shared. For longer chains it is the factor per agent more.",
            table(["", "grows", "time", "growth", "memory of the program"], rows),
            made_by(results),
        ]
    )


def ceilings() -> str:
    results = load("bench_scaling")
    found = results["roofline"]
    flops, copied = found["ceilings"]["flops_per_second"], found["ceilings"]["bytes_per_second"]
    rows = [
        [name, f"{row['flops_per_second'] / 1e9:.1f} GFLOP/s", f"{row['share_of_ceiling']:.0%}"]
        for name, row in found["programs"].items()
    ]
    steps = found["stepping"]
    rows.append(
        [
            f"steps of {steps['environments']:,} environments",
            f"{steps['bytes_per_second'] / 1e9:.2f} GB/s",
            f"{steps['share_of_ceiling']:.0%}",
        ]
    )
    return "\n\n".join(
        [
            "## Beside the machine",
            f"Its fastest matrix product does {flops / 1e9:.0f} GFLOP/s, a copy moves {copied / 1e9:.1f} GB/s. "
            "Programs by the matrix products that they need (elementwise work not counted), stepping by the "
            "observations and states that it must read and write (which caches may hold, unlike what is copied):",
            table(["", "achieved", "share of the ceiling"], rows),
        ]
    )


def profile() -> str:
    results = load("bench_profile")
    blocks = [
        "## Where the time goes",
        'A part is timed as a program of its own; parts of parts begin with "of".',
    ]
    for name, found in results["steps"].items():
        rows = [
            [label, str(part["times"]), f"{1e3 * part['seconds']:.1f} ms", f"{part['share']:.0%}"]
            for label, part in found["parts"].items()
        ]
        told = [f"{label}: {ratio:.2f} times the time" for label, ratio in found["variants"].items()]
        blocks.append(
            f"**{name[0].upper()}{name[1:]}**, {1e3 * found['seconds']['median']:.1f} ms. {'; '.join(told)}"
        )
        blocks.append(table(["part", "times", "time", "share"], rows))
    return "\n\n".join([*blocks, made_by(results)])


def startup() -> str:
    results = load("startup")
    rows = [
        [f"`lameta {name}`", *(f"{times[kind]['median']:.1f} s" for kind in KINDS)]
        for name, times in results["seconds"].items()
    ]
    return "\n\n".join(
        [
            "## Starting a command",
            "The first call compiles its programs, later ones find them in the cache. Python keeps "
            "bytecode of what it "
            "imports unless it is told not to, as in some containers. Medians of "
            f"{results['repeats']} calls, on one core:",
            table(["", "first call", "later calls", "later, without bytecode"], rows),
            made_by(results),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
