"""The section on MAN's meta-learned initialisation for LAMeTA's learners, from experiments/results/joining.json."""

from pages import load, made_by, shown, table, verdict

JOINT, SECOND, FIRST = "joint, then fine-tuned", "MAN, second order", "MAN, first order"
NEVER = "never"
HISTORY = "eight applications of the history"
PER_COUNT = "chosen for each number of samples"
ONCE = "chosen once for all numbers of samples"
PLAIN = "chosen once, plain descent alone"


def joining() -> str:
    """The section: what was measured, tables, and what follows."""
    results = load("joining")
    return "\n\n".join(
        [
            "## MAN's initialisation for LAMeTA's learners (in neither paper)",
            "![joining](results/joining.png)",
            _measured(results),
            *_elam(results["elam"]),
            *_policy(results["policy"]),
            made_by(results),
        ]
    )


def _measured(results: dict) -> str:
    return (
        "Agents are edge servers, their environments applications. The decoder of the small E-LAM is trained on six of "
        "the eight applications of the history; of the other two, one chooses the rates and steps of every contender, "
        "plain descent or AdamW, and its meta-training, and the other one tests, both ways round. It adapts to 5 to 40 "
        "samples of the application tested, and the other 35 test; for the two benchmark applications it adapts to "
        "demonstrations and synthetic samples and the 40 test prompts test. The plateau is a decoder trained from "
        "scratch on all samples of the application (40; of a benchmark 510) by the package's own trainer. "
        "The pointer policy (without lookahead) is trained on `lameta-81` for the users of five applications; a sixth "
        "chooses the rate of adaptation; test users are those of the benchmarks, in ten slots that no policy has met. "
        f"Joint training, MAN and Reptile have all met the same {results['updates_met']} updates of 64 episodes."
    )


def _elam(found: dict) -> list[str]:
    parts = ["### Reading intents: samples", f"Settings are {PER_COUNT}."]
    for title, group in found[PER_COUNT]["groups"].items():
        parts += [_errors(title, group), _yardsticks(group)]
    for choice in (ONCE, PLAIN):
        parts += [f"The same with settings {choice}:", _errors(HISTORY, found[choice]["groups"][HISTORY])]
    return [*parts, _differences(found), _elam_words(found)]


def _errors(title: str, group: dict) -> str:
    rows = [
        [label, *(shown(one) for one in errors), _reached(group["samples_to_95_percent"][label])]
        for label, errors in group["mse"].items()
    ]
    head = [title, *(f"{count} samples" for count in group["samples"]), "samples to 95% of the plateau"]
    return table(head, rows)


def _yardsticks(group: dict) -> str:
    return (
        f"Test MSE. Mean of the application's samples {shown(group['trivial'])}; "
        f"plateau {shown(group['plateau'])}."
    )


def _differences(choices: dict[str, dict]) -> str:
    rows = [
        [
            label,
            f"{title}, {choice}",
            *(f"{shown(one)}, {verdict(one)}" for one in group["less_joint"][label]),
        ]
        for choice, found in choices.items()
        for title, group in found["groups"].items()
        if title == HISTORY or choice == PER_COUNT
        for label in (SECOND, FIRST)
    ]
    counts = choices[PER_COUNT]["groups"][HISTORY]["samples"]
    head = [
        "MSE less that of joint training",
        "applications, settings",
        *(f"{count} samples" for count in counts),
    ]
    return table(head, rows)


def _elam_words(choices: dict) -> str:
    lines = ["In words, over the eight applications:", ""]
    for choice, found in choices.items():
        group = found["groups"][HISTORY]
        reached = group["samples_to_95_percent"]
        counts = "; ".join(f"{label} {_count(value['of_means'])}" for label, value in reached.items())
        below = [
            str(count)
            for count, one in zip(group["samples"], group["less_joint"][SECOND], strict=True)
            if verdict(one) == "below"
        ]
        where = f"at {', '.join(below)} samples" if below else "nowhere"
        lines.append(
            f"- settings {choice}: samples to 95% of the plateau are {counts}; second-order MAN is below joint "
            f"training, beyond the interval over seeds, {where}."
        )
    return "\n".join(lines)


def _policy(found: dict) -> list[str]:
    parts = ["### Composing chains: updates"]
    for told, part in found.items():
        picked = [place for place, count in enumerate(part["updates"]) if count in (0, 1, 2, 4, 8, 20)]
        rows = []
        for name, one in part["applications"].items():
            for label, shares in one["share"].items():
                reached = _reached(one["updates_to_95_percent"][label])
                rows.append([name, label, *(shown(shares[place], 3) for place in picked), reached])
        head = [
            told,
            "policy",
            *(f"{part['updates'][place]} updates" for place in picked),
            "updates to 95% of the plateau",
        ]
        parts.append(table(head, rows))
    parts.append(
        "Shares of the optimum of test users. The plateau is a policy trained from scratch on the application for as "
        "many updates as joint training has; 95% of its gain over random chains is what is to be reached. A policy "
        "that is told nothing hears the even vector whoever asks: all that it can learn is the mean intent."
    )
    return parts


def _reached(found: dict) -> str:
    """Of the means, and in brackets of every seed."""
    return f"{_count(found['of_means'])} ({', '.join(map(_count, found['seeds']))})"


def _count(value: int | None) -> str:
    return NEVER if value is None else str(value)
