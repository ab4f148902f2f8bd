"""`lameta compose`: intent, then preference, then the chain of the trained policy, beside the best chain there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Annotated, Any, Literal

import jax
import tyro

from lameta_jax.cli.common import (
    BadInputError,
    read_network,
    refusing,
    say,
    shown_chain,
    write_json,
    write_table,
)
from lameta_jax.cli.evaluate import evaluate_chain, evaluation_rows
from lameta_jax.cli.explain import explain, explanation_rows
from lameta_jax.cli.intent import AUTO, intent_rows, open_reader, read_prompt
from lameta_jax.cli.optimum import MAX_CHAINS, approximate_optimum, exact_optimum
from lameta_jax.composition.compose import compose_chain
from lameta_jax.composition.policy_files import PolicyError, TrainedPolicy, load_policy
from lameta_jax.network.chains import count_walks
from lameta_jax.network.network import Scenario

SHIPPED_POLICY = ("data", "policies", "pointer.safetensors")


@dataclass(frozen=True, kw_only=True)
class ComposeConfig:
    """From a prompt to a chain: an E-LAM reads the intent, the trained policy composes."""

    prompt: tyro.conf.Positional[tuple[str, ...]] = ()
    """what the user typed; - or nothing reads it from standard input"""
    network: str  # network file (.yaml, .json, .graphml, .gml), or lameta-81, lameta-1k, lameta-10k
    policy: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """policy file (.safetensors); the shipped one if not given"""
    elam: Literal["large", "small"] = "large"  # which E-LAM reads the prompt; with --elam-file the file says
    application: str = AUTO  # whose adapter to use; auto: the one with the nearest intents
    elam_file: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None
    """an E-LAM of your own, made by lameta distill; a shipped one if not given"""
    model: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """where the model of --elam-file lies now, if it was distilled by --model and the folder has moved"""
    proposals: int = 1  # chains that the policy proposes; the best of them for what the user wants is taken
    explain: tyro.conf.FlagCreatePairsOff[bool] = False
    """also show why each agent was chosen: its factors, and what the chain would be worth with another"""
    json: tyro.conf.FlagCreatePairsOff[bool] = False  # print one JSON object


def compose(config: ComposeConfig) -> None:
    """Print the chain that the policy composes for a prompt, and how far from the best one it is."""
    if config.proposals < 1:
        raise BadInputError(f"--proposals: {config.proposals} must be at least 1")
    reader = open_reader(config.elam, config.application, config.elam_file, config.model)
    prompt = read_prompt(config.prompt)
    with jax.enable_x64(True):  # the network and the policy first: they are quick to refuse
        scenario = read_network(config.network)
        policy = _read_policy(config.policy)
    [intent] = reader.read([prompt], [config.application])
    with jax.enable_x64(True):
        result = compose_for(scenario, policy, intent["preference"], config.explain, config.proposals)
    if not result["feasible"]:
        say(f"{config.network}: the policy found no chain that meets (18b)-(18d)")
    if config.json:
        write_json(result | intent)
    else:
        write_table([*intent_rows(intent), *evaluation_rows(result), *_optimum_rows(result)])
        if config.explain:
            write_table([("",)])
            write_table(explanation_rows(result["explanation"]))


def compose_for(
    scenario: Scenario,
    policy: TrainedPolicy,
    preference: Sequence[float],
    explained: bool = False,
    proposals: int = 1,
) -> dict[str, Any]:
    """The policy's chain for a preference as `evaluate_chain` gives it, with the optimum and the gap to it.

    The gap is 1 - QoE / optimum; None where the optimum is not positive, not exact, or where there is none.
    """
    with refusing(PolicyError):
        composed = compose_chain(policy, scenario, preference, proposals)
    result = evaluate_chain(scenario, composed.chain, preference)
    if explained:
        result["explanation"] = explain(scenario, composed, preference)
    if count_walks(scenario.network, scenario.request) <= MAX_CHAINS:
        best = exact_optimum(scenario, preference)
    else:
        best = approximate_optimum(scenario, preference)
    optimum = {key: best[key] for key in ("chain", "subjective_qoe", "exact", "bound") if key in best}
    qoe = best["subjective_qoe"]
    gap = 1 - result["subjective_qoe"] / qoe if best["exact"] and qoe is not None and qoe > 0 else None
    return result | {"optimum": optimum, "gap": gap}


def _read_policy(path: str | None) -> TrainedPolicy:
    with refusing(PolicyError):
        if path is not None:
            return load_policy(path)
        with as_file(files("lameta_jax").joinpath(*SHIPPED_POLICY)) as shipped:
            return load_policy(shipped)


def _optimum_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    optimum, gap = result["optimum"], result["gap"]
    if optimum["chain"] is None:
        return [("optimum", "no feasible chain")]
    kind = "optimum" if optimum["exact"] else "beam search"
    rows = [(kind, shown_chain(optimum["chain"])), (f"{kind} QoE", f"{optimum['subjective_qoe']:.6g}")]
    if not optimum["exact"]:
        rows.append(("bound", f"{optimum['bound']:.6g}"))
    return rows if gap is None else [*rows, ("gap", f"{gap:.2%}")]
