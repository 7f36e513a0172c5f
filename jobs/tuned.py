"""The search inside a run: which settings it trains with, before it trains."""

from typing import Any

from jobs.config import Job
from jobs.rundir import RunDir
from jobs.stages import stage
from jobs.values import with_values
from trainer.callbacks import Hooks, Interrupted

SEARCH = "search.json"  # in a run: which search it made, and the best of it


def searches(job: Job) -> bool:
    """Tell whether the job's runs search before they train."""
    return job.tune is not None and job.tune.enabled


def check_search(job: Job) -> None:
    """Refuse a wrong space before the data are read. Raises ConfigError."""
    if searches(job):
        from jobs.tune import resolve  # imports KerasTuner, which most runs do without

        resolve(job)


def tune(job: Job, run: RunDir, hooks: Hooks) -> Job:
    """Give the job with the best settings of its search; as it is where it asks for none.

    The search has a run directory of its own, where those of `convoy tune` are, and is taken up
    where it stood. Raises ConfigError when its journal cannot be continued, NoTrialCompleted when
    no trial can be trained, Interrupted when a hook asks to stop.
    """
    if not searches(job):
        return job
    if not run.is_done("search"):
        with stage(run, hooks, "search"):
            run.write_json(SEARCH, _search(job, run, hooks))
    return with_values(job, run.read_json(SEARCH)["best"]["values"], SEARCH)


def _search(job: Job, run: RunDir, hooks: Hooks) -> dict[str, Any]:
    """Search to the end; give what the card tells of it."""
    from jobs.board import Board
    from jobs.tune import place_beside, resolve, search

    resolved = resolve(job)
    settings = resolved.tune
    lowest_is_best = settings is not None and settings.lowest_is_best
    place = place_beside(run, resolved)
    with Board(lowest_is_best, [], on_terminal=False) as board:  # the run has its own live display
        found = search(resolved, place, board, hooks.stop_requested)
    if found is None:
        raise Interrupted
    return {
        "run": place.path.name,
        "algorithm": settings.algorithm if settings else None,
        "objective": settings.objective if settings else None,
        "trials": len(found.trials),
        "completed": sum(trial.state == "COMPLETED" for trial in found.trials),
        "best": found.best.to_json(),
    }
