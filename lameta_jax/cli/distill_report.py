"""What `lameta distill` says: progress while it trains, then what was made and how well it reads."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lameta_jax.cli.common import write_table
from lameta_jax.cli.distill_plan import Made, Plan
from lameta_jax.pipeline.own_elam import RecordSplit
from lameta_jax.pipeline.resumable import Epoch
from lameta_jax.types import FACTOR_NAMES

if TYPE_CHECKING:
    from lameta_jax.cli.distill import DistillConfig

SHOWN_EPOCHS = 10  # lines of progress of a long training


def show_epoch(plan: Plan, say: Callable[[str], None]) -> Callable[[Epoch], None]:
    """What `ResumableTrainer` calls after every epoch: says how training goes, in some `SHOWN_EPOCHS` lines."""
    trainings = list(plan.trainings.items())

    def show(epoch: Epoch) -> None:
        every = 1 if epoch.total <= 2 * SHOWN_EPOCHS else epoch.total // SHOWN_EPOCHS
        if epoch.done % every and epoch.done != epoch.total:
            return
        what, pairs = trainings[epoch.training]
        text = f"{what}: epoch {epoch.done} of {epoch.total}, loss {epoch.loss:.4g}"
        if pairs:
            text += f", reward margin {epoch.reward_margin:.3f}, accuracy {epoch.reward_accuracy:.3f}"
        say(text)

    return show


def summary_of(config: "DistillConfig", plan: Plan, split: RecordSplit, made: Made) -> dict[str, Any]:
    """What was made, as `--json` prints it."""
    return {
        "out": config.out,
        "application": split.training[0].application,
        "elam": plan.name,
        "method": config.method,
        "decoder_only": config.decoder_only,
        "epochs": plan.epochs,
        "seed": config.seed,
        "records": {name: len(records) for name, records in split._asdict().items()},
        "validation": [
            {
                "model": name,
                "mse": error.mse,
                "mae": error.mae,
                "failure_rate": error.failure_rate,
                "factor_mae": dict(zip(FACTOR_NAMES, map(float, error.factor_mae), strict=True)),
            }
            for name, error in made.errors.items()
        ],
    }


def print_summary(summary: dict[str, Any]) -> None:
    """The same for people."""
    counts = summary["records"]
    print(
        f"{summary['out']}: {summary['elam']} E-LAM of {summary['application']}, {summary['method']},"
        f" {counts['training']} records trained on, {counts['validation']} held out"
    )
    if not summary["validation"]:
        return
    print("Error on the records held out; the last columns are the mean absolute error of each factor:")
    rows: list[tuple[str, ...]] = [("", "MSE", "MAE", "failed", *FACTOR_NAMES)]
    for row in summary["validation"]:
        shares = [f"{value:.4f}" for value in row["factor_mae"].values()]
        rows.append(
            (row["model"], f"{row['mse']:.4f}", f"{row['mae']:.4f}", f"{row['failure_rate']:.0%}", *shares)
        )
    write_table(rows)
