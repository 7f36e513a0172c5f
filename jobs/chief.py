"""The chief of a search whose trials run on other hosts."""

import logging
from collections.abc import Callable

from jobs import faults
from jobs.config import Job
from jobs.exits import FAILED, CommandError, ConfigError
from jobs.lock import held
from jobs.oracle import Post
from jobs.rundir import CONFIG, RunDir
from jobs.tune import Search, conclude, open_study
from tuning.chief import BrokenStudy, Chief
from tuning.service import AddressRefused, Terms, listening
from tuning.supervisor import Watcher

log = logging.getLogger(__name__)


def lead(
    job: Job, run: RunDir, watcher: Watcher, stop_requested: Callable[[], bool], post: Post
) -> Search | None:
    """Hand the trials of a resolved job's search to workers, from where `run` stands.

    None when it was asked to stop before its end: its workers then wait for the next chief. Raises
    ConfigError when the journal cannot be continued or the address cannot be had, NoTrialCompleted
    when every trial failed, and CommandError when an error has ended the study.
    """
    with held(run.path, "chief"):
        study = open_study(job, run)
        chief = Chief(study, watcher)
        name = f"{run.path.parent.name}/{run.path.name}"
        config = (run / CONFIG).read_text(encoding="utf-8")
        terms = Terms(name, config, study.config.lease_seconds)
        try:
            with listening(chief, terms, post.address) as port:
                log.info("chief at %s:%d, waiting for workers", post.host, port)
                over = chief.run(stop_requested)
        except AddressRefused as problem:
            raise ConfigError(str(problem)) from None
        except BrokenStudy as problem:
            if faults.describe(problem) is not None:
                raise  # of a full disk, say: the search goes on when there is room
            raise CommandError(f"the chief of {run.path}: {problem}", FAILED) from problem
        return conclude(job, run, study) if over else None
