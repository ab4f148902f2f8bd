"""MAN's meta-learned initialisation for LAMeTA's learners, adapted to applications that it has not met.

    lameta reproduce joining          # or python experiments/joining.py [--seeds 5] [--out DIR]

In neither paper. Agents are edge servers, their environments applications. Meta-learned are the decoder of the small
E-LAM, over applications of the history, and the pointer policy on lameta-81, over what their users want. Either is then
adapted to an application of which nothing was seen, with few samples (E-LAM) or few updates (policy), beside one that
starts from scratch and one that was trained jointly. Rates and steps of every contender are chosen on a validation
application. A seed draws initial weights, samples and episodes. What was trained is kept under --runs.
"""

import time
from pathlib import Path

import numpy as np
from common import arguments, finish, interval
from joining_elam import COUNTS, MODELS, ONCE, PAIRS, PER_COUNT, PLAIN, SETTINGS, TRIVIAL, cell, corpus
from joining_figures import adaptation
from joining_policy import POINTS, TOLD, UPDATES_MET, Policies, run
from srl_study import Study

from lameta_jax.pipeline.meta_learned import MetaConfig


def main() -> None:
    options = arguments("joining", 5, __doc__)
    started, seeds = time.time(), list(range(options.seeds))
    options.runs.mkdir(parents=True, exist_ok=True)
    elam = {choice: of_elams(seeds, options.runs, choice) for choice in (PER_COUNT, ONCE, PLAIN)}
    policies = Policies(Study(options.runs, lookahead=0))
    policy = {told: of_policies(run(policies, told, seeds, options.runs)) for told in TOLD}
    results = {"elam": elam, "policy": policy, "updates_met": UPDATES_MET}
    adaptation(options.out / "joining.png", results)
    finish("joining", results, seeds=seeds, started=started, folder=options.out)


def of_elams(seeds: list[int], folder: Path, choice: str) -> dict:
    """Errors over the applications never seen, for the settings that the validation application chose.

    Args:
      choice: whether a contender has one setting for all numbers of samples or one for each, and among which.
    """
    data, targets = corpus(folder), {}
    for pair in PAIRS:
        cells = [cell(data, pair, seed, folder) for seed in seeds]
        stacked = {name: np.stack([one[name] for one in cells]) for name in cells[0]}
        for name in pair:
            [validation] = set(pair) - {name}
            for target in (name, f"benchmark {name}"):
                if f"{target}/{TRIVIAL}" in stacked:
                    targets[target] = chosen_errors(stacked, target, validation, choice)
    history = [found for name, found in targets.items() if not name.startswith("benchmark")]
    groups = {"eight applications of the history": history}
    groups |= {name: [found] for name, found in targets.items() if name.startswith("benchmark")}
    return {
        "groups": {label: of_group(members) for label, members in groups.items()},
        "applications": {name: of_group([found]) for name, found in targets.items()},
        "settings": {name: found["settings"] for name, found in targets.items()},
    }


def chosen_errors(stacked: dict[str, np.ndarray], target: str, validation: str, choice: str) -> dict:
    """Test errors, axes [seeds, counts], the first of them without samples."""
    errors, settings = {}, {}
    for label, models in MODELS.items():
        unadapted = int(stacked[f"{validation}/{label}/unadapted"].mean(axis=0).argmin())
        columns = [stacked[f"{target}/{label}/unadapted"][:, unadapted]]
        settings[label] = {}
        validated = np.nan_to_num(stacked[f"{validation}/{label}"], nan=1.0).mean(axis=0)
        if choice == PLAIN:
            validated[:, [kind != "sgd" for kind, *_ in SETTINGS]] = np.inf
        for place, count in enumerate(COUNTS):
            seen = validated[..., place] if choice == PER_COUNT else validated.mean(axis=-1)
            model, how = np.unravel_index(seen.argmin(), seen.shape)
            columns.append(stacked[f"{target}/{label}"][:, model, how, place])
            settings[label][count] = [described(models[model]), *SETTINGS[how]]
        errors[label] = np.stack(columns, axis=1)
    trivial, plateau = stacked[f"{target}/{TRIVIAL}"][:, -1], stacked[f"{target}/plateau"]
    return {"errors": errors, "settings": settings, "trivial": trivial, "plateau": plateau}


def described(how: tuple[MetaConfig, float] | None) -> str:
    """How an initialisation was made, in a few words."""
    if how is None:
        return "untrained"
    config, rate = how
    inner = f", {config.inner_steps} inner steps at {rate}" if config.inner_steps else ""
    return f"{config.num_rounds} rounds{inner}"


def of_group(members: list[dict]) -> dict:
    """Means over applications, with intervals over seeds."""
    mean = lambda values: np.mean(list(values), axis=0)
    trivial, plateau = (mean(one[name] for one in members) for name in ("trivial", "plateau"))
    errors = {label: mean(one["errors"][label] for one in members) for label in MODELS}
    counts = [0, *COUNTS]
    joint = errors["joint, then fine-tuned"]
    return {
        "samples": counts,
        "trivial": interval(trivial),
        "plateau": interval(plateau),
        "mse": {label: [interval(column) for column in values.T] for label, values in errors.items()},
        "less_joint": {
            label: [interval(column) for column in (values - joint).T]
            for label, values in errors.items()
            if label.startswith("MAN")
        },
        "samples_to_95_percent": {
            label: first_reached(counts, trivial - plateau, trivial[:, None] - values)
            for label, values in errors.items()
        },
    }


def first_reached(places: list[int], wanted: np.ndarray, gained: np.ndarray, share: float = 0.95) -> dict:
    """Where a gain first is `share` of the one wanted: of the means over seeds, and of each seed; None: nowhere.

    Args:
      places: of the columns of `gained`, such as numbers of samples.
      wanted: one per seed; gained: axes [seeds, places].
    """

    def first(reached):
        return places[int(reached.argmax())] if reached.any() else None

    return {
        "of_means": first(gained.mean(axis=0) >= share * wanted.mean()),
        "seeds": [first(row >= share * goal) for row, goal in zip(gained, wanted, strict=True)],
    }


def of_policies(found: dict) -> dict:
    """Curves with intervals over seeds, and how many updates lead to the from-scratch plateau."""
    applications = {}
    for name, curves in found["curves"].items():
        random, plateau = found["random"][name], found["plateau"][name]
        joint = curves["joint, then fine-tuned"]
        applications[name] = {
            "random": random,
            "plateau": interval(plateau),
            "share": {label: [interval(column) for column in values.T] for label, values in curves.items()},
            "less_joint": {
                label: [interval(column) for column in (values - joint).T]
                for label, values in curves.items()
                if label in ("MAN, first order", "Reptile")
            },
            "updates_to_95_percent": {
                label: first_reached(list(POINTS), plateau - random, np.asarray(values) - random)
                for label, values in curves.items()
            },
        }
    return {"updates": list(POINTS), "rates": found["rates"], "applications": applications}


if __name__ == "__main__":
    main()
