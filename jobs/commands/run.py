"""`convoy run` and `convoy train`: the whole job, or its training alone."""

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from jobs import exits, faults, options
from jobs.commands.find_lr import find_lr as sweep_rate
from jobs.exits import CommandError

if TYPE_CHECKING:
    from jobs.config import Job
    from jobs.crew import Crew
    from jobs.retrain import Ask, Outcome
    from jobs.rundir import RunDir

Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Continue this run's directory.")]
Force = Annotated[bool, typer.Option("--force", help="Train although nothing has changed.")]
Hyperparameters = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="best_hyperparameters.txt of convoy tune or TFX's Tuner."),
]
FindLr = Annotated[
    bool, typer.Option("--find-lr", help="Only sweep the learning rate and draw the losses.")
]
OptionalConfig = Annotated[Path | None, typer.Argument(metavar="CONFIG", help="Job file (TOML).")]


def run(
    config: OptionalConfig = None,
    set_: options.Overrides = None,
    hyperparameters: Hyperparameters = None,
    resume: Resume = None,
    force: Force = False,
    runs: options.Runs = Path("runs"),
    json: options.Json = False,
) -> None:
    """Train a model, prove it better than the live one, publish it and watch it being served.

    Does nothing when the data and settings are those of the newest version. A run that was killed
    is continued. With tune.enabled it first searches for better settings. Exit codes: 0 published
    or unchanged, 1 failed or withdrawn again, 2 wrong configuration, 3 not blessed, 4 data refused
    by the data check, 75 interrupted, or stopped by what the machine refuses, such as room on a
    full disk (continue with --resume). With TF_CONFIG set, trains with other processes that run
    the same command.
    """
    opened = _open(config, set_, resume, hyperparameters)
    outcome = _execute(opened, runs, train_only=False, force=force)
    _print(outcome, json)
    if outcome.status == "rolled_back":
        reasons = "; ".join(outcome.reasons)
        raise CommandError(f"version {outcome.version} was withdrawn: {reasons}", exits.FAILED)
    if not outcome.blessed:
        raise CommandError("not blessed: " + "; ".join(outcome.reasons), exits.NOT_BLESSED)


def train(
    config: OptionalConfig = None,
    set_: options.Overrides = None,
    resume: Resume = None,
    find_lr: FindLr = False,
    runs: options.Runs = Path("runs"),
    json: options.Json = False,
) -> None:
    """Train and evaluate a model; publish nothing, also when it is resumed.

    With --find-lr: take at most 200 steps at growing learning rates, write the curve of their
    losses to NAME-find-lr.png, suggest a rate, and leave everything else as it is.
    """
    if find_lr:
        sweep_rate(config, set_, resume, json)
        return
    _print(_execute(_open(config, set_, resume), runs, train_only=True), json)


def _execute(
    opened: "tuple[Job, RunDir | None]", runs: Path, train_only: bool, force: bool = False
) -> "Outcome":
    from jobs.crew import Crew, read_cluster
    from jobs.lock import held

    job, directory = opened
    crew = Crew(read_cluster(os.environ))
    if crew.cluster is not None and job.tune is not None and job.tune.enabled:
        raise exits.ConfigError(
            "tune.enabled does not go with TF_CONFIG: workers train what the job file says. Search "
            "with convoy tune first, and run its best.toml"
        )
    if crew.trains_along:
        _train_along(job, crew)
    if directory is not None:
        runs = directory.path.resolve().parent.parent
    # Before TensorFlow: who comes second is told at once.
    with _resumable(directory, train_only), held(runs, job.name):
        from jobs import console

        console.load_tensorflow()
        from jobs.retrain import Ask

        try:
            return _run(job, directory, runs, Ask(train_only, force), crew)
        finally:
            crew.dismiss()


def _resumable(directory: "RunDir | None", train_only: bool) -> AbstractContextManager[None]:
    """Let what the machine refuses be an interruption of the run, where there is one."""
    if directory is None:
        return nullcontext()
    advice = f"Mend that, then continue with: {_again(directory, train_only)}"
    return faults.told(exits.INTERRUPTED, advice)


def _again(directory: "RunDir", train_only: bool) -> str:
    """Give the command that continues a run; one that only trains must not publish then either."""
    return f"convoy {'train' if train_only else 'run'} --resume {directory.path}"


def _train_along(job: "Job", crew: "Crew") -> NoReturn:
    from jobs import console

    console.load_tensorflow()
    from jobs.along import train_along
    from jobs.progress import watch
    from trainer.callbacks import Diverged, Interrupted

    try:
        with (
            faults.told(exits.INTERRUPTED, "Mend that, then start all workers again"),
            watch(job.train.epochs) as hooks,
        ):
            train_along(job, crew, hooks)
    except Diverged as problem:
        raise CommandError(str(problem), exits.FAILED) from None
    except Interrupted:
        raise CommandError("interrupted, as were all workers", exits.INTERRUPTED) from None
    raise typer.Exit


def _run(job: "Job", directory: "RunDir | None", runs: Path, ask: "Ask", crew: "Crew") -> "Outcome":
    from jobs.runs import begin
    from jobs.stages import DataChanged

    if directory is not None:
        return _carry_out(job, directory, ask, crew)
    run_dir, fresh = begin(runs, job, ask.force)
    try:
        return _carry_out(job, run_dir, ask, crew, fresh)
    except DataChanged:  # since the killed run that was to be continued
        run_dir, fresh = begin(runs, job, force=True)
        return _carry_out(job, run_dir, ask, crew, fresh)


def _carry_out(
    job: "Job", run_dir: "RunDir", ask: "Ask", crew: "Crew", fresh: bool = False
) -> "Outcome":
    from jobs import console
    from jobs.progress import watch
    from jobs.retrain import retrain
    from jobs.stages import DataRefused
    from serving.errors import ServingError
    from trainer.callbacks import Diverged, Interrupted

    console.stderr.print(f"run {run_dir.path}", soft_wrap=True)
    if not run_dir.is_done("train"):
        crew.gather()
    try:
        with _resumable(run_dir, ask.train_only), watch(job.train.epochs) as hooks:
            return retrain(job, run_dir, hooks, ask, crew)
    except exits.ConfigError:
        if fresh:
            run_dir.discard()
        raise
    except DataRefused as problem:
        raise CommandError(str(problem), exits.DATA_REFUSED) from None
    except (Diverged, ServingError, exits.NoTrialCompleted) as problem:
        raise CommandError(str(problem), exits.FAILED) from None
    except Interrupted:
        message = f"interrupted. Continue with: {_again(run_dir, ask.train_only)}"
        raise CommandError(message, exits.INTERRUPTED) from None


def _open(
    config: Path | None,
    overrides: list[str] | None,
    resume: Path | None,
    hyperparameters: Path | None = None,
) -> tuple["Job", "RunDir | None"]:
    from jobs.config import load
    from jobs.rundir import RunDir
    from jobs.values import read_values, with_values

    if resume is not None and overrides:
        raise CommandError("--set does not go with --resume: a run keeps its settings")
    if resume is not None and hyperparameters is not None:
        raise CommandError("--hyperparameters does not go with --resume: a run keeps its settings")
    if resume is not None and config is None:
        directory = RunDir.open(resume)
        return directory.job(), directory
    if config is not None and resume is None:
        job = load(config, overrides)
        if hyperparameters is not None:
            job = with_values(job, read_values(hyperparameters), str(hyperparameters))
        return job, None
    raise CommandError("expected either a job file or --resume RUN")


def _print(outcome: "Outcome", json: bool) -> None:
    from jobs import console

    if json:
        console.print_json(outcome.to_json())
        return
    rows: list[list[Any]] = [
        ["status", outcome.status],
        ["run", outcome.run],
        ["version", outcome.version or "none"],
    ]
    rows += [[name, f"{value:.4f}"] for name, value in outcome.metrics.items()]
    rows += [["seconds", f"{sum(outcome.seconds.values()):.1f}"]]
    console.print_table("", ["", ""], rows)
