"""`convoy tune`: search for better settings, or look at a search."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import console, faults, options
from jobs.commands import tune_worker
from jobs.exits import FAILED, INTERRUPTED, CommandError, NoTrialCompleted
from jobs.oracle import Post, read_post

if TYPE_CHECKING:
    from jobs.config import Job
    from jobs.rundir import RunDir
    from jobs.tune import Search

Trials = Annotated[
    int | None, typer.Option(min=1, help="Trials to run, in place of tune.max_trials.")
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Trials at a time, in place of tune.workers.")
]
Space = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Ready tune section, such as those in configs/spaces."),
]
Chief = Annotated[bool, typer.Option("--chief", help="Leave the trials to workers on other hosts.")]
Worker = Annotated[
    bool, typer.Option("--worker", help="Run trials for a chief; CONFIG may be left out.")
]
Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Continue this search.")]
Config = Annotated[
    Path | None, typer.Argument(metavar="CONFIG", help='Job file (TOML); or "show" and a run.')
]
Shown = Annotated[Path | None, typer.Argument(metavar="[RUN]", help="The search to show.")]


def tune(
    config: Config = None,
    run: Shown = None,
    trials: Trials = None,
    workers: Workers = None,
    space: Space = None,
    chief: Chief = False,
    worker: Worker = False,
    resume: Resume = None,
    set_: options.Overrides = None,
    runs: options.Runs = Path("runs"),
    json: options.Json = False,
) -> None:
    """Search for better settings and write the best ones as a job file for `convoy run`.

    `convoy tune show RUN` prints the trials of a search. Exit codes: 0 done, 1 no trial completed,
    2 wrong configuration, 75 interrupted, or stopped by what the machine refuses, such as room on
    a full disk (continue with --resume).

    On several hosts, start `convoy tune CONFIG --chief` on one and `convoy tune --worker` on the
    others, each with KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT of the chief, and a
    KERASTUNER_TUNER_ID of its own. A trial whose worker falls silent is another's after
    tune.lease_seconds. A chief that was killed goes on with `--resume RUN --chief`, while its
    workers wait for tune.chief_minutes. Share the directory of the runs among the hosts, so that a
    trial goes on from its checkpoint elsewhere; without it, it begins anew.
    """
    if config == Path("show"):
        _show(run, json)
        return
    if run is not None:
        raise CommandError(f"unexpected argument {run}: expected one job file, or show RUN")
    overrides = [*(set_ or []), *([f"tune.max_trials={trials}"] if trials else [])]
    overrides += [f"tune.workers={workers}"] if workers else []
    if worker:
        if chief or resume:
            raise CommandError("--worker goes with neither --chief nor --resume")
        tune_worker.run_trials(
            tune_worker.expected_job(config, space, overrides), workers, runs, json
        )
        return
    post = read_post(os.environ, chief=True) if chief else None
    job, directory = _open(config, space, resume, overrides)
    console.load_tensorflow()
    found = _search(job, directory, runs, post)
    if json:
        console.print_json(found.to_json())
        return
    _print(found)


def _open(
    config: Path | None, space: Path | None, resume: Path | None, overrides: list[str]
) -> "tuple[Job, RunDir | None]":
    from jobs.config import load
    from jobs.rundir import RunDir

    if resume is not None and (overrides or space):
        raise CommandError("--resume takes no other settings: a search keeps those it began with")
    if resume is not None and config is None:
        directory = RunDir.open(resume)
        return directory.job(), directory
    if config is not None and resume is None:
        return load(config, overrides, space), None
    raise CommandError("expected a job file, --resume RUN, or show RUN")


def _search(job: "Job", directory: "RunDir | None", runs: Path, post: Post | None) -> "Search":
    from jobs.board import Board
    from jobs.chief import lead
    from jobs.rundir import RunDir
    from jobs.signals import stop_on_signal
    from jobs.tune import read_trials, resolve, search

    resolved = job if directory else resolve(job)
    run = directory or RunDir.create(runs, f"{job.name}-tune", resolved.to_toml())
    console.stderr.print(f"search {run.path}", soft_wrap=True)
    ended = [t for t in read_trials(run) if t.state != "RUNNING"] if directory else []
    lowest_is_best = resolved.tune is not None and resolved.tune.lowest_is_best
    again = f"convoy tune --resume {run.path}{' --chief' if post else ''}"
    try:
        with (
            faults.told(INTERRUPTED, f"Mend that, then continue with: {again}"),
            stop_on_signal() as stop,
            Board(lowest_is_best, ended) as board,
        ):
            if post is not None:
                found = lead(resolved, run, board, stop.is_set, post)
            else:
                found = search(resolved, run, board, stop.is_set)
    except NoTrialCompleted as problem:
        raise CommandError(str(problem), FAILED) from None
    if found is None:
        raise CommandError(f"interrupted. Continue with: {again}", INTERRUPTED)
    return found


def _show(path: Path | None, json: bool) -> None:
    if path is None:
        raise CommandError("convoy tune show: expected the directory of a search")
    console.load_tensorflow()
    from jobs.board import trial_table
    from jobs.rundir import RunDir
    from jobs.tune import read_trials

    trials = read_trials(RunDir.open(path))
    best = next((trial.to_json() for trial in trials if trial.state == "COMPLETED"), None)
    if json:
        console.print_json({"trials": [trial.to_json() for trial in trials], "best": best})
        return
    console.stdout.print(trial_table(f"{path}, best first", trials, {}))
    for trial in trials:
        if trial.reason:
            _say(f"trial {trial.id}: {trial.reason}")


def _print(found: "Search") -> None:
    from jobs.board import trial_table
    from jobs.tune import BEST

    console.stdout.print(trial_table("trials, best first", found.trials, {}))
    for trial in found.trials:
        if trial.reason:
            _say(f"trial {trial.id}: {trial.reason}")
    _say(f"Train the best in full: convoy run {found.run / BEST}")


def _say(text: Any) -> None:
    console.stdout.print(text, soft_wrap=True)
