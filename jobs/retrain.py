"""The main job, from data to a published model and a report, in recorded stages."""

import logging
from dataclasses import asdict, dataclass, field
from typing import Any

import keras

from jobs.config import Job
from jobs.crew import Crew
from jobs.release import Release
from jobs.rundir import OUTCOME, RunDir
from jobs.runs import prune, thin
from jobs.stages import Stages, stage
from jobs.summary import judged, summarize
from jobs.tuned import check_search, tune
from pipeline.dataset import Splits
from trainer import report
from trainer.callbacks import Hooks
from trainer.history import read_history
from trainer.summary import RunSummary

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ask:
    """What is wanted of a run."""

    train_only: bool = False  # train and evaluate, publish nothing
    force: bool = False  # train although nothing has changed


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str  # "published", "unchanged", "not_blessed", "rolled_back" or "trained"
    run: str
    version: int | None  # the one that it published; "unchanged": the one that is there already
    metrics: dict[str, float]
    blessed: bool
    seconds: dict[str, float]
    reasons: list[str] = field(default_factory=list)  # why it was not blessed, or rolled back

    def to_json(self) -> dict[str, Any]:
        """Give the outcome as plain JSON values."""
        return asdict(self)


def retrain(
    job: Job, run: RunDir, hooks: Hooks, ask: Ask | None = None, crew: Crew | None = None
) -> Outcome:
    """Take the run from where it stands to its end, each stage once.

    Where the newest version in the store is of the same data and settings, there is nothing to do,
    and a run that has just begun is removed. Raises ConfigError when the data or the model do not
    fit the job, DataRefused when the data must not be trained on, VerifyFailed when the export does
    not answer like the network, NoTrialCompleted when its search found nothing that trains,
    Interrupted when a hook asks to stop.
    """
    ask = ask or Ask()
    crew = crew or Crew()
    check_search(job)
    stages, release = Stages(job, run, hooks, crew), Release(job, run, hooks)
    if not ask.train_only:
        release.signer()  # a key that cannot be read is found out now, not after the training
        release.probe_tls()
    data = stages.prepare_data()
    prune(run, job, release.served_runs())
    idle = not (ask.train_only or ask.force or run.is_done("check"))
    if idle and (there := release.version_there(data.info)) is not None:
        return _nothing_to_do(release, there)
    stages.check_data(data)
    if (tuned := tune(job, run, hooks)) != job:
        job = tuned
        stages, release = Stages(job, run, hooks, crew), Release(job, run, hooks)
        data = stages.prepare_data()
    model = stages.train(data)
    predictions, evaluation = stages.evaluate(data, model)
    blessing = release.bless(model, data, predictions, evaluation)
    status, version, reasons = "trained", None, blessing.reasons()
    if not ask.train_only and not blessing.blessed:
        status = "not_blessed"
    elif not ask.train_only:
        version, reasons = release.roll_out(model, data)
        status = "rolled_back" if reasons else "published"
    summary = summarize(job, run, data.info, evaluation, predictions)
    with stage(run, hooks, "report"):
        _report(run, judged(summary, status, version), model, data)
    outcome = Outcome(
        status=status,
        run=str(run.path),
        version=version,
        metrics=evaluation.metrics(),
        blessed=blessing.blessed,
        seconds=run.seconds(),
        reasons=reasons,
    )
    run.write_json(OUTCOME, outcome.to_json())
    thin(run, job.runs.keep)
    return outcome


def _nothing_to_do(release: Release, version: int) -> Outcome:
    card = release.store.card(release.job.name, version)
    log.info("nothing to do: version %d is of the same data and settings", version)
    if version in release.store.pending(release.job.name).values():
        log.warning("but its label has not moved yet: convoy models repair ends what was killed")
    outcome = Outcome(
        status="unchanged",
        run=str(release.run.path.with_name(card["run"])),
        version=version,
        metrics={name: card["metrics"][name] for name in ("accuracy", "loss")},
        blessed=True,
        seconds=release.run.seconds(),
    )
    release.run.discard()
    return outcome


def _report(run: RunDir, summary: RunSummary, model: keras.Model, data: Splits) -> None:
    history = read_history(run / "history.csv")
    run.write("report.html", report.render(summary, history, model, data))
