"""Trials in processes of their own, watched: what dies, hangs or eats the memory is tried again."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from tuning.config import TuneConfig
from tuning.trial import Assignment, Outcome, Report, Trial

WAIT = 0.5  # seconds between looks at what hangs
log = logging.getLogger(__name__)


class NoRoom(OSError):
    """A trial could not write its files: so will no other, and none has failed by itself."""


class Pool(Protocol):
    """Runs assignments, each in a process of its own."""

    def start(self, slot: int, assignment: Assignment) -> None:
        """Start a process in a slot: one of `workers` shares of this machine."""

    def kill(self, trial: str) -> None:
        """End a trial's process at once; its last report then tells of an ending "killed"."""

    def memory_mb(self, trial: str) -> float:
        """Give the memory that a trial's process holds; 0 when it has ended."""

    def wait(self, seconds: float) -> list[Report]:
        """Give what has been reported, after at most so many seconds."""


class Source(Protocol):
    """Hands out trials: a study in this process, or one that a chief holds elsewhere."""

    config: TuneConfig
    cut: str | None  # why the search ends before its end

    @property
    def is_over(self) -> bool:
        """Tell whether all is done: nothing runs, and nothing more will."""

    @property
    def running(self) -> Mapping[str, Assignment]:
        """The trials that are handed out."""

    def next(self) -> Assignment | None:
        """Give the next trial to run; None when there is none now, or none at all any more."""

    def finish(self, trial: str, outcome: Outcome) -> Trial | None:
        """Take in how an attempt ended; None when the trial is to be tried again."""

    def stop(self, trial: str, reason: str) -> Trial:
        """End a trial that nobody will finish, without a score."""

    def is_cut(self) -> bool:
        """Tell whether the search ends before its end: `cut` then says why."""


class Watcher(Protocol):
    """Sees how the search goes on."""

    def begin(self, assignment: Assignment) -> None:
        """A trial starts or starts again."""

    def progress(self, report: Report) -> None:
        """A trial has trained an epoch."""

    def retry(self, trial: str, reason: str) -> None:
        """A trial will be tried again."""

    def end(self, trial: Trial) -> None:
        """A trial is over."""


class Supervisor:
    """Drives a search with a pool until it is over, or a stop is asked for."""

    def __init__(self, study: Source, pool: Pool, watcher: Watcher) -> None:
        self.study, self.pool, self.watcher = study, pool, watcher
        self.config: TuneConfig = study.config
        self._slots: dict[int, str] = {}  # slot -> the trial in it
        self._alive: dict[str, float] = {}  # trial -> when it last reported
        self._killed: dict[str, Outcome] = {}  # trial -> why this supervisor has killed it

    def run(self, stop_requested: Callable[[], bool]) -> bool:
        """Run trials; give False when it stopped on request, with trials left to do.

        Raises NoRoom where the disk is full: the trial is left as it is, for who goes on later.
        """
        while not self.study.is_over:
            if stop_requested():
                return False
            self._fill_slots()
            if self.study.is_cut():
                self._end_all(str(self.study.cut))
                continue
            for report in self.pool.wait(WAIT):
                self._take_in(report)
            self._look_after()
        return True

    def _fill_slots(self) -> None:
        for slot in range(self.config.workers):
            if slot in self._slots:
                continue
            assignment = self.study.next()
            if assignment is None:
                return
            self._slots[slot] = assignment.trial
            self._alive[assignment.trial] = time.monotonic()
            self.watcher.begin(assignment)
            self.pool.start(slot, assignment)

    def _take_in(self, report: Report) -> None:
        if report.trial not in self._alive:
            return  # it was stopped, and its process has only now noticed
        self._alive[report.trial] = time.monotonic()
        if report.outcome is None:
            self.watcher.progress(report)
            return
        outcome = report.outcome
        if outcome.ending == "no_room":
            raise NoRoom(outcome.reason)
        if outcome.ending == "killed":
            outcome = self._killed.get(report.trial, outcome)
        self._forget(report.trial)
        ended = self.study.finish(report.trial, outcome)
        if ended is None:
            self.watcher.retry(report.trial, outcome.reason or outcome.ending)
        else:
            self.watcher.end(ended)

    def _look_after(self) -> None:
        limit = 60 * self.config.hang_minutes
        for trial, alive in self._alive.items():
            if trial in self._killed:
                continue
            if time.monotonic() - alive > limit:
                reason = f"hung: no training step in {self.config.hang_minutes:g} minutes"
                self._kill(trial, Outcome("killed", reason=reason))
            elif self._is_too_large(trial):
                reason = f"out of memory: its process held over {self.config.memory_limit_mb} MB"
                self._kill(trial, Outcome("memory", reason=reason))

    def _is_too_large(self, trial: str) -> bool:
        limit = self.config.memory_limit_mb
        return limit is not None and self.pool.memory_mb(trial) > limit

    def _kill(self, trial: str, outcome: Outcome) -> None:
        log.warning("trial %s %s: its process is ended", trial, outcome.reason)
        self._killed[trial] = outcome
        self.pool.kill(trial)

    def _end_all(self, reason: str) -> None:
        for trial in list(self.study.running):
            if trial in self._alive:
                self.pool.kill(trial)
                self._forget(trial)
            self.watcher.end(self.study.stop(trial, reason))

    def _forget(self, trial: str) -> None:
        self._slots = {slot: held for slot, held in self._slots.items() if held != trial}
        del self._alive[trial]
        self._killed.pop(trial, None)
