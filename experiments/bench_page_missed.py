"""What the page on speed says of aims that are missed."""

from pages import load


def missed() -> str:
    """What stands between a result and its aim, in numbers of the results files."""
    return "\n".join(
        [
            "Where an aim is missed, on this processor:",
            "",
            *missed_steps(),
            missed_ppo(),
            missed_dpo(),
            missed_man(),
        ]
    )


def missed_steps() -> list[str]:
    env, roofline = load("bench_env"), load("bench_scaling")["roofline"]
    contenders, stepping = env["contenders"], roofline["stepping"]
    classic = max(row["per_second"] for name, row in contenders.items() if "CartPole" in name)
    theirs, aim = contenders["Gymnasium, NumPy"]["per_second"], env["comparisons"][0]["aim"]
    ratio = classic / theirs
    wanted = aim * theirs * stepping["bytes_per_step_of_all"] / stepping["environments"]
    copied = roofline["ceilings"]["bytes_per_second"]
    return [
        f"- **Environment steps.** Even gymnax CartPole, whose state is four numbers, is {ratio:.0f} "
        "times as fast as our "
        "process in Gymnasium, which NumPy steps with hardly any overhead. Every step of ours writes "
        "an observation of "
        f"all 81 agents, which is memory traffic: {aim} times would be {wanted / 1e9:.0f} GB/s of observations and "
        f"states, read and written, where a copy moves {copied / 1e9:.1f} GB/s.",
        "- **QoE.** NumPy, too, spends its time in exponentials over chains and users, in float32 and in vector "
        "instructions. Tuned by hand it is bound by the same arithmetic, on one core. For one user, "
        "calling a compiled "
        "program costs as much as all the work. The exact optimum begins with enumerating the "
        "chains, for both by the "
        "same code.",
    ]


def missed_dpo() -> str:
    return (
        "- **DPO.** With answers longer than their prompts, both sides do nearly the same matrix products: what one "
        "pass over both answers saves is the prompt."
    )


def missed_ppo() -> str:
    ppo, roofline = load("bench_ppo"), load("bench_scaling")["roofline"]
    update = roofline["programs"]["a PPO update"]
    least = update["matmul_flops"] / roofline["ceilings"]["flops_per_second"]
    theirs = max(row["per_second"] for name, row in ppo["contenders"].items() if "Stable" in name)
    per_update = ppo["sizes"]["steps_per_update"] / theirs
    counted = [one["ratio_with_compiling"] for one in ppo["comparisons"] if "ratio_with_compiling" in one]
    return (
        f"- **PPO.** An update of the pointer policy needs {update['matmul_flops'] / 1e9:.1f} GFLOP "
        "of matrix products, "
        f"{1e3 * least:.0f} ms at the ceiling of all cores; Stable-Baselines3 takes "
        f"{1e3 * per_update:.0f} ms for one of "
        f"its own, so {per_update / least:.0f} times is the most there could be. The process is "
        "learned in a second: if "
        f"compiling is counted, Stable-Baselines3 is there {1 / min(counted):.0f} times as fast. A "
        "compiled program pays when it runs for longer, for many seeds and settings at once, or in "
        "later calls, which "
        "find it in the cache."
    )


def missed_man() -> str:
    roofline, torch = (
        load("bench_scaling")["roofline"],
        load("bench_man")["beside_pytorch"]["second-order step"],
    )
    man = roofline["programs"]["a second-order step of MAN"]
    least = man["matmul_flops"] / roofline["ceilings"]["flops_per_second"]
    return (
        f"- **MAN.** A second-order step of ten agents needs {man['matmul_flops'] / 1e9:.0f} GFLOP, "
        f"{least:.2f} s at that "
        f"ceiling; it takes {torch['seconds']['lameta_jax']['median']:.2f} s, in PyTorch "
        f"{torch['seconds'][torch['fastest_peer']]['median']:.2f} s. Patches are copied for every "
        "product, and products "
        "with so few features run far below the ceiling, see where the time goes."
    )
