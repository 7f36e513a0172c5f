"""`convoy train --find-lr`: a sweep of the learning rate."""

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.exits import CommandError

if TYPE_CHECKING:
    from trainer.rate_sweep import RateSweep


def find_lr(
    config: Path | None, overrides: list[str] | None, resume: Path | None, json: bool
) -> None:
    """Sweep the job's learning rate, and print what it suggests and where the curve is."""
    from jobs import console
    from jobs.config import load

    if config is None or resume is not None:
        raise CommandError("--find-lr expects a job file, and starts anew: leave --resume out")
    job = load(config, overrides)
    console.load_tensorflow()
    from jobs.rate_finder import find_rate
    from trainer.optimizers import highest_rate

    picture = Path(f"{job.name}-find-lr.png")
    with console.stderr.status("sweeping the learning rate"):
        found = find_rate(job, picture)
    if json:
        points = zip(found.rates, found.losses, strict=True)
        console.print_json(
            {
                "suggestion": found.suggestion,
                "picture": str(picture),
                "points": [{"learning_rate": rate, "loss": loss} for rate, loss in points],
            }
        )
        return
    console.print_table("", ["", ""], _rows(found, highest_rate(job.train), picture))


def _rows(found: "RateSweep", current: float, picture: Path) -> list[list[str]]:
    suggestion = found.suggestion
    return [
        ["steps", f"{len(found.rates)}, from {found.rates[0]:.1e} to {found.rates[-1]:.1e}"],
        ["the job's rate", f"{current:.1e}"],
        [
            "suggestion",
            "none: the loss never fell" if suggestion is None else f"{suggestion:.1e}",
        ],
        ["picture", str(picture)],
    ]
