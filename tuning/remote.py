"""A search as a worker on another host sees it: its chief hands the trials out."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tuning.chief import SESSION
from tuning.config import TuneConfig
from tuning.connection import Connection
from tuning.messages import Status, assignment_of, service, types
from tuning.service import OUTCOME, to_bytes
from tuning.supervisor import Pool
from tuning.trial import Assignment, Outcome, Report, Trial

BEATS = 5  # signs of life in the time of a lease: four may be lost
LEAVING_SECONDS = 2.0  # to tell the chief that this worker stops
ENDINGS = {"scored": "COMPLETED", "raised": "FAILED"}  # the others may be tried again: INVALID


@dataclass
class Holding:
    """A trial that this worker has."""

    assignment: Assignment
    worker: str  # under which of its names
    since: float
    epoch: int = 0
    score: float | None = None


class RemoteStudy:
    """The part of a study that a supervisor needs, asked of a chief."""

    def __init__(self, connection: Connection, config: TuneConfig, worker: str) -> None:
        """`worker` is this process's name, the same after every start and no other worker's."""
        self.config, self._connection = config, connection
        session = secrets.token_hex(4)
        names = [worker, *(f"{worker}.{slot}" for slot in range(1, config.workers))]
        self._free = [f"{name}{SESSION}{session}" for name in names]
        self._held: dict[str, Holding] = {}
        self._lost: set[str] = set()  # trials that the chief has taken from this worker
        self._lock = threading.Lock()  # of what beats and the supervisor share
        self._done = False
        self.cut: str | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether the chief has no more work, and nothing runs here."""
        return not self._held and self._done

    @property
    def running(self) -> dict[str, Assignment]:
        """The trials that this worker has."""
        return {trial: holding.assignment for trial, holding in self._held.items()}

    def is_cut(self) -> bool:
        """Tell whether the chief has ended the search before its end."""
        return self.cut is not None

    def next(self) -> Assignment | None:
        """Ask the chief for a trial; None when there is none now, or none at all any more."""
        if self._done or not self._free:
            return None
        worker = self._free[0]
        request = service.CreateTrialRequest(tuner_id=worker)
        message = self._connection.call(self._connection.oracle.CreateTrial, request).trial
        status = Status.from_proto(message.status)
        self._done = status == Status.STOPPED
        if status != Status.RUNNING:
            return None
        assignment = assignment_of(message)
        with self._lock:
            self._free.remove(worker)
            self._lost.discard(assignment.trial)
            self._held[assignment.trial] = Holding(assignment, worker, time.monotonic())
        return assignment

    def finish(self, trial: str, outcome: Outcome) -> Trial | None:
        """Tell the chief how an attempt ended; None when it will be tried again."""
        if trial in self._lost:
            return self._drop(trial, "STOPPED", "the chief has given it to another worker")
        oracle, worker = self._connection.oracle, self._held[trial].worker
        status = Status.to_proto(ENDINGS.get(outcome.ending, Status.INVALID))
        request = service.EndTrialRequest(trial=types.Trial(trial_id=trial, status=status))
        told = to_bytes({"worker": worker, "outcome": outcome.__dict__})
        self._connection.call(oracle.EndTrial, request, ((OUTCOME, told),))
        if outcome.ending == "scored":
            return self._drop(trial, "COMPLETED", None, outcome.score)
        asked = self._connection.call(oracle.GetTrial, service.GetTrialRequest(trial_id=trial))
        ended = self._drop(trial, "FAILED", outcome.reason)
        return ended if Status.from_proto(asked.trial.status) == Status.FAILED else None

    def stop(self, trial: str, reason: str) -> Trial:
        """Forget a trial that the chief has stopped."""
        return self._drop(trial, "STOPPED", reason)

    def note(self, report: Report) -> None:
        """Remember how far a trial is, for the next sign of life."""
        holding = self._held.get(report.trial)
        if holding is not None and report.epoch:
            holding.epoch, holding.score = report.epoch, report.score

    def lost(self) -> list[str]:
        """Give the trials of this worker that are another's now."""
        with self._lock:
            return [trial for trial in self._held if trial in self._lost]

    def leave(self) -> None:
        """Give all trials back to the chief, if it answers at once, which else waits for this."""
        held = [holding.worker for holding in self._held.values()]
        for worker in [] if self._done else [*held, *self._free]:
            self._connection.tell("Leave", {"worker": worker}, LEAVING_SECONDS)

    @contextmanager
    def beating(self, lease_seconds: float) -> Iterator[None]:
        """Tell the chief during the block that this worker lives, whatever else it waits for."""
        ended = threading.Event()

        def beat() -> None:
            while not ended.wait(lease_seconds / BEATS):
                self._beat(lease_seconds / BEATS)

        thread = threading.Thread(target=beat, name="beats", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _beat(self, seconds: float) -> None:
        with self._lock:
            held = dict(self._held)
        for trial, at in held.items():
            message = {"trial": trial, "worker": at.worker, "epoch": at.epoch, "score": at.score}
            answer = self._connection.tell("Renew", message, seconds)
            if answer is None:
                continue
            self.cut = answer["cut"]
            if not answer["held"]:
                with self._lock:
                    if self._held.get(trial) is at:
                        self._lost.add(trial)

    def _drop(
        self, trial: str, state: str, reason: str | None, score: float | None = None
    ) -> Trial:
        with self._lock:
            holding = self._held.pop(trial)
            self._lost.discard(trial)
            self._free.append(holding.worker)
        seconds = round(time.monotonic() - holding.since, 3)
        return Trial(trial, state, holding.assignment.values, score, seconds, reason)


class LeasedPool:
    """A pool whose trials end when the chief gives them to another worker."""

    def __init__(self, pool: Pool, study: RemoteStudy) -> None:
        self._pool, self._study = pool, study
        self.start, self.kill, self.memory_mb = pool.start, pool.kill, pool.memory_mb

    def wait(self, seconds: float) -> list[Report]:
        """Give what has been reported, after at most so many seconds."""
        for trial in self._study.lost():
            self._pool.kill(trial)
        reports = self._pool.wait(seconds)
        for report in reports:
            self._study.note(report)
        return reports
