"""MAN Table I for MNIST with four times as many rounds as table1, nearer to the paper's 1000, for four of its rows.

    lameta reproduce table1-long      # or python experiments/table1_long.py [--seeds 5] [--out DIR]

Everything else, seeds and tuned rates too, is as in table1.
"""

import time

from common import arguments, finish
from man_figures import accuracy_bars
from table1 import PAPER, table

ROUNDS = 240
ROWS = ("local training", "joint training (FedAvg)", "FedAvg, fine-tuned", "MAN")


def main() -> None:
    options = arguments("table1_long", 5, __doc__, runs="man")
    started, seeds = time.time(), list(range(options.seeds))
    found = {"mnist": table("mnist", ROUNDS, list(ROWS), seeds, options.runs)}
    accuracy_bars(options.out / "table1_long.png", {"mnist": found["mnist"]["rows"]}, PAPER)
    finish("table1_long", {"data": found}, seeds=seeds, started=started, folder=options.out)


if __name__ == "__main__":
    main()
