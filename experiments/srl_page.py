"""Writes experiments/srl.md, what the studies of composition found, from their results files alone.

python experiments/srl_page.py
"""

from pathlib import Path

from pages import load
from srl_page_figures import fig8, fig9, fig10, fig11
from srl_page_studies import ablations, changing_network, generalist, time

PAGE = Path(__file__).parent / "srl.md"


def findings() -> str:
    """What agrees and what does not, in words; what is said here is tested against the results."""
    return ""


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
