"""Writes experiments/srl.md, what the studies of composition found, from their results files alone.

python experiments/srl_page.py
"""

from pathlib import Path

from pages import joined, load, shown
from srl_page_figures import fig8, fig9, fig10, fig11
from srl_page_studies import ablations, changing_network, generalist, proposals, time

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
    seconds, proposals = load("srl_time"), load("proposals")
    most = str(proposals["widths"][-1])

    def proposed(told: str, what: str) -> str:
        return " and ".join(shown(proposals["applications"][name][told][what][most]) for name in APPLICATIONS)

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
    nominal = " and ".join(
        f"{main[name]['learned']['SRL, IoKD, large alone'][NOMINAL]['share']['mean']:.3f}"
        for name in APPLICATIONS
    )
    unseen = [group["generalist"]["share"]["mean"] for group in large["networks_never_met"].values()]
    less = " and ".join(
        f"{large['lameta-81'][name]['generalist_minus_own']['mean']:+.3f}" for name in APPLICATIONS
    )
    thousand = large["lameta-1k"]["generalist"]["share_of_beam_search"]["mean"]
    times = seconds["decisions"]["lameta-1k"]
    together, *_ = times["SRL"]
    policy, beam, exact = (times[method][together] for method in ("SRL", "beam search", "exact search"))
    return f"""## In short

Numbers in pairs are multimedia, then question answering.

- **The policy itself is near the optimum.** Told what users want, SRL gives them {both("SRL, own preference")} of it.
  What is lost is lost in reading: told what the large E-LAM reads, {both("SRL, IoKD, large alone")}; with both E-LAMs
  and their fees {both("SRL, IoKD")}, since it keeps to the small one.
- **Agrees with the paper:** SRL is above random, greedy and DRL-even, whatever they are told. Told what the large E-LAM
  reads, it is {margin("IoKD, large", "greedy")} above greedy and
  {margin("IoKD, large", "DRL-even")} above DRL-even; the paper has 17.2% and 23.5% over its best baseline.
- **Does not agree:** a large language model that reads the prompt itself and composes from the tables gets
  {zero_shot} of the optimum in the nominal network, as it reads better than any E-LAM; SRL with the large E-LAM
  gets {nominal} there. And searches that know the formulas need no learning: told the preference, annealing over 256
  chains is only {margin("own preference", "simulated annealing, 256 chains")} behind SRL, and exact search ahead of it.
- **Hedging against misreading** pays where reading is poor, and not always. SRL less exact search that is told the
  same, in shares of the optimum: raw E-LAM {difference("raw E-LAM, large")}; IoKD
  {difference("IoKD E-LAM, large")}.
- **As good as exact search told the same** is the policy if it proposes {most} chains, of which the best by the
  formulas is taken: told what the large E-LAM reads, {proposed("IoKD, large", "less_plug_in")} of the optimum away
  from it; told what users want, {proposed("own preference", "share")} of the optimum. On lameta-1k the generalist
  then gets {proposals["lameta-1k"][most]:.3f} instead of {proposals["lameta-1k"]["1"]:.3f} of what beam search finds.
- **Better reading, better service:** told nothing {both("DRL-even")}; raw
  {both("SRL, raw, large alone")}; IoKD {both("SRL, IoKD, large alone")}; the preference itself
  {both("SRL, own preference")}.
- **(35) as printed** hardly depends on the intent: policies trained on it give users
  {both("SRL, own preference, printed")}, which is what ignoring users gives.
- **Fig. 10 depends on what a policy is told.** If it hears the mean preference of its application whoever asks, the
  nearer application's policy is best for {not_worse("any users, told the mean of its application")} of any users (the
  paper: over 90%). If it is told what the user wants, both serve nearly alike, and the nearer one is at least as good
  for {not_worse("any users, told what the user wants")} only.
- **In-context learning** (Fig. 11) changes the final capability by {shown(memory["final_capability"], 3)}, which
  the paper puts at +0.04, and the QoE that users feel by {shown(memory["qoe"], 3)}.
- **One generalist serves all.** On networks that it has not met it gets {min(unseen):.3f} to {max(unseen):.3f} of the
  optimum by kind of network; on lameta-81, {less} of it compared with policies made for one
  application; on lameta-1k {thousand:.3f} of what beam search finds, in {policy / beam:.1%} of its time per user
  ({together}), where less than 1% was aimed for: {1e6 * policy:.1f} us beside {1e6 * beam:.0f} us. Exact search, with
  three agents per chain, takes only {1e6 * exact:.1f} us.
- **Training is short:** {seconds["seconds_to_target"]["mean"]:.1f} s of steady time to 0.95 of the optimum, after
  {seconds["compile_seconds"]:.0f} s of compiling."""


def page() -> str:
    """The page as text."""
    head = (
        "# Composing chains: what agrees with the paper and what does not\n\n"
        "Written by `python experiments/srl_page.py` from the results files, of which each section names the command. "
        "Network `lameta-81`, 40 test users per application, ten slots that no policy has met. Shares are of what "
        "exact search gives a user told what he wants (the optimum). Intervals are 95%, over the seeds of the policies."
    )
    sections = (findings, fig8, fig9, fig10, fig11, ablations, proposals, generalist, changing_network, time)
    return joined(head, sections)


if __name__ == "__main__":
    PAGE.write_text(page())
