"""The runs of one name: the one to go on with, and what is kept of old ones."""

import json
import logging
from collections.abc import Collection
from pathlib import Path

from jobs.config import Job
from jobs.rundir import CONFIG, RunDir, in_order
from pipeline import copies
from pipeline.whole import clear

COPIES = "copies.json"  # in a run: the copies of data that it uses
HEAVY = (
    "checkpoints", "fine_tune", "logs", "export", "rehearsal", "model.keras", "golden.npz",
    "trials",  # of a search
)  # fmt: skip
PARTS = (".*.partial", "partial-*", "trial-*")  # what a killed process was writing
log = logging.getLogger(__name__)


def begin(root: Path, job: Job, force: bool = False) -> tuple[RunDir, bool]:
    """Give the newest run of a name where it can be continued, else a new one, and which it is.

    It can when it has the job's settings and no final outcome: then it was killed, or its model was
    not blessed, and what it has trained is still good. `force` always makes a new one.
    """
    runs, config = in_order(root / job.name), job.to_toml()
    if runs and not force:
        run = RunDir(runs[-1])
        if not run.is_final() and (run / CONFIG).read_text(encoding="utf-8") == config:
            return run, False
    return RunDir.create(root, job.name, config), True


def thin(current: RunDir, keep: int) -> None:
    """Take checkpoints, logs and models from all but the newest `keep` runs of a name."""
    for path in in_order(current.path.parent)[:-keep]:
        heavy = [path / name for name in HEAVY if (path / name).exists()]
        litter = [found for pattern in PARTS for found in path.glob(pattern)]
        if path == current.path or not heavy + litter:
            continue
        for found in heavy + litter:
            clear(found)
        log.info("thinned %s: its records and report stay", path)


def record_copies(run: RunDir) -> None:
    """Add the copies of data that this process uses to those that the run has used before.

    Before: a run that was refused or not blessed is taken up again, and may find other data.
    """
    used = {*_copies(run.path), *copies.held()}
    run.write_json(COPIES, sorted(map(str, used)))


def prune(current: RunDir, job: Job, named: Collection[str]) -> None:
    """Remove the copies of data that neither the newest runs of a name nor the `named` ones use.

    Only what this name's own runs have used is looked at, and only below the job's `data_dir`; what
    any process uses at the time stays.
    """
    runs = in_order(current.path.parent)
    recent = runs[-job.runs.keep_data :]
    kept = [run for run in runs if run in recent or run.name in named or run == current.path]
    spared = {place for run in kept for place in _copies(run)}  # all without links and ..
    root = Path(job.data.data_dir).resolve()
    for place in sorted({place for run in runs for place in _copies(run)} - spared):
        if place != root and place.is_relative_to(root):
            _discard(place)


def _copies(run: Path) -> list[Path]:
    record = run / COPIES
    places = json.loads(record.read_bytes()) if record.exists() else []
    return [Path(place).resolve() for place in places]


def _discard(place: Path) -> None:
    try:
        if copies.discard(place):
            log.info("removed %s, which no recent run uses", place)
    except OSError as problem:
        log.warning("cannot remove %s: %s", place, problem)
