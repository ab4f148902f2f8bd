"""`lameta evaluate`: the factors, the QoE and the constraints of one given chain, in float64."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Bool, Float, Int

from lameta_jax.cli.common import (
    has_prices,
    read_chain,
    read_network,
    read_preference,
    read_price_weight,
    shown_chain,
    write_json,
    write_table,
)
from lameta_jax.network.network import AgenticNetwork, Request, Scenario, chain_links
from lameta_jax.network.qoe import (
    ChainFactors,
    chain_factors,
    chain_price,
    meets_constraints,
    objective_qoe,
    subjective_qoe,
)
from lameta_jax.types import floats

FAILURE_QOE = -1.0


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The four factors and the QoE of a given chain. Latency is in minutes."""

    network: str  # network file (.yaml, .json, .graphml, .gml), or lameta-81, lameta-1k, lameta-10k
    chain: str  # agent ids in order, separated by commas: a,b,c
    preference: Annotated[str, tyro.conf.arg(metavar="C,B,L,P")] = "0.25,0.25,0.25,0.25"
    """weights of capability, information loss, latency and outage; they sum to 1"""
    qoe_form: Literal["power", "printed"] = "power"  # how the preference shapes QoE
    price_weight: float = 0.0  # subjective QoE that a US$ costs; the agents' prices are in the network file
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


class _Value(NamedTuple):
    """What one chain is worth, before any constraint."""

    factors: ChainFactors
    linked: Bool[Array, " hops-1"]
    objective: Float[Array, ""]
    subjective: Float[Array, ""]
    fast_and_capable: Bool[Array, ""]
    price: Float[Array, ""]


def evaluate(config: EvaluateConfig) -> None:
    """Print what a chain is worth."""
    with jax.enable_x64(True):
        preference = read_preference(config.preference)
        scenario = read_network(config.network)
        price_weight = read_price_weight(config.price_weight, scenario)
        chain = read_chain(config.chain, scenario)
        result = evaluate_chain(scenario, chain, preference, config.qoe_form, price_weight)
    if config.json:
        write_json(result)
    else:
        write_table(evaluation_rows(result))


def evaluate_chain(
    scenario: Scenario,
    chain: Sequence[int],
    preference: Sequence[float],
    form: str = "power",
    price_weight: float = 0.0,
) -> dict[str, Any]:
    """Factors, QoE and violations of a chain of any length, as the JSON output holds them.

    The objective QoE is LAMeTA eq. (15), the subjective one that of `form` less `price_weight` times the price;
    both are -1 for a chain that breaks (18b), (18c) or (18d). The information loss of a chain with a missing
    link is None; the price is there if any agent of the network has one.
    """
    network, request = scenario.network, scenario.request
    if network.link_ber.shape[0] == 0:  # one to look up in vain
        network = replace(network, link_ber=jnp.zeros(1, dtype=float))
    shares = floats(preference)
    value = _value(network, request, jax.device_put(np.asarray(chain)), shares, form)
    linked = np.asarray(value.linked)
    capability, information_loss, latency, outage = (float(factor) for factor in value.factors)
    subjective = float(value.subjective) - price_weight * float(value.price)
    broken = _wrong_service(scenario, chain, linked)
    if not value.fast_and_capable:
        broken += _wrong_quality(scenario, capability, latency)
    return {
        "chain": [scenario.agent_ids[agent] for agent in chain],
        "capability": capability,
        "information_loss": information_loss if linked.all() else None,
        "latency": latency,
        "outage": outage,
        **({"price": float(value.price)} if has_prices(scenario) else {}),
        "qoe": FAILURE_QOE if broken else float(value.objective),
        "subjective_qoe": FAILURE_QOE if broken else subjective,
        "feasible": not broken,
        "violations": broken,
    }


def evaluation_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The output for people."""
    loss = result["information_loss"]
    rows = [
        ("chain", shown_chain(result["chain"])),
        ("capability", f"{result['capability']:.6g}"),
        ("information loss", "-" if loss is None else f"{loss:.6g}"),
        ("latency", f"{result['latency']:.6g} min"),
        ("outage", f"{result['outage']:.6g}"),
        *([("price", f"{result['price']:.6g} US$")] if "price" in result else []),
        ("objective QoE", f"{result['qoe']:.6g}"),
        ("subjective QoE", f"{result['subjective_qoe']:.6g}"),
        ("feasible", "yes" if result["feasible"] else "no"),
    ]
    return rows + [("violates", violation) for violation in result["violations"]]


@partial(jax.jit, static_argnames="form")
def _value(
    network: AgenticNetwork,
    request: Request,
    chain: Int[Array, " hops"],
    preference: Float[Array, "4"],
    form: str,
) -> _Value:
    # In one program: compiling operation by operation takes four times as long.
    link, linked = chain_links(network, chain)
    factors = chain_factors(network, chain, link)
    return _Value(
        factors,
        linked,
        objective_qoe(factors, request.capability_threshold),
        subjective_qoe(factors, preference, request.capability_threshold, form),
        meets_constraints(factors, request),
        chain_price(network, chain),
    )


def _wrong_service(scenario: Scenario, chain: Sequence[int], linked: np.ndarray) -> list[str]:
    """How a chain is not what the request asks for, (18d)."""
    ids, type_names = scenario.agent_ids, scenario.type_names
    wanted = [type_names[index] for index in np.asarray(scenario.request.types)]
    given = [type_names[index] for index in np.asarray(scenario.network.agent_type)[list(chain)]]
    broken = []
    if len(given) != len(wanted):
        broken.append(f"(18d) {len(given)} agents, but the request {shown_chain(wanted)} needs {len(wanted)}")
    else:
        for place, (agent, has, needs) in enumerate(zip(chain, given, wanted, strict=True), start=1):
            if has != needs:
                broken.append(
                    f"(18d) agent {ids[agent]} in place {place} has type {has}, the request needs {needs}"
                )
    broken += [
        f"(18d) agent {ids[agent]} appears {count} times"
        for agent, count in Counter(chain).items()
        if count > 1
    ]
    for (first, second), is_linked in zip(pairwise(chain), linked, strict=True):
        if not is_linked and first != second:
            broken.append(f"(18d) no link between {ids[first]} and {ids[second]}")
    return broken


def _wrong_quality(scenario: Scenario, capability: float, latency: float) -> list[str]:
    """How a chain is too slow, (18b), or not capable enough, (18c)."""
    max_latency, threshold = float(scenario.request.max_latency), float(scenario.request.capability_threshold)
    broken = []
    if latency > max_latency:
        broken.append(f"(18b) latency {latency:.6g} min exceeds max_latency {max_latency:.6g} min")
    if capability < threshold:
        broken.append(f"(18c) capability {capability:.6g} is below capability_threshold {threshold:.6g}")
    return broken
