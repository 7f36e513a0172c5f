"""`convoy tune --worker`: run trials for a chief on another host."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from jobs import console, faults
from jobs.exits import INTERRUPTED, CommandError

if TYPE_CHECKING:
    from jobs.config import Job


def expected_job(config: Path | None, space: Path | None, overrides: list[str]) -> "Job | None":
    """Give the job that the chief is expected to search; None leaves it to the chief."""
    from jobs.config import load

    if config is not None:
        return load(config, overrides, space)
    if space or [o for o in overrides if not o.startswith("tune.workers=")]:
        raise CommandError(
            "--worker without a job file takes the chief's settings: no others but --workers"
        )
    return None


def run_trials(job: "Job | None", workers: int | None, runs: Path, json: bool) -> None:
    """Run trials until the chief has no more, and print those that ended here."""
    from jobs.oracle import read_post

    post = read_post(os.environ, chief=False)
    console.load_tensorflow()
    from jobs.board import Board, trial_table
    from jobs.signals import stop_on_signal
    from jobs.worker import work

    with (
        faults.told(INTERRUPTED, "Other workers go on with its trials"),
        stop_on_signal() as stop,
        Board(lowest_is_best=False, ended=[]) as board,
    ):
        work(post, job, workers, runs, board, stop)
    trials = [trial for trial in board.trials.values() if trial.state != "RUNNING"]
    if json:
        console.print_json({"worker": post.worker, "trials": [trial.to_json() for trial in trials]})
        return
    console.stdout.print(trial_table(f"trials that ended at {post.worker}", trials, {}))
