"""A worker of a search that a chief holds on another host."""

import logging
import threading
from pathlib import Path

from jobs.config import Job
from jobs.exits import INTERRUPTED, CommandError, ConfigError
from jobs.nursery import Nursery
from jobs.oracle import Post
from jobs.rundir import CONFIG, RunDir
from tuning.config import TuneConfig
from tuning.connection import ChiefLost, ChiefRefused, Connection
from tuning.remote import LeasedPool, RemoteStudy
from tuning.service import Terms
from tuning.supervisor import Supervisor, Watcher

log = logging.getLogger(__name__)


def work(
    post: Post,
    job: Job | None,
    workers: int | None,
    runs: Path,
    watcher: Watcher,
    stop: threading.Event,
) -> None:
    """Run trials for a chief until it has no more, each in a process of its own.

    `job` is what the chief is expected to search; its tune.workers holds here, if `workers` does
    not say how many trials run at a time. Without it all comes from the chief. `runs` may be the
    chief's own directory, on storage that both see: then a trial that another worker has begun
    goes on from its checkpoint.

    Raises CommandError when it is asked to stop, or the chief does not answer for
    tune.chief_minutes, and ConfigError when the chief searches something else.
    """
    own = (job and job.tune) or TuneConfig()
    connection = Connection(post.address, own.chief_minutes, stop.wait)
    try:
        terms = connection.join()
        log.info("worker %s of the search %s at %s", post.worker, terms.run, post.address)
        run = _enter(runs, terms)
        settings = _settings(run.job(), job, workers)
        study = RemoteStudy(connection, settings, str(post.worker))
        over = _run_trials(study, run, terms, watcher, stop)
    except ChiefRefused as problem:
        raise ConfigError(str(problem)) from None
    except ChiefLost as problem:
        raise CommandError(f"{problem}. Start the worker again to go on", INTERRUPTED) from None
    finally:
        connection.close()
    if not over:
        raise CommandError("interrupted: other workers go on with its trials", INTERRUPTED)


def _run_trials(
    study: RemoteStudy, run: RunDir, terms: Terms, watcher: Watcher, stop: threading.Event
) -> bool:
    with study.beating(terms.lease_seconds):
        try:
            with Nursery(run.path, study.config.workers) as nursery:
                return Supervisor(study, LeasedPool(nursery, study), watcher).run(stop.is_set)
        finally:
            study.leave()  # with its processes gone, so that none writes beside the next worker's


def _enter(runs: Path, terms: Terms) -> RunDir:
    """Open the search's directory, or make one where this host does not see the chief's."""
    parts = Path(terms.run).parts
    if len(parts) != 2 or ".." in parts or Path(terms.run).is_absolute():
        raise ConfigError(f"the chief names the search {terms.run!r}; expected NAME/RUN")
    run = RunDir(runs / terms.run)
    if not (run / CONFIG).is_file():
        RunDir.begin(run.path, terms.config)
    elif (run / CONFIG).read_text(encoding="utf-8") != terms.config:
        raise ConfigError(
            f"{run / CONFIG} is not the chief's. Remove {run.path}, or name other runs"
        )
    return run


def _settings(theirs: Job, job: Job | None, workers: int | None) -> TuneConfig:
    settings = theirs.tune or TuneConfig()
    if job is not None:
        _check_same(job, theirs)
        workers = workers or (job.tune or TuneConfig()).workers
    return settings.model_copy(update={"workers": workers or settings.workers})


def _check_same(job: Job, theirs: Job) -> None:
    names = [name for name in Job.model_fields if name != "tune"]
    if differing := [name for name in names if getattr(job, name) != getattr(theirs, name)]:
        raise ConfigError(
            f"this worker's job is not the chief's, by {', '.join(differing)}. Give both the same "
            "job file, or none to the worker"
        )
