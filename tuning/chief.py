"""The chief of a search: hands trials to workers on other hosts and takes in what they tell.

A worker is known by what KerasTuner calls its tuner id. Ours add a session after a tilde, which is
another after every start: so a worker that has been restarted is known from one that asks twice.
Every lease is in the search's journal, so a chief that was killed and started again knows who runs
what, and its workers never notice.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tuning.journal import Event
from tuning.lease import Leases
from tuning.study import Study
from tuning.supervisor import Watcher
from tuning.trial import Assignment, Outcome, Report

SESSION = "~"  # between a worker's name and its session
LOOK_SECONDS = 0.5  # between looks at leases
IDLE_SECONDS = 1.0  # that a worker waits for its answer when there is nothing to do now
PATIENT = 24  # times tune.hang_minutes that KerasTuner's own workers may be silent in a trial
log = logging.getLogger(__name__)


class BrokenStudy(Exception):
    """The study failed in the middle of a change: only its journal can be trusted now."""


class Chief:
    """A study in the hands of workers. Its methods may be called from several threads."""

    def __init__(self, study: Study, watcher: Watcher, leases: Leases | None = None) -> None:
        """Take up the leases of the study's journal; their workers have all their time again."""
        self.study, self.watcher, self.leases = study, watcher, leases or Leases()
        self._changed = threading.Condition()  # and the lock around the study
        self._news: deque[Report] = deque()
        self._present = workers_in(study.journal.events)  # they do not know of the search's end
        self._broken: BaseException | None = None
        for trial, worker in leases_in(study.journal.events).items():
            study.keep(trial)
            self.leases.grant(trial, worker, self._silence(worker))

    def take(self, worker: str) -> Assignment | None:
        """Give a worker the trial that it has, or else the next.

        None when there is nothing to do now, after waiting IDLE_SECONDS for it, or never again.
        """
        deadline = time.monotonic() + IDLE_SECONDS
        with self._turn():
            self._end_former_session(worker)
            if (trial := self.leases.holdings().get(worker)) is not None:
                return self.study.running[trial]
            while True:
                self._check()
                self._present.add(worker)
                if (assignment := self.study.next()) is not None:
                    return self._grant(assignment, worker)
                left = deadline - time.monotonic()
                if self.study.is_over or left <= 0:
                    return None
                self._changed.wait(left)

    def hear(self, trial: str, worker: str, epoch: int = 0, score: float | None = None) -> bool:
        """Take in a sign of life; False when the worker must leave the trial alone.

        It waits for nothing: a lease must not end because an algorithm computes for long.
        """
        held = self.leases.renew(trial, worker)
        if held:
            self._news.append(Report(trial, epoch, score))
        return held

    def finish(self, trial: str, worker: str | None, outcome: Outcome) -> None:
        """Take in how a worker's attempt at a trial ended; None is a worker without a session.

        What is told twice, or by one that has lost the trial to another, changes nothing.
        """
        with self._turn():
            holder = self.leases.holder(trial)
            if holder is None or (worker is None and SESSION in holder):
                return
            if worker in (None, holder):
                self._finish(trial, outcome)

    def leave(self, worker: str) -> None:
        """Let a worker go that stops on request: its trial is another's, and no attempt is used."""
        with self._turn():
            self._present.discard(worker)
            if (trial := self.leases.holdings().get(worker)) is not None:
                self.leases.end(trial)
                self.study.give_back(trial)
                self.watcher.retry(trial, f"its worker {name_of(worker)} was asked to stop")

    def dismiss(self, worker: str) -> None:
        """Remember that a worker knows of the search's end."""
        with self._turn():
            self._present.discard(worker)

    def look(self) -> None:
        """Do what time asks for: take trials from silent workers, and all when the search is cut.

        Raises BrokenStudy when an error has ended the study in a worker's call.
        """
        with self._turn():
            while self._news:
                self.watcher.progress(self._news.popleft())
            for trial, lease in self.leases.expired().items():
                reason = f"its worker {name_of(lease.worker)} was silent for {lease.seconds:g} s"
                log.warning("trial %s: %s", trial, reason)
                self._present.discard(lease.worker)
                self._finish(trial, Outcome("killed", reason=reason))
            if self.study.is_cut():
                for trial in list(self.study.running):
                    self.leases.end(trial)
                    self.watcher.end(self.study.stop(trial, str(self.study.cut)))

    def run(self, stop_requested: Callable[[], bool]) -> bool:
        """Serve until the search is over and its workers know it; False when asked to stop before.

        Workers that are not heard of any more are waited for as long as a lease lasts.
        """
        over: float | None = None
        while not (over is not None and self._all_gone(over)):
            if stop_requested():
                return self.study.is_over
            self.look()
            if over is None and self.study.is_over:
                over = time.monotonic()
            time.sleep(LOOK_SECONDS)
        return True

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the study. What breaks it in one call ends the chief, and no call hangs after it."""
        with self._changed:
            self._check()
            try:
                yield
            except BrokenStudy:
                raise
            except Exception as problem:
                refused = isinstance(problem, OSError)  # a full disk, say: no fault in here
                log.error("the study of %s fails", self.study.journal.path, exc_info=not refused)
                self._broken = problem
                raise BrokenStudy(f"{type(problem).__name__}: {problem}") from problem
            finally:
                self._changed.notify_all()

    def _check(self) -> None:
        if self._broken is not None:
            raise BrokenStudy(f"it ends after an error: {self._broken}") from self._broken

    def _grant(self, assignment: Assignment, worker: str) -> Assignment:
        trial = assignment.trial
        self.study.journal.append({"event": "lease", "trial": trial, "worker": worker})
        self.leases.grant(trial, worker, self._silence(worker))
        self.watcher.begin(assignment)
        return assignment

    def _finish(self, trial: str, outcome: Outcome) -> None:
        self.leases.end(trial)
        ended = self.study.finish(trial, outcome)
        if ended is None:
            self.watcher.retry(trial, outcome.reason or outcome.ending)
        else:
            self.watcher.end(ended)

    def _end_former_session(self, worker: str) -> None:
        for other, trial in self.leases.holdings().items():
            if other != worker and name_of(other) == name_of(worker):
                self._present.discard(other)
                reason = f"its worker {name_of(worker)} died and was started again"
                self._finish(trial, Outcome("killed", reason=reason))

    def _silence(self, worker: str) -> float:
        if SESSION in worker:
            return self.study.config.lease_seconds
        return 60 * PATIENT * self.study.config.hang_minutes

    def _all_gone(self, over: float) -> bool:
        limit = self.study.config.lease_seconds
        return not self._present or time.monotonic() - over > limit


def name_of(worker: str) -> str:
    """Give a worker's name without its session."""
    return worker.partition(SESSION)[0]


def workers_in(events: list[Event]) -> set[str]:
    """Give the workers that had trials of the chief before this one, which has just opened."""
    before: set[str] = set()
    now: set[str] = set()
    for event in events:
        if event["event"] == "open":
            before, now = now, set()
        elif event["event"] == "lease":
            now.add(event["worker"])
    return before


def leases_in(events: list[Event]) -> dict[str, str]:
    """Give the worker of each trial that one has, as the journal tells."""
    held: dict[str, str] = {}
    for event in events:
        if event["event"] == "lease":
            held[event["trial"]] = event["worker"]
        elif event["event"] in ("retry", "release"):
            held.pop(event["trial"], None)
        elif event["event"] == "end":
            held.pop(event["id"], None)
    return held
