"""One trial, as its own process trains it."""

import contextlib
import fcntl
import json
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from jobs import faults
from jobs.config import Job, load
from jobs.preparation import load_data, train_network
from jobs.values import with_values
from pipeline.whole import copy_whole, write_whole
from trainer.callbacks import Diverged, Hooks
from tuning.score import score_of
from tuning.space import Values
from tuning.trial import Assignment, Outcome

BEAT_SECONDS = 1.0  # between signs of life
LONGEST_OVERLAP = 60.0  # seconds until a process that has lost its trial must be gone
LOCK_SECONDS = 0.2  # between two looks at whether it is
RESULT = "result.json"
Send = Callable[..., None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a trial keeps its files: `trials/<id>` in the search's run."""

    run: Path
    trial: str

    @property
    def path(self) -> Path:
        return self.run / "trials" / self.trial

    def take_output(self) -> None:
        """Send what this process and its libraries print to the trial's log."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_whole(self.path / "pid", str(os.getpid()).encode())
        fd = os.open(self.path / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for stream in (1, 2):
            os.dup2(fd, stream)
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)

    def finished(self, assignment: Assignment) -> Outcome | None:
        """Give the outcome of the same assignment when it has been reached before."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            stored = json.loads((self.path / RESULT).read_text(encoding="utf-8"))
            if stored["assignment"] == assignment.to_json():
                return Outcome(**stored["outcome"])
        return None

    def keep(self, assignment: Assignment, outcome: Outcome) -> None:
        """Write the outcome down, whole or not at all."""
        stored = {"assignment": assignment.to_json(), "outcome": outcome.__dict__}
        write_whole(self.path / RESULT, json.dumps(stored, indent=2).encode())

    def prepare(self, assignment: Assignment) -> None:
        """Put the state there that training continues from: its own, or its parent's."""
        training = self.path / "training"
        mark = self.path / "batch_halvings"
        before = int(mark.read_text()) if mark.exists() else 0
        if before != assignment.halvings:
            shutil.rmtree(training, ignore_errors=True)  # states of another batch do not fit
        write_whole(mark, str(assignment.halvings).encode())
        if assignment.parent is None or training.exists() or assignment.halvings:
            training.mkdir(exist_ok=True)
            return
        parents = self.run / "trials" / assignment.parent / "training"
        if not parents.is_dir():  # it trained on a host whose files are not seen here
            log.warning("no state in %s to go on from: all epochs are trained here", parents)
            training.mkdir()
            return
        copy_whole(parents, training)

    @contextlib.contextmanager
    def alone(self, seconds: float = LONGEST_OVERLAP) -> Iterator[bool]:
        """Hold the trial's files against other processes; False when one of them keeps them.

        A worker that lost its chief's ear may not know yet that the trial is another's now.
        """
        deadline = time.monotonic() + seconds
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as file:
            while not (held := _lock(file)) and time.monotonic() < deadline:
                time.sleep(LOCK_SECONDS)
            yield held


def run_trial(assignment: Assignment, place: Place, send: Send) -> Outcome:
    """Train the search's job with the assignment's values and score it.

    `send` is called with `epoch` and `score` now and then, at least once a second of training.
    """
    with place.alone() as alone:
        if not alone:
            return Outcome("killed", reason=f"another process trains it in {place.path}")
        if (known := place.finished(assignment)) is not None:
            return known
        outcome = _attempt(assignment, place, send)
        if outcome.ending == "scored":
            place.keep(assignment, outcome)
        return outcome


def _attempt(assignment: Assignment, place: Place, send: Send) -> Outcome:
    divide_threads()
    try:
        return _train(load(place.run / "config.toml"), assignment, place, send)
    except Exception as problem:
        return outcome_of(problem, assignment.trial)


def outcome_of(problem: Exception, trial: str) -> Outcome:
    """Tell what an error makes of an attempt: a full disk, say, is no full memory, and passes."""
    if (refused := faults.describe(problem)) is not None:
        return Outcome("no_room" if faults.is_room(refused) else "killed", reason=refused)
    if isinstance(problem, MemoryError | tf.errors.ResourceExhaustedError):
        return Outcome("memory", reason=f"out of memory: {_first_line(problem)}")
    log.error("trial %s", trial, exc_info=problem)  # its log has the traceback
    kind = "" if isinstance(problem, ValueError | Diverged) else f"{type(problem).__name__}: "
    return Outcome("raised", reason=f"{kind}{_first_line(problem)}")


def with_assignment(job: Job, assignment: Assignment) -> Job:
    """Give the job with the assignment's values, epochs and batch.

    A halved batch keeps the global batch by accumulating gradients. Raises ConfigError when a
    value is not allowed, ValueError when the batch cannot be halved any more.
    """
    at_once: Values = {"train.divergence.rollbacks": 0}  # a score must be that of its own rate
    changes = at_once | dict(assignment.values)
    if assignment.epochs is not None:
        changes["train.epochs"] = assignment.epochs
    changed = with_values(job, changes)
    parts = 2**assignment.halvings
    if parts == 1:
        return changed
    if changed.train.batch_size < parts:
        raise ValueError("out of memory, even with one example in a batch")
    smaller: Values = {
        "train.batch_size": changed.train.batch_size // parts,
        "train.accumulation_steps": parts,
    }
    return with_values(changed, smaller)


def divide_threads() -> None:
    """Hold TensorFlow to this trial's share of the CPUs, and GPUs to the memory that it needs."""
    threads = int(os.environ.get("CONVOY_THREADS", "0"))
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)


def _train(job: Job, assignment: Assignment, place: Place, send: Send) -> Outcome:
    changed = with_assignment(job, assignment)
    objective = (job.tune.objective if job.tune else None) or "val_accuracy"
    data = load_data(changed)
    send()
    place.prepare(assignment)
    model, result = train_network(changed, data, place.path / "training", _beat(objective, send))
    value = score_of(objective, model, data, result)
    write_hparams(place.path, assignment.values, objective, value)
    return Outcome("scored", value, len(result.history))


def _beat(objective: str, send: Send) -> Hooks:
    last = 0.0

    def on_step(step: int, steps: int) -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT_SECONDS:
            last = time.monotonic()
            send()

    def on_epoch(epoch: int, logs: dict[str, float]) -> None:
        send(epoch=epoch, score=logs.get(objective))

    return Hooks(on_step=on_step, on_epoch=on_epoch)


def write_hparams(directory: Path, values: Values, objective: str, value: float) -> None:
    """Write what TensorBoard's HParams page shows; it takes numbers, truth values and text."""
    shown = {path: "unset" if v is None else v for path, v in values.items()}
    shown = {path: str(v) if isinstance(v, list | dict) else v for path, v in shown.items()}
    with tf.summary.create_file_writer(str(directory / "hparams")).as_default():
        hparams.hparams(shown, trial_id=directory.name)
        tf.summary.scalar(objective, value, step=1)


def _lock(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as problem:  # a file system without locks, as some network mounts are
        log.warning("no lock on %s: %s", file.name, problem)
    return True


def _first_line(problem: Exception) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0][:500]
