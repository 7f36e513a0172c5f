"""`convoy tune`: search for better settings."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs import console, options
from jobs.exits import FAILED, CommandError

if TYPE_CHECKING:
    from tuning.search import Trial

BEST = "best.toml"
Trials = Annotated[
    int | None, typer.Option(min=1, help="Trials to run, in place of tune.max_trials.")
]


def tune(
    config: options.ConfigFile,
    trials: Trials = None,
    set_: options.Overrides = None,
    runs: options.Runs = Path("runs"),
    json: options.Json = False,
) -> None:
    """Search for better settings and write the best ones as a job file for `convoy run`."""
    from jobs.config import load
    from tuning.config import TuneConfig

    overrides = [*(set_ or []), *([f"tune.max_trials={trials}"] if trials else [])]
    job = load(config, overrides)
    console.load_tensorflow()
    from jobs.rundir import RunDir
    from jobs.tune import check_space, train_once, with_values
    from tuning.search import NoTrialCompleted, search

    settings = job.tune or TuneConfig()
    check_space(job, settings)
    run = RunDir.create(runs, f"{job.name}-tune", job.to_toml())
    try:
        found = search(settings, partial(train_once, job), run.path, _show)
    except NoTrialCompleted as problem:
        raise CommandError(str(problem), FAILED) from None
    run.write(BEST, with_values(job, found[0].values).to_toml())
    if json:
        console.print_json(
            {"trials": [trial.to_json() for trial in found], "best": found[0].to_json()}
        )
        return
    _print(found, run.path / BEST)


def _show(trial: "Trial") -> None:
    score = "failed" if trial.score is None else f"validation accuracy {trial.score:.4f}"
    values = "  ".join(f"{path} {_short(value)}" for path, value in trial.values.items())
    console.stderr.print(f"trial {trial.id}: {score}  {values}", highlight=False, soft_wrap=True)


def _print(trials: list["Trial"], best: Path) -> None:
    paths = sorted(trials[0].values)
    rows: list[list[Any]] = [
        [
            t.id,
            t.state,
            "" if t.score is None else f"{t.score:.4f}",
            f"{t.seconds:.1f}",
            *map(_short, (t.values[p] for p in paths)),
        ]
        for t in trials
    ]
    names = [path.rpartition(".")[2] for path in paths]
    heads = names if len(set(names)) == len(names) else paths
    console.print_table(
        "trials, best first", ["trial", "state", "accuracy", "seconds", *heads], rows
    )
    console.stdout.print(
        f"Train the best in full: convoy run {best}", highlight=False, soft_wrap=True
    )


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
