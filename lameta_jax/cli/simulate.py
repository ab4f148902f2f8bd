"""`lameta simulate`: a chain followed request by request, beside what the formulas say."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import tyro

from lameta_jax.cli.common import (
    BadInputError,
    read_chain,
    read_network,
    say,
    shown_chain,
    write_json,
    write_table,
)
from lameta_jax.cli.simulated_chain import CONFIDENCE, run_chain
from lameta_jax.network.formula_error import relative_error
from lameta_jax.network.network import Scenario
from lameta_jax.network.outage import chain_outage, crash_probability, overload_probability, sustainable_rate
from lameta_jax.network.outage_simulation import simulate_outage
from lameta_jax.network.queueing import agent_latency
from lameta_jax.network.service_laws import SERVICE_LAWS, law_cv
from lameta_jax.statistics import Interval

MIN_CUSTOMERS, MAX_CUSTOMERS, MAX_SHARED = 1_000, 10**10, 5_000_000


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """Follow requests through a chain, and compare latency and outage with the formulas. Latency is in minutes."""

    network: str  # network file (.yaml, .json, .graphml, .gml), or lameta-81, lameta-1k, lameta-10k
    chain: str  # agent ids in order, separated by commas: a,b,c
    customers: int = 1_000_000  # requests to measure
    seed: int = 0  # of everything that is drawn
    law: str = "gamma"
    """law of the service times: exponential, deterministic, erlang, gamma, lognormal or hyperexponential; one for all
    agents, or one per agent, separated by commas"""
    also: Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(metavar="CHAIN")] = ()
    """a further chain, with as many requests per minute; agents in several chains serve them all; may be repeated"""
    repair: Annotated[float | None, tyro.conf.arg(metavar="MINUTES")] = None
    """agents break down while they work, for the share of time that the network file says, and take so many minutes
    on average to be repaired"""
    warn: float = 0.05  # warn where the formula is off by more than this share
    figure: Path | None = None  # draw the comparison into this file (.png, .svg, .pdf)
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def simulate(config: SimulateConfig) -> None:
    """Print simulated beside analytic values."""
    _check(config)
    scenario = read_network(config.network)
    chain = read_chain(config.chain, scenario)
    laws = _laws(config.law, len(chain))
    result = _result(config, scenario, chain, laws)
    for warning in result["warnings"]:
        say(warning)
    if config.figure is not None:
        from lameta_jax.cli.simulation_figure import save_latency_figure

        save_latency_figure(result, config.figure)
    if config.json:
        write_json(result)
    else:
        _write_people(result)


def _check(config: SimulateConfig) -> None:
    if not MIN_CUSTOMERS <= config.customers <= MAX_CUSTOMERS:
        raise BadInputError(f"--customers: {config.customers} must be {MIN_CUSTOMERS} to {MAX_CUSTOMERS}")
    if config.also and config.customers > MAX_SHARED:
        raise BadInputError(
            f"--customers: {config.customers} must be at most {MAX_SHARED} with --also, which keeps them all"
        )
    if config.also and config.repair is not None:
        raise BadInputError("--repair: cannot be combined with --also")
    if config.repair is not None and not 0 < config.repair < float("inf"):
        raise BadInputError(f"--repair: {config.repair} must be finite and > 0")
    if not 0 <= config.warn < float("inf"):
        raise BadInputError(f"--warn: {config.warn} must be finite and >= 0")
    if not 0 <= config.seed < 2**32:
        raise BadInputError(f"--seed: {config.seed} must be 0 to {2**32 - 1}")
    suffixes = (".png", ".svg", ".pdf")
    if config.figure is not None and config.figure.suffix not in suffixes:
        raise BadInputError(f"--figure: {config.figure} must end in one of {', '.join(suffixes)}")
    if config.figure is not None and not config.figure.absolute().parent.is_dir():
        raise BadInputError(f"--figure: {config.figure.parent} must be a folder")


def _laws(text: str, hops: int) -> tuple[str, ...]:
    laws = tuple(part.strip() for part in text.split(","))
    for law in laws:
        if law not in SERVICE_LAWS:
            raise BadInputError(f"--law: {law!r} must be one of {', '.join(SERVICE_LAWS)}")
    if len(laws) not in (1, hops):
        raise BadInputError(f"--law: {len(laws)} laws must be 1, or one for each of the {hops} agents")
    return laws * hops if len(laws) == 1 else laws


def _result(
    config: SimulateConfig, scenario: Scenario, chain: tuple[int, ...], laws: tuple[str, ...]
) -> dict[str, Any]:
    network, agents = scenario.network, jnp.asarray(chain)
    key_path, key_outage = jax.random.split(jax.random.key(config.seed))
    cv = jnp.stack([law_cv(law, network.service_cv[agent]) for law, agent in zip(laws, chain, strict=True)])
    load, found = run_chain(key_path, config, scenario, chain, laws)
    rates = network.service_rate[agents]
    # (4) by the requests that reach each agent: what is tested is the shape of their stream, not their number.
    formula = jnp.stack([agent_latency(*values) for values in zip(load, rates, cv, strict=True)])
    rows = []
    for hop, agent in enumerate(chain):
        row = {
            "id": scenario.agent_ids[agent],
            "law": laws[hop],
            "cv": float(cv[hop]),
            "arrival_rate": load[hop],
        }
        row["utilisation"] = float(load[hop] / rates[hop])
        pairs = {"waiting": formula[hop] - 1 / rates[hop], "latency": formula[hop]}
        row |= {name: _comparison(value, _at(found[name], hop)) for name, value in pairs.items()}
        rows.append(row | {name: _plain(_at(found[name], hop)) for name in found["per_agent"]})
    result = {
        "chain": [row["id"] for row in rows],
        "arrival_rate": float(network.arrival_rate),
        "customers": found["customers"],
        "replications": found["replications"],
        "seed": config.seed,
        "confidence": CONFIDENCE,
        "agents": rows,
        "end_to_end": _comparison(formula.sum(), found["end_to_end"]),
        "outage": _outage(key_outage, scenario, agents, config.customers),
    }
    if "undisturbed" in found:
        result["undisturbed"] = _plain(found["undisturbed"])
    return result | {"warnings": _warnings(config, scenario, chain, result, found["batch"])}


def _outage(key, scenario: Scenario, agents, customers: int) -> dict[str, Any]:
    """Outage within a minute, (14), and by as many simulated minutes as requests (up to 10^7)."""
    network = scenario.network
    rates = network.service_rate[agents]
    crash = crash_probability(network.outages[agents], network.observations[agents])
    overload = overload_probability(network.arrival_rate, sustainable_rate(rates))
    found = simulate_outage(key, network.arrival_rate, rates, crash, min(customers, 10**7), CONFIDENCE)
    return {"analytic": float(chain_outage(crash, overload)), **_plain(found.outage)}


def _at(interval: Interval, hop: int) -> Interval:
    return Interval(*(leaf[hop] for leaf in interval))


def _plain(interval: Interval) -> dict[str, float]:
    return {"simulated": float(interval.mean), "low": float(interval.low), "high": float(interval.high)}


def _comparison(formula, simulated: Interval) -> dict[str, float]:
    error = relative_error(jnp.asarray(formula), simulated)
    names = ("relative_error", "relative_error_low", "relative_error_high")
    return {
        "analytic": float(formula),
        **_plain(simulated),
        **{name: float(value) for name, value in zip(names, error, strict=True)},
    }


def _warnings(
    config: SimulateConfig, scenario: Scenario, chain, result: dict[str, Any], batch: int
) -> list[str]:
    warnings = []
    for row, agent in zip(result["agents"], chain, strict=True):
        given = float(scenario.network.service_cv[agent])
        if abs(row["cv"] - given) > 1e-6:
            warnings.append(
                f"agent {row['id']}: {row['law']} service has CV {row['cv']:.4g}, the network says {given:.4g}"
            )
        memory = 2 / (1 - min(row["utilisation"], 0.999)) ** 2
        if batch < 10 * memory:
            warnings.append(
                f"agent {row['id']}: at utilisation {row['utilisation']:.3g} so few requests make intervals too narrow"
            )
    places = [(f"agent {row['id']}", row["latency"]) for row in result["agents"]]
    for place, value in [*places, ("the chain", result["end_to_end"])]:
        low, high = value["relative_error_low"], value["relative_error_high"]
        if low > config.warn or high < -config.warn:
            direction = "high" if low > 0 else "low"
            warnings.append(
                f"{place}: the latency formula is {abs(value['relative_error']):.1%} too {direction}"
            )
    return warnings


def _write_people(result: dict[str, Any]) -> None:
    print(
        f"{shown_chain(result['chain'])}: {result['customers']} requests, {result['replications']} replications"
    )
    rows = [("", "utilisation", "formula (min)", "simulated (min)", "formula is off by")]
    for row in result["agents"]:
        rows.append((row["id"], f"{row['utilisation']:.3f}", *_cells(row["latency"])))
    rows.append(("the chain", "", *_cells(result["end_to_end"])))
    write_table(rows)
    outage = result["outage"]
    print(
        f"outage in a minute: formula {outage['analytic']:.4g}, simulated {outage['simulated']:.4g}"
        f" ({outage['low']:.4g} to {outage['high']:.4g})"
    )
    if "undisturbed" in result:
        shares = ", ".join(f"{row['id']} {row['availability']['simulated']:.1%}" for row in result["agents"])
        print(f"available while busy: {shares}")
        print(f"requests that met no breakdown: {result['undisturbed']['simulated']:.2%}")
    print("intervals: 95%")


def _cells(value: dict[str, float]) -> tuple[str, str, str]:
    half = (value["high"] - value["low"]) / 2
    low, high = value["relative_error_low"], value["relative_error_high"]
    return (
        f"{value['analytic']:.5g}",
        f"{value['simulated']:.5g} ±{half:.2g}",
        f"{value['relative_error']:+.1%} ({low:+.1%} to {high:+.1%})",
    )
