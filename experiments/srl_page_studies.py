"""The sections of experiments/srl.md on what goes beyond the paper."""

from pages import load, made_by, share, shown, table

APPLICATIONS = ("multimedia", "qa")


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
    rows = [[label, shown(row["share_of_beam_search"])] for label, row in results["lameta-1k"].items()]
    parts += [
        "### lameta-1k, twelve times as large as lameta-81, without training on it",
        table(["policy", "share of beam search's QoE"], rows),
        made_by(results),
    ]
    return "\n\n".join(parts)


def proposals() -> str:
    results = load("proposals")
    widths = [str(width) for width in results["widths"]]
    rows, differences = [], []
    for name in APPLICATIONS:
        for told, found in results["applications"][name].items():
            start = [name, told]
            rows.append(
                [*start, *(shown(found["share"][width]) for width in widths), f"{found['plug_in']:.4f}"]
            )
            differences.append([*start, *(shown(found["less_plug_in"][width]) for width in widths)])
    thousand = [["share of beam search's QoE", *(f"{results['lameta-1k'][width]:.4f}" for width in widths)]]
    return "\n\n".join(
        [
            "## The best of several chains that the policy proposes",
            "![proposals](results/proposals.png)",
            "A policy can name the chains that it holds most likely, and the QoE of each for what the user is said to "
            "want can be computed; the best one is taken. Share of the optimum by the number of chains, test users in "
            "held-out slots; the last column is exact search told the same, the plug-in optimum:",
            table(["users of", "told", *widths, "exact search"], rows),
            "The same less exact search:",
            table(["users of", "told", *widths], differences),
            "The shipped generalist on lameta-1k, 200 users on the simplex, beside beam search of width 64:",
            table(["lameta-1k", *widths], thousand),
            made_by(results),
        ]
    )


def changing_network() -> str:
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
        "Shares of the optimum of the network as it has become. Fixed chains are the optima of the network as it was. "
        "The policy was trained around 4 arrivals per minute, with no failures.",
        made_by(results),
    ]
    return "\n\n".join(parts)


def time() -> str:
    results = load("srl_time")
    tables = []
    for network, methods in results["decisions"].items():
        rows = [
            [name, *(f"{1e3 * value:.3f}" for value in found.values())] for name, found in methods.items()
        ]
        head = [network, *(f"ms per user, {count}" for count in next(iter(methods.values())))]
        tables.append(table(head, rows))
    parts = "; ".join(f"{name} {1e3 * value:.0f} ms" for name, value in results["parts"].items())
    characters = results["zero_shot_characters"]
    return "\n\n".join(
        [
            "## Time and cost",
            f"Training to {results['target']} of the optimum takes {shown(results['updates_to_target'], 1)} updates "
            f"and {shown(results['seconds_to_target'], 1)} s of steady time, after {results['compile_seconds']:.0f} s "
            f"of compiling. One update takes {1e3 * results['seconds_per_update']:.0f} ms. Its parts, each timed "
            f"alone: {parts}.",
            *tables,
            "Once compiled, methods in turn; SRL by the shipped generalist, beam search of width 64. Only SRL picks "
            "the E-LAM that reads for it: each call costs 0.01 (small) or 0.05 (large) of QoE, in the last column of "
            "the tables of Fig. 8. The language model that composes zero-shot reads "
            f"{characters['read']:.0f} characters and writes {characters['written']:.0f} per user.",
            made_by(results),
        ]
    )
