"""Writes experiments/srl.md, what the studies of composition found, from their results files alone.

python experiments/srl_page.py
"""

from pathlib import Path

from pages import load, shown
from srl_page_figures import fig8, fig9, fig10, fig11
from srl_page_studies import ablations, changing_network, generalist, time

PAGE = Path(__file__).parent / "srl.md"
APPLICATIONS = ("multimedia", "qa")
HELD_OUT, NOMINAL = "held-out slots", "nominal network"


def findings() -> str:
    """What agrees and what does not, in words; what is said here is tested against the results."""
    main, parts, large = (
        load("fig8")["applications"],
        load("srl_ablations")["applications"],
        load("generalist"),
    )
    memory = load("fig11")["disturbances"]["misread"]["change"]
    nearer = load("fig10")["populations"]
    seconds = load("srl_time")

    def learned(name: str, method: str) -> str:
        return f"{main[name]['learned'][method][HELD_OUT]['share']['mean']:.3f}"

    def both(method: str) -> str:
        return " and ".join(learned(name, method) for name in APPLICATIONS)

    def margin(told: str, other: str) -> str:
        found = (main[name]["margins"][HELD_OUT][told][other]["mean"] for name in APPLICATIONS)
        return " and ".join(f"{100 * value:.1f}%" for value in found)

    def difference(label: str) -> str:
        found = (parts[name]["elam_quality"][label]["policy_minus_plug_in"] for name in APPLICATIONS)
        return " and ".join(shown(one) for one in found)

    def not_worse(label: str) -> str:
        return f"{nearer[label]['not_worse']['mean']:.1%}"

    zero_shot = " and ".join(
        f"{main[name]['others'][NOMINAL]['LLM zero-shot']['the prompts']['share']:.3f}"
        for name in APPLICATIONS
    )
    unseen = [group["generalist"]["share"]["mean"] for group in large["networks_never_met"].values()]
    less = " and ".join(
        f"{large['lameta-81'][name]['generalist_minus_own']['mean']:+.3f}" for name in APPLICATIONS
    )
    return f"""## In short

Numbers in pairs are multimedia, then question answering.

- **The policy itself is near the optimum.** Told what users want, SRL gives them {both("SRL, own preference")} of it. What
  is lost is lost in reading: told what the E-LAM reads, {both("SRL, IoKD, large alone")} (large E-LAM alone), and
  {both("SRL, IoKD")} with both E-LAMs and their fees, where it keeps to the small one.
- **Agrees with the paper:** SRL is above random, greedy and DRL-even. Told what the large E-LAM reads, its margin over
  greedy is {margin("IoKD, large", "greedy")} and over DRL-even {margin("IoKD, large", "DRL-even")}; the paper has 17.2% and 23.5%
  over its best baseline. The factors move as it says, but for the latency in question answering, which ends about where
  it began: the untrained policy is fast already.
- **Does not agree:** SRL is not above every other method. A large language model that reads the prompt itself and composes
  from the tables gets {zero_shot} of the optimum in the nominal network, more than any composer for multimedia that is told
  what an E-LAM reads: it reads better. And who knows the formulas needs no learning: simulated annealing over 256 chains is
  {margin("own preference", "simulated annealing, 256 chains")} behind SRL, exact search ahead of it. What SRL has for
  itself is time on large networks (below) and that it needs to know no formula.
- **Hedging against misreading** hardly pays. SRL less exact search for what the large E-LAM reads, in shares of the
  optimum: {difference("IoKD E-LAM, large")}. With the raw E-LAM: {difference("raw E-LAM, large")}.
- **Better reading, better service:** nothing known, raw, IoKD, own preference, in this order, for both applications
  but one tie or so at the lower end: {both("DRL-even")}; {both("SRL, raw, large alone")};
  {both("SRL, IoKD, large alone")}; {both("SRL, own preference")}.
- **(35) as printed** hardly depends on the intent: policies trained on it give users {both("SRL, own preference, printed")},
  what ignoring them gives.
- **Fig. 10 depends on what a policy is told.** If it hears the mean preference of its application whoever asks, the nearer
  application's policy is best for {not_worse("any users, told the mean of its application")} of any users (the paper: over
  90%). If it is told what the user wants, there is little to choose between the two, and the nearer one is at least as
  good for only {not_worse("any users, told what the user wants")}.
- **In-context learning** (Fig. 11): change of the final capability {shown(memory["final_capability"], 3)}, of the QoE
  {shown(memory["qoe"], 3)}. The paper: +0.04 in capability.
- **One generalist serves all.** On networks that it has not met: {min(unseen):.3f} to {max(unseen):.3f} of the optimum by
  kind of network; on lameta-81 {less} against policies made for one application; on lameta-1k
  {large["lameta-1k"]["generalist"]["share_of_beam_search"]["mean"]:.3f} of what beam search finds, in
  {large["lameta-1k"]["share_of_the_time"]:.2%} of its time.
- **Training is short:** {seconds["seconds_to_target"]["mean"]:.1f} s of steady time to 0.95 of the optimum, since lookahead
  leaves little to learn; without it, see below."""


def page() -> str:
    """The page as text."""
    head = (
        "# Composing chains: what agrees with the paper and what does not\n\n"
        "Written by `python experiments/srl_page.py` from the results files, of which each section names the command. "
        "Network `lameta-81`, 40 test users per application, ten slots that no policy has met. Shares are of what "
        "exact search gives a user told what he wants (the optimum). Intervals are 95%, over the seeds of the policies."
    )
    sections = (findings, fig8, fig9, fig10, fig11, ablations, generalist, changing_network, time)
    return "\n\n".join([head, *(section() for section in sections)]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
