"""`convoy run` and `convoy train`: the whole job, or its training alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import exits, options
from jobs.exits import CommandError

if TYPE_CHECKING:
    from jobs.config import Job
    from jobs.retrain import Outcome
    from jobs.rundir import RunDir

Resume = Annotated[Path | None, typer.Option(metavar="RUN", help="Continue this run's directory.")]
OptionalConfig = Annotated[Path | None, typer.Argument(metavar="CONFIG", help="Job file (TOML).")]


def run(
    config: OptionalConfig = None,
    set_: options.Overrides = None,
    resume: Resume = None,
    runs: options.Runs = Path("runs"),
    json: options.Json = False,
) -> None:
    """Train, prove, export and publish a model.

    Exit codes: 0 published, 2 wrong configuration, 3 not blessed, 4 data refused by the data
    check, 75 interrupted (continue with --resume).
    """
    outcome = _execute(config, set_, resume, runs, train_only=False)
    _print(outcome, json)
    if not outcome.blessed:
        raise CommandError("not blessed: " + "; ".join(outcome.reasons), exits.NOT_BLESSED)


def train(
    config: OptionalConfig = None,
    set_: options.Overrides = None,
    resume: Resume = None,
    runs: options.Runs = Path("runs"),
    json: options.Json = False,
) -> None:
    """Train and evaluate a model; publish nothing."""
    _print(_execute(config, set_, resume, runs, train_only=True), json)


def _execute(
    config: Path | None,
    overrides: list[str] | None,
    resume: Path | None,
    runs: Path,
    train_only: bool,
) -> "Outcome":
    job, directory = _open(config, overrides, resume, runs)
    from jobs.lock import held

    if directory is not None:
        runs = directory.path.resolve().parent.parent
    with held(runs, job.name):  # before TensorFlow: who comes second is told at once
        return _run(job, directory, runs, train_only)


def _run(job: "Job", directory: "RunDir | None", runs: Path, train_only: bool) -> "Outcome":
    from jobs import console

    console.load_tensorflow()
    from jobs import retrain
    from jobs.progress import watch
    from jobs.rundir import RunDir
    from trainer.callbacks import Diverged, Interrupted

    run_dir = directory or RunDir.create(runs, job.name, job.to_toml())
    console.stderr.print(f"run {run_dir.path}", highlight=False)
    try:
        with watch(job.train.epochs) as hooks:
            return retrain.retrain(job, run_dir, hooks, train_only)
    except exits.ConfigError:
        if directory is None:
            run_dir.discard()
        raise
    except retrain.DataRefused as problem:
        raise CommandError(str(problem), exits.DATA_REFUSED) from None
    except Diverged as problem:
        raise CommandError(str(problem), exits.FAILED) from None
    except Interrupted:
        message = f"interrupted. Continue with: convoy run --resume {run_dir.path}"
        raise CommandError(message, exits.INTERRUPTED) from None


def _open(
    config: Path | None, overrides: list[str] | None, resume: Path | None, runs: Path
) -> tuple["Job", "RunDir | None"]:
    from jobs.config import load
    from jobs.rundir import RunDir

    if resume is not None and overrides:
        raise CommandError("--set does not go with --resume: a run keeps its settings")
    if resume is not None and config is None:
        directory = RunDir.open(resume)
        return directory.job(), directory
    if config is not None and resume is None:
        return load(config, overrides), None
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
