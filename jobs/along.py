"""A worker's part of a run: to train along with the chief."""

import tempfile
from pathlib import Path

from jobs.config import Job
from jobs.crew import Crew, lost_workers
from jobs.preparation import load_data, train_network
from trainer.callbacks import Hooks


def train_along(job: Job, crew: Crew, hooks: Hooks) -> None:
    """Train with the chief if it says so; it decides alone what becomes of the result.

    Raises ConfigError when job or data do not fit, Interrupted when any of them was asked to stop.
    """
    crew.gather()
    expected = crew.hear()
    if expected is None:
        return
    data = load_data(job)
    strategy = crew.join(data.info.digest, expected)
    with tempfile.TemporaryDirectory(prefix="convoy-worker-") as place, lost_workers():
        train_network(job, data, Path(place), hooks, strategy)
