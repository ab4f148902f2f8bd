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
            _verdict(results),
            *_elam(results["elam"]),
            *_policy(results["policy"]),
            made_by(results),
        ]
    )


def _verdict(results: dict) -> str:
    """What follows, in plain words."""
    samples = {choice: _reaching(part["groups"][HISTORY]) for choice, part in results["elam"].items()}
    intent, nothing = (
        {name: _updates(one) for name, one in part["applications"].items()}
        for part in results["policy"].values()
    )
    gain = results["elam"][PLAIN]["groups"][HISTORY]
    place = gain["samples"].index(10)
    both = lambda found: "; ".join(f"{name}: {counts}" for name, counts in found.items())
    return "\n".join(
        [
            "**What follows.** Numbers are samples or updates to 95% of the from-scratch plateau, of means over seeds.",
            "",
            f"- Where an E-LAM adapts by plain descent, which is (MAN 5), second-order MAN helps: {samples[PLAIN]}. "
            f"At 10 samples its error less that of joint training is {shown(gain['less_joint'][SECOND][place])}.",
            f"- Where AdamW may be used as well, most of that is gone: {samples[PER_COUNT]}; settings {ONCE}: "
            f"{samples[ONCE]}. This suggests that MAN finds above all a start that plain descent can move from; "
            "AdamW moves from the joint one too.",
            "- First-order MAN, (MAN 6) to the letter, reads worse than joint training where AdamW may be used, and "
            "without any sample worse than the mean of the application. On benchmark multimedia nobody reaches 95% "
            "of the plateau of 510 samples with 40.",
            f"- A policy that is told the intent has nothing to adapt to: {both(intent)}. Joint training serves an "
            "application never seen at once, and meta-learned starts are not above it.",
            f"- A policy that is told nothing must learn the mean intent of its users: {both(nothing)}. For qa joint "
            "training is right already, since applications like it were seen. For multimedia it has settled on "
            "chains that suit others, presumably as its entropy bonus has ended, and a start from scratch is faster "
            "than any that was learned. MAN is above the fine-tuned joint policy after 4 and 8 updates, but reaches "
            "the plateau later than scratch does.",
            "- Not tried: more than 5 inner steps, adapters of the encoder and the preference loss. The step size of "
            "the policy's meta-update was not tuned.",
            "- The grids of rates and rounds were laid out after errors of one pair of applications (multimedia and "
            "qa, seed 0) had been seen, and the sizes of the policy after looking at test users of the benchmarks. "
            "The same grids serve all contenders, but the comparison is not as blind as the others on this page.",
        ]
    )


def _reaching(group: dict) -> str:
    return ", ".join(
        f"{label} {_count(found['of_means'])}" for label, found in group["samples_to_95_percent"].items()
    )


def _updates(one: dict) -> str:
    return ", ".join(
        f"{label} {_count(found['of_means'])}" for label, found in one["updates_to_95_percent"].items()
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
        f"Joint training, MAN and Reptile have all met the same {results['updates_met']} updates of 64 episodes. "
        f"Settings {PER_COUNT} were what was planned; the two other choices were added when results had been seen."
    )


def _elam(found: dict) -> list[str]:
    parts = ["### Reading intents: samples", f"Settings are {PER_COUNT}."]
    for title, group in found[PER_COUNT]["groups"].items():
        parts += [_errors(title, group), _yardsticks(group)]
    for choice in (ONCE, PLAIN):
        parts += [f"The same with settings {choice}:", _errors(HISTORY, found[choice]["groups"][HISTORY])]
    return [*parts, _differences(found)]


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


def _policy(found: dict) -> list[str]:
    parts = ["### Composing chains: updates"]
    updates = next(iter(found.values()))["updates"]
    picked = [place for place, count in enumerate(updates) if count in (0, 1, 2, 4, 8, 20)]
    for told, part in found.items():
        rows = []
        for name, one in part["applications"].items():
            for label, shares in one["share"].items():
                reached = _reached(one["updates_to_95_percent"][label])
                rows.append([name, label, *(shown(shares[place], 3) for place in picked), reached])
        head = [
            told,
            "policy",
            *(f"{updates[place]} updates" for place in picked),
            "updates to 95% of the plateau",
        ]
        parts.append(table(head, rows))
    rows = [
        [told, name, label, *(f"{shown(one[place], 3)}, {verdict(one[place])}" for place in picked)]
        for told, part in found.items()
        for name, application in part["applications"].items()
        for label, one in application["less_joint"].items()
    ]
    head = ["share less that of joint training", "", "", *(f"{updates[place]} updates" for place in picked)]
    words = (
        "Shares of the optimum of test users. The plateau is a policy trained from scratch on the application for as "
        "many updates as joint training has; 95% of its gain over random chains is what is to be reached. A policy "
        "that is told nothing hears the even vector whoever asks: all that it can learn is the mean intent."
    )
    return [*parts, table(head, rows), words]


def _reached(found: dict) -> str:
    """Of the means, and in brackets of every seed."""
    return f"{_count(found['of_means'])} ({', '.join(map(_count, found['seeds']))})"


def _count(value: int | None) -> str:
    return NEVER if value is None else str(value)
