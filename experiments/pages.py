"""What the pages of findings are written with: results files, tables, intervals in words."""

import json
from collections.abc import Callable, Sequence

from common import RESULTS


def load(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text())


def made_by(results: dict) -> str:
    made = results["made_by"]
    versions = ", ".join(f"{name} {made['versions'][name]}" for name in ("python", "jax", "flax", "optax"))
    seeds = made["seeds"]
    shown = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    return f"`{made['command']}`, {shown}, {versions}, {made['device']}, {made['date']}"


def shown(interval: dict, digits: int = 4) -> str:
    return f"{interval['mean']:.{digits}f} ({interval['low']:.{digits}f} to {interval['high']:.{digits}f})"


def joined(head: str, sections: Sequence[Callable[[], str]]) -> str:
    """A page: what it is, then its sections."""
    return "\n\n".join([head, *(section() for section in sections)]) + "\n"


def verdict(interval: dict) -> str:
    if interval["high"] < 0:
        return "below"
    return "above" if interval["low"] > 0 else "no difference seen"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def share(row: dict, digits: int = 3) -> str:
    """A share of the optimum, with its interval where there are seeds."""
    return shown(row["share"], digits) if isinstance(row["share"], dict) else f"{row['share']:.{digits}f}"


def number(row: dict, name: str) -> str:
    value = row[name]
    return f"{value['mean'] if isinstance(value, dict) else value:.3f}"
