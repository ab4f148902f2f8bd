"""Writes experiments/man.md, what the studies of MAN found, from their results files alone.

python experiments/man_page.py
"""

from pathlib import Path

from man_page_joining import joining
from man_page_studies import benchmark, fig2, fig3, fig4
from man_page_table1 import findings, table1
from man_page_theory import theorem1, theorem2
from pages import joined

PAGE = Path(__file__).parent / "man.md"


def page() -> str:
    """The page as text."""
    head = (
        "# Meta-learned adaptation (MAN): what agrees with the paper and what does not\n\n"
        "Written by `python experiments/man_page.py` from the results files, of which each section names the command. "
        "Intervals are 95%, over seeds; a seed draws environments, initial weights and batches, the same for all "
        "methods."
    )
    sections = (findings, table1, fig2, fig3, fig4, theorem1, theorem2, joining, benchmark)
    return joined(head, sections)


if __name__ == "__main__":
    PAGE.write_text(page())
