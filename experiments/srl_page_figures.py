"""The sections of experiments/srl.md on the figures of the paper."""

from pages import load, made_by, number, share, shown, table, verdict

APPLICATIONS = ("multimedia", "qa")
HELD_OUT, NOMINAL = "held-out slots", "nominal network"


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
        "Told: what a composer knows of its users, in training and in the test. *own*: their preference; *iokd*, "
        "*raw*: what both E-LAMs read, of which the policy picks one for a fee; *large*, *small*: what that one reads, "
        "no other to be had; *nothing*: that everybody cares about all factors alike. Exact search told what an E-LAM "
        "reads is the *plug-in optimum*. The language model was asked once, for the nominal network; in the slots its "
        "chains are those of that network.",
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
        f"Mean QoE of SRL against that of others, in held-out slots. The paper's margins over its best baseline: "
        f"{claimed}; its QoE, and so its scale, is another.\n\n{table(head, rows)}"
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
            "Latency in minutes. The untrained policy is no random one: lookahead alone keeps it from weak and slow "
            "chains.",
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
            f"The paper: over {results['paper_share']:.0%} of the users get most from the policy of the nearer "
            "application. It does not say what a policy is told of users, so both readings are measured.",
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
            "Capability is that of the chains in training, as a share of the mean of optimal chains. The paper: 0.95 "
            "with and 0.91 without in-context learning, and 40% fewer steps to 0.90. *Misread*: users of multimedia of "
            "whom the E-LAM says what it says of users of qa. *Foreign*: users of qa. Differences are paired by seed.",
            made_by(results),
        ]
    )
