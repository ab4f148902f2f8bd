"""`lameta optimum`: the best chains of a network for a preference, by exact search in float64."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from lameta_jax.cli.common import (
    BadInputError,
    has_prices,
    read_network,
    read_preference,
    read_price_weight,
    say,
    shown_chain,
    write_json,
    write_table,
)
from lameta_jax.network.chains import count_walks
from lameta_jax.network.network import Scenario
from lameta_jax.network.optimum import beam_search
from lameta_jax.network.optimum import optimum as search_optimum
from lameta_jax.network.qoe import chain_price
from lameta_jax.types import floats

MAX_CHAINS = 20_000_000  # minutes on two cores
MAX_TOP, MAX_WIDTH = 1000, 10_000


@dataclass(frozen=True, kw_only=True)
class OptimumConfig:
    """The best chains of a network for a preference, by exact search."""

    network: str  # network file (.yaml, .json, .graphml, .gml), or lameta-81, lameta-1k, lameta-10k
    preference: Annotated[str, tyro.conf.arg(metavar="C,B,L,P")]
    """weights of capability, information loss, latency and outage; they sum to 1"""
    top: int = 5  # how many chains: the best one and its alternatives
    qoe_form: Literal["power", "printed"] = "power"  # how the preference shapes QoE
    price_weight: float = 0.0  # QoE that a US$ costs; the agents' prices are in the network file
    beam: int = 0
    """search with a beam of this width instead, for networks with too many chains: one chain, which need not be the
    best, and a bound that no chain exceeds"""
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def optimum(config: OptimumConfig) -> None:
    """Print the best chains."""
    if not 1 <= config.top <= MAX_TOP:
        raise BadInputError(f"--top: {config.top} must be from 1 to {MAX_TOP}")
    if not 0 <= config.beam <= MAX_WIDTH:
        raise BadInputError(f"--beam: {config.beam} must be from 1 to {MAX_WIDTH}, or 0 for exact search")
    with jax.enable_x64(True):
        preference = read_preference(config.preference)
        scenario = read_network(config.network)
        weight = read_price_weight(config.price_weight, scenario)
        if config.beam:
            result = approximate_optimum(scenario, preference, config.qoe_form, config.beam, weight)
        else:
            chains = count_walks(scenario.network, scenario.request)
            if chains > MAX_CHAINS:
                raise BadInputError(
                    f"{config.network}: up to {chains:.2g} chains are too many for exact search (at most "
                    f"{MAX_CHAINS:.0e}); --beam 64 finds a good one and a bound on the best"
                )
            result = exact_optimum(scenario, preference, config.qoe_form, config.top, weight)
    if result["chain"] is None:
        say(f"{config.network}: no chain found that meets (18b) and (18c)")
    if config.json:
        write_json(result)
    elif result["chain"] is not None:
        _write_people(result)


def exact_optimum(
    scenario: Scenario,
    preference: Sequence[float],
    form: str = "power",
    top: int = 1,
    price_weight: float = 0.0,
) -> dict[str, Any]:
    """The best chain and the next `top` - 1, as the JSON output holds them; chain None where none is feasible."""
    preferences = floats([preference])
    best = search_optimum(
        scenario.network, scenario.request, preferences, top=top, form=form, price_weight=price_weight
    )
    found = [
        {"chain": _ids(scenario, agents), "subjective_qoe": float(qoe)} | _price(scenario, agents)
        for agents, qoe in zip(np.asarray(best.agents)[0], np.asarray(best.qoe)[0], strict=True)
        if agents[0] >= 0
    ]
    first = found[0] if found else {"chain": None, "subjective_qoe": None}
    return first | {
        "alternatives": found[1:],
        "evaluated": best.evaluated,
        "feasible": best.feasible,
        "exact": True,
    }


def approximate_optimum(
    scenario: Scenario,
    preference: Sequence[float],
    form: str = "power",
    width: int = 64,
    price_weight: float = 0.0,
) -> dict[str, Any]:
    """The best chain that a beam finds, and a bound on the best there is; chain None where it finds none."""
    preferences = floats([preference])
    best = beam_search(
        scenario.network,
        scenario.request,
        preferences,
        width=width,
        form=form,
        failure_qoe=float("nan"),
        price_weight=price_weight,
    )
    found = int(best.agents[0, 0]) >= 0
    return {
        "chain": _ids(scenario, np.asarray(best.agents[0])) if found else None,
        "subjective_qoe": float(best.qoe[0]) if found else None,
        "alternatives": [],
        "evaluated": None,
        "exact": False,
        "bound": float(best.bound[0]),
        **(_price(scenario, np.asarray(best.agents[0])) if found else {}),
    }


def _price(scenario: Scenario, agents: np.ndarray) -> dict[str, float]:
    """The price of a chain, if any agent of the network has one."""
    return (
        {"price": float(chain_price(scenario.network, jnp.asarray(agents)))} if has_prices(scenario) else {}
    )


def _ids(scenario: Scenario, agents: np.ndarray) -> list[str]:
    return [scenario.agent_ids[agent] for agent in agents]


def _write_people(result: dict[str, Any]) -> None:
    ranked = [result, *result["alternatives"]]
    price = ("price (US$)",) if "price" in result else ()
    rows = [("rank", "subjective QoE", *price, "chain")]
    for rank, entry in enumerate(ranked, start=1):
        price = (f"{entry['price']:.6g}",) if "price" in entry else ()
        rows.append((str(rank), f"{entry['subjective_qoe']:.6g}", *price, shown_chain(entry["chain"])))
    write_table(rows)
    if result["exact"]:
        print(f"{result['evaluated']} chains, {result['feasible']} of them feasible")
    else:
        print(f"found by beam search; no chain exceeds {result['bound']:.6g}")
