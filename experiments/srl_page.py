"""Writes experiments/srl.md, what the studies of composition found, from their results files alone.

python experiments/srl_page.py
"""

from pathlib import Path

from pages import load, made_by, shown, table, verdict

PAGE = Path(__file__).parent / "srl.md"
APPLICATIONS = ("multimedia", "qa")
HELD_OUT, NOMINAL = "held-out slots", "nominal network"
SRL = ("SRL, IoKD, large alone", "SRL, own preference")


def share(row: dict, digits: int = 3) -> str:
    """A share of the optimum, with its interval where there are seeds."""
    return shown(row["share"], digits) if isinstance(row["share"], dict) else f"{row['share']:.{digits}f}"


def number(row: dict, name: str) -> str:
    value = row[name]
    return f"{value['mean'] if isinstance(value, dict) else value:.3f}"


def fig8() -> str:
    results = load("fig8")
    parts = [
        "## Fig. 8: what users get",
        "![bars](results/fig8.png)",
        "![curves](results/fig8_convergence.png)",
    ]
    head = ["method", "told", f"share, {HELD_OUT}", f"share, {NOMINAL}", "QoE", "less fees"]
    for name in APPLICATIONS:
        found = results["applications"][name]
        rows = []
        for method, values in found["learned"].items():
            held, plain = values[HELD_OUT], values[NOMINAL]
            rows.append(
                [
                    method,
                    values["told"],
                    share(held),
                    share(plain),
                    number(held, "qoe"),
                    number(held, "net_qoe"),
                ]
            )
        for method, values in found["others"][HELD_OUT].items():
            for told, held in values.items():
                plain = found["others"][NOMINAL].get(method, {}).get(told)
                rows.append(
                    [
                        method,
                        told,
                        share(held),
                        share(plain) if plain else "",
                        number(held, "qoe"),
                        number(held, "net_qoe"),
                    ]
                )
        [[_, zero_shot]] = found["others"][NOMINAL]["LLM zero-shot"].items()
        rows.append(["LLM zero-shot", "the prompts", "", share(zero_shot), "", ""])
        parts += [f"### {name}", table(head, rows)]
    parts += [
        "Told: what a composer knows of its users, in training and in the test. *own*: their preference; *iokd, raw*: what "
        "both E-LAMs read, of which the policy picks one for a fee; *large, small*: what that one reads, no other to be "
        "had; *nothing*: that everybody cares about all factors alike. Exact search told what an E-LAM reads is the "
        "*plug-in optimum*. The language model was asked once, for the nominal network; in the slots its chains are those "
        "of that network.",
        "### Margins",
        margins(results),
        made_by(results),
    ]
    return "\n\n".join(parts)


def margins(results: dict) -> str:
    """By how much SRL is above every other method, in percent of the latter's QoE."""
    rows = []
    cells = [(name, told) for name in APPLICATIONS for told in ("IoKD, large", "own preference")]
    found = [results["applications"][name]["margins"][HELD_OUT][told] for name, told in cells]
    for method in found[0]:
        rows.append([method, *(percent(one[method]) for one in found)])
    head = ["SRL above", *(f"{name}, told {told}" for name, told in cells)]
    claimed = ", ".join(
        f"{name} {100 * results['applications'][name]['paper_margin']:.1f}%" for name in APPLICATIONS
    )
    return (
        f"Mean QoE of SRL against that of others, in held-out slots. The paper's margins over its best baseline: {claimed}; "
        f"its QoE, and so its scale, is another.\n\n{table(head, rows)}"
    )


def percent(interval: dict) -> str:
    return f"{100 * interval['mean']:+.1f}% ({100 * interval['low']:+.1f} to {100 * interval['high']:+.1f})"


def fig9() -> str:
    results = load("fig9")
    rows = []
    for name in APPLICATIONS:
        found = results["applications"][name]
        for factor, curve in found["curves"].items():
            rows.append(
                [
                    name,
                    factor.replace("_", " "),
                    f"{curve[0]['mean']:.4f}",
                    shown(curve[-1]),
                    verdict(found["change"][factor]),
                    f"{found['optimum'][factor]:.4f}",
                    f"{found['even_optimum'][factor]:.4f}",
                ]
            )
    head = ["application", "factor", "untrained", "trained", "change", "optimum", "optimum, even weights"]
    return "\n\n".join(
        [
            "## Fig. 9: the four factors while SRL learns",
            "![factors](results/fig9.png)",
            table(head, rows),
            "Latency in minutes. The untrained policy is no random one: lookahead alone keeps it from weak and slow chains.",
            made_by(results),
        ]
    )


def fig10() -> str:
    results = load("fig10")
    rows = [
        [label, *(shown(found[name], 3) for name in ("not_worse", "better", "alike", "mean_gain"))]
        for label, found in results["populations"].items()
    ]
    head = ["800 users", "nearer policy not worse", "better", "alike", "mean gain in QoE"]
    return "\n\n".join(
        [
            "## Fig. 10: which application's policy serves a user better?",
            "![users](results/fig10.png)",
            table(head, rows),
            f"The paper: over {results['paper_share']:.0%} of the users get most from the policy of the nearer application. "
            "It does not say what a policy is told of a user of another application, so both readings are measured.",
            made_by(results),
        ]
    )


def fig11() -> str:
    results = load("fig11")
    rows = []
    for kind, found in results["disturbances"].items():
        for label, row in found["rows"].items():
            rows.append(
                [
                    kind,
                    label,
                    shown(row["final_capability"], 3),
                    shown(row["updates_to_threshold"], 1),
                    shown(row["qoe"], 3),
                ]
            )
        change = found["change"]
        cells = (f"{shown(change[name], 3)}: {verdict(change[name])}" for name in change)
        rows.append([kind, "*change by the memory*", *cells])
    head = ["a fifth of the users", "", "final capability", "updates to 0.9", "QoE of test users"]
    return "\n\n".join(
        [
            "## Fig. 11: in-context learning",
            "![memory](results/fig11.png)",
            table(head, rows),
            "Capability is that of the chains in training, as a share of the mean of optimal chains. The paper: 0.95 with and "
            "0.91 without in-context learning, and 40% fewer steps to 0.90. *Misread*: users of multimedia of whom the E-LAM "
            "says what it says of users of qa. *Foreign*: users of qa. Differences are paired by seed.",
            made_by(results),
        ]
    )


def ablations() -> str:
    results = load("srl_ablations")
    parts = ["## What each part contributes", "![ablations](results/srl_ablations.png)"]
    rows = []
    for name in APPLICATIONS:
        for label, row in results["applications"][name]["elam_quality"].items():
            rows.append(
                [
                    name,
                    label,
                    f"{row['mean_squared_error']:.4f}",
                    share(row["policy"]),
                    share(row["plug_in"]),
                    shown(row["policy_minus_plug_in"]),
                ]
            )
    head = [
        "application",
        "told",
        "MSE of the reading",
        "policy",
        "exact search, told the same",
        "difference",
    ]
    parts += ["### Better reading, better service", table(head, rows)]
    forms = results["applications"]
    rows = [
        [label, *(share(forms[name]["qoe_form"][label]) for name in APPLICATIONS)]
        for label in forms["qa"]["qoe_form"]
    ]
    parts += [
        "### (35) as printed",
        "Chains composed for either form, valued by `power`.",
        table(["for", *APPLICATIONS], rows),
    ]
    rows = []
    for label in forms["qa"]["lookahead"]:
        found = [forms[name]["lookahead"][label] for name in APPLICATIONS]
        rows.append(
            [
                label,
                *(shown(one["updates_to_95_percent"], 0) for one in found),
                *(shown(one["share"][-1]) for one in found),
            ]
        )
    head = [
        "policy",
        *(f"updates to 0.95, {name}" for name in APPLICATIONS),
        *(f"in the end, {name}" for name in APPLICATIONS),
    ]
    parts += ["### Lookahead", table(head, rows), made_by(results)]
    return "\n\n".join(parts)


def generalist() -> str:
    results = load("generalist")
    labels = list(next(iter(results["networks_never_met"].values())))
    rows = []
    for group, found in results["networks_never_met"].items():
        rows.append(
            [
                group,
                *(shown(found[label]["share"], 3) for label in labels),
                shown(found["generalist"]["worst_network"], 3),
            ]
        )
    parts = [
        "## One policy for all preferences and networks",
        "![generalist](results/generalist.png)",
        "### Networks never met, 8 of each kind, users uniform on the simplex",
        table(["networks", *labels, "generalist, worst network"], rows),
    ]
    rows = []
    for name in APPLICATIONS:
        found = results["lameta-81"][name]
        rows.append(
            [name, *(shown(found[label]["share"]) for label in labels), shown(found["generalist_minus_own"])]
        )
    parts += ["### lameta-81 in held-out slots", table(["users of", *labels, "generalist less own"], rows)]
    rows = []
    for label, found in results["whole_simplex"].items():
        cells = (found[name] for name in ("expected_utility", "maximum_utility_loss", "hypervolume"))
        rows.append([label, *(shown(cell) if isinstance(cell, dict) else f"{cell:.4f}" for cell in cells)])
    head = ["lameta-81, 200 users on the simplex", "expected utility", "maximum utility loss", "hypervolume"]
    parts += ["### Multi-objective metrics", table(head, rows)]
    large = results["lameta-1k"]
    rows = [[label, shown(large[label]["share_of_beam_search"])] for label in labels]
    seconds = large["seconds_per_user"]
    parts += [
        "### lameta-1k, without training on anything like it",
        table(["policy", "share of beam search's QoE"], rows),
        f"Once compiled, the generalist takes {1e6 * seconds['generalist']:.0f} microseconds per user and beam search "
        f"{1e6 * seconds['beam search']:.0f}, {large['users']} users at once: {large['share_of_the_time']:.2%} of its time.",
        made_by(results),
    ]
    return "\n\n".join(parts)


def changing() -> str:
    results = load("changing_network")
    parts = ["## A network that changes", "![changes](results/changing_network.png)"]
    for part, places, name in (
        ("arrivals", "arrival_rate", "arrivals per minute"),
        ("failures", "probability", "agents failed"),
    ):
        found = results[part]
        rows = [
            [label, *(f"{row['mean'] if isinstance(row, dict) else row:.3f}" for row in values)]
            for label, values in found["share"].items()
        ]
        parts.append(table([name, *(f"{place:g}" for place in found[places])], rows))
    parts += [
        "Shares of the optimum of the network as it has become. Fixed chains are the optima of the network as it was. The "
        "policy was trained around 4 arrivals per minute, with no failures.",
        made_by(results),
    ]
    return "\n\n".join(parts)


def time() -> str:
    results = load("srl_time")
    rows = [
        [name, *(f"{1e3 * value:.3f}" for value in found.values())]
        for name, found in results["decisions"].items()
    ]
    head = ["method", *(f"ms per user, {count}" for count in next(iter(results["decisions"].values())))]
    parts = "; ".join(f"{name} {1e3 * value:.0f} ms" for name, value in results["parts"].items())
    characters = results["zero_shot_characters"]
    return "\n\n".join(
        [
            "## Time and cost",
            f"Training to {results['target']} of the optimum takes {shown(results['updates_to_target'], 1)} updates and "
            f"{shown(results['seconds_to_target'], 1)} s of steady time, after {results['compile_seconds']:.0f} s of compiling. One "
            f"update takes {1e3 * results['seconds_per_update']:.0f} ms. Of these, each timed alone: {parts}.",
            table(head, rows),
            "On lameta-81, once compiled. Only SRL meets users whom it knows by an E-LAM's words: each of its E-LAM calls costs "
            "0.01 (small) or 0.05 (large) of QoE, which is in the last column of Fig. 8's tables. The language model that "
            f"composes zero-shot reads {characters['read']:.0f} characters and writes {characters['written']:.0f} per user.",
            made_by(results),
        ]
    )


def page() -> str:
    """The page as text."""
    head = (
        "# Composing chains: what agrees with the paper and what does not\n\n"
        "Written by `python experiments/srl_page.py` from the results files, of which each section names the command. "
        "Network `lameta-81`, 40 test users per application, ten slots that no policy has met. Shares are of what exact "
        "search gives a user told what he wants (the optimum). Intervals are 95%, over the seeds of the policies."
    )
    return (
        "\n\n".join(
            [
                head,
                findings(),
                fig8(),
                fig9(),
                fig10(),
                fig11(),
                ablations(),
                generalist(),
                changing(),
                time(),
            ]
        )
        + "\n"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
