"""A search over a job's own settings: every trial trains the job with other values."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobs.config import Job
from jobs.exits import ConfigError, NoTrialCompleted
from jobs.nursery import Nursery
from jobs.preparation import check_model
from jobs.rundir import STATE, RunDir
from jobs.runs import thin
from jobs.values import BEST_VALUES, with_values
from pipeline.whole import clear
from tuning import report
from tuning.config import TuneConfig
from tuning.journal import DamagedJournal, Journal
from tuning.space import DEFAULT_SPACE, Values, corners, own_values
from tuning.study import Study
from tuning.supervisor import Supervisor, Watcher
from tuning.trial import Trial, best_first

JOURNAL = "journal.jsonl"
BEST = "best.toml"
LEADERBOARD = "leaderboard.csv"
REPORT = "report.html"
SEARCHED = ("model.", "train.", "data.augment.")  # what a search may vary
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Search:
    """A finished search."""

    run: RunDir
    trials: list[Trial]  # best first
    best: Trial

    def to_json(self) -> dict[str, Any]:
        """Give the search as plain JSON values."""
        trials = [trial.to_json() for trial in self.trials]
        return {"trials": trials, "best": self.best.to_json(), "run": str(self.run.path)}


def resolve(job: Job) -> Job:
    """Give the job with every setting of its search written out, and its space checked.

    Raises ConfigError that names the path and the value.
    """
    settings = job.tune or TuneConfig()
    changes: dict[str, Any] = {"space": settings.space or DEFAULT_SPACE}
    if settings.algorithm == "hyperband" and settings.hyperband.max_epochs is None:
        epochs = {"max_epochs": max(2, job.train.epochs)}
        changes["hyperband"] = settings.hyperband.model_copy(update=epochs)
    resolved = settings.model_copy(update=changes)
    check_space(job, resolved)
    return job.model_copy(update={"tune": resolved})


def check_space(job: Job, settings: TuneConfig) -> None:
    """Hold the ends of every dimension against the job's own checks, before the first trial.

    Each is tried under every combination of parents that makes it matter, beside first values of
    the other dimensions. Raises ConfigError that names the path and the value.
    """
    space = settings.space or DEFAULT_SPACE
    if foreign := [path for path in space if not path.startswith(SEARCHED)]:
        raise ConfigError(
            f"tune.space.{foreign[0]}: cannot be searched, as scores under other data or rules do "
            f"not compare; allowed: fields of {', '.join(name[:-1] for name in SEARCHED)}"
        )
    if settings.algorithm == "hyperband" and "train.epochs" in settings.space:
        raise ConfigError(
            "tune.space.train.epochs: hyperband itself decides how many epochs a trial trains; "
            "take it out of the space, or choose random, bayesian or grid"
        )
    for values in corners(space):
        check_model(with_values(job, values))


def search(
    job: Job, run: RunDir, watcher: Watcher, stop_requested: Callable[[], bool]
) -> Search | None:
    """Run the search of a resolved job, from where `run` stands, in processes of its own.

    None when it was asked to stop before its end. Raises ConfigError when the journal cannot be
    continued, NoTrialCompleted when every trial failed.
    """
    study = open_study(job, run)
    if not study.is_over:
        with Nursery(run.path, study.config.workers) as nursery:
            over = Supervisor(study, nursery, watcher).run(stop_requested)
        if not over:
            return None
    return conclude(job, run, study)


def place_beside(run: RunDir, job: Job) -> RunDir:
    """Give the directory of the search that a run makes, under the run's name among searches."""
    path = run.path.parent.with_name(f"{job.name}-tune") / run.path.name
    return RunDir(path) if (path / STATE).is_file() else RunDir.begin(path, job.to_toml())


def open_study(job: Job, run: RunDir) -> Study:
    """Take up the run's search, or begin it, warm-started by the last search of this name.

    Raises ConfigError when the journal cannot be continued.
    """
    settings = _settings(job)
    own = own_values(_tree(job), settings.space)
    try:
        journal = Journal(run / JOURNAL)
        return Study(settings, settings.space, journal, own, last_best(run, settings))
    except DamagedJournal as problem:
        raise ConfigError(str(problem)) from None


def conclude(job: Job, run: RunDir, study: Study) -> Search:
    """Write what the search found: leaderboard, best settings and report; drop trials' states.

    Of searches before the newest `runs.keep` only these records stay. Raises NoTrialCompleted when
    no trial has a score.
    """
    trials, best = study.ranked(), study.best()
    run.write(LEADERBOARD, report.leaderboard(trials))
    run.write(REPORT, report.render(job.name, trials, study.config))
    if best is None:
        reasons = {trial.reason for trial in trials}
        raise NoTrialCompleted(
            f"none of {len(trials)} trials completed: {'; '.join(sorted(map(str, reasons)))}"
        )
    values = study.hyperparameters(best.values)
    run.write(BEST_VALUES, json.dumps(values, indent=2) + "\n")
    done = _settings(job).model_copy(update={"enabled": False})
    tuned = with_values(job, best.values).model_copy(update={"tune": done})
    run.write(BEST, tuned.to_toml())
    for states in run.path.glob("trials/*/training/checkpoints"):
        clear(states)  # nobody goes on from them now
    thin(run, job.runs.keep)
    return Search(run, trials, best)


def read_trials(run: RunDir) -> list[Trial]:
    """Give the trials of a search, best first, those that run included; nothing is changed.

    Raises ConfigError when the run is no search or its journal is damaged.
    """
    from tuning.journal import read

    if not (run / JOURNAL).is_file():
        raise ConfigError(f"{run.path} is no search: it has no {JOURNAL}, as convoy tune makes")
    try:
        events = read(run / JOURNAL)
    except DamagedJournal as problem:
        raise ConfigError(str(problem)) from None
    trials: dict[str, Trial] = {}
    for event in events:
        if event["event"] == "create":
            name = event["trial"]
            trials[name] = Trial(name, "RUNNING", event["values"], None, 0.0, None)
        elif event["event"] == "end":
            trials[event["id"]] = Trial(
                **{k: event[k] for k in ("id", "state", "values", "score", "seconds", "reason")}
            )
    return best_first(trials.values(), _settings(run.job()).lowest_is_best)


def last_best(run: RunDir, settings: TuneConfig) -> list[Values]:
    """Give the values of the best trials of the last earlier search beside this one.

    Only values that the present space still knows are taken; none where nothing is left.
    """
    for search in run.earlier(JOURNAL):
        try:
            trials = read_trials(RunDir.open(search.path))
        except ConfigError as problem:
            log.warning("no warm start from %s: %s", search.path, problem)
            continue
        done = [trial for trial in trials if trial.state == "COMPLETED"]
        if done:
            return [t.values for t in done if _fits(t.values, settings)][: settings.warm_start]
    return []


def _fits(values: Values, settings: TuneConfig) -> bool:
    from tuning.space import is_member

    return is_member(settings.space, values)


def _settings(job: Job) -> TuneConfig:
    return job.tune or TuneConfig()


def _tree(job: Job) -> dict[str, Any]:
    return job.model_dump(mode="json", by_alias=True, exclude_none=True)
