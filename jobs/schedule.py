"""Runs that start by themselves: each due time is one `convoy run`, and no two overlap."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread

from apscheduler.events import (
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
)
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from jobs.attempts import Attempts, Command
from jobs.child import Ended
from jobs.exits import FAILED
from jobs.notice import Notifier, notice
from jobs.signals import Signals
from jobs.timetable import Timetable

LOOK = 10.0  # seconds between two looks at the clock
SET = 60.0  # seconds: a clock that moves by more than this was set, and did not drift
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Planned:
    """A job and when it is due. `trigger` is made from the start of the job's last run."""

    name: str
    command: Command
    trigger: Callable[[datetime | None], BaseTrigger]


class Schedule:
    """Starts what is due, one run after another, and keeps the timetable.

    A job that is due while its last run is still going is left out. A time that was missed, by this
    process or while none was there, is made up for once if it is at most `grace` seconds ago. A run
    that was interrupted, or killed with its scheduler, is resumed as soon as a schedule starts
    again, and one that was starting or waited for its turn is started. When the clock is set, all
    due times are counted anew: a last start that lies in the future is none.
    """

    def __init__(
        self,
        planned: Sequence[Planned],
        timetable: Timetable,
        attempts: Attempts,
        notifier: Notifier,
        grace: float = 3600.0,
    ) -> None:
        self._planned = planned
        self._timetable = timetable
        self._attempts = attempts
        self._notifier = notifier
        self._grace = timedelta(seconds=grace)
        self._turn = Lock()
        self._left_out: set[str] = set()  # while their run goes on, said once
        self._ending = Event()
        # A thread for each job, although they take turns: one that waits is not late.
        pool = {"default": ThreadPoolExecutor(len(planned))}
        self._scheduler = BackgroundScheduler(executors=pool, timezone=UTC)

    def run(self, signals: Signals) -> None:
        """Run until something comes through `signals`, then stop the running job and wait for it.

        Whatever comes while it waits is passed on to the job again. Raises ValueError when a job is
        never due.
        """
        offset = _offset()
        self._timetable.keep({job.name for job in self._planned})
        for job in self._planned:
            self._take_up(job)
        events = EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
        self._scheduler.add_listener(self._note, events)
        self._scheduler.start()
        Thread(target=self._follow_clock, args=(offset,), daemon=True).start()
        signals.take()
        self._ending.set()
        self._attempts.stop()
        log.info("stopping: no further run is started")
        Thread(target=self._finish, args=(signals,), daemon=True).start()
        while signals.take() is not None:
            self._attempts.stop()
        self._notifier.close()

    def _finish(self, signals: Signals) -> None:
        self._scheduler.shutdown(wait=True)
        signals.wake()

    def _follow_clock(self, offset: float) -> None:
        """Count due times anew when the clock is set, also where it was wrong at the start."""
        while not self._ending.wait(LOOK):
            offset, before = _offset(), offset
            if abs(offset - before) > SET:
                log.warning("the clock was set by %.0f s: counting anew", offset - before)
                for job in self._planned:
                    self._plan(job, at_once=False)
            self._scheduler.wakeup()  # it sleeps by a clock that stands still in a suspended host

    def _take_up(self, job: Planned) -> None:
        """Plan a job, at once where the schedule before owes it a run."""
        entry, now = self._timetable.entry(job.name), _iso(datetime.now(UTC))
        owed = [entry.get(fact) for fact in ("waiting", "running", "resume")]
        if not self._plan(job, at_once=any(owed)):
            raise ValueError(f"{job.trigger(None)} is never due")
        self._timetable.update(job.name, running=None, waiting=now if any(owed) else None)

    def _plan(self, job: Planned, at_once: bool) -> bool:
        """Have a job started when it is next due, from now on; tell whether it ever is."""
        now, started = datetime.now(UTC), self._timetable.entry(job.name).get("started")
        last = datetime.fromisoformat(started) if started else None
        if last and last > now:  # the clock was wrong
            last = None
        trigger = job.trigger(last)
        due = trigger.get_next_fire_time(None, now)
        if due is None:
            return False
        if at_once or (last and self._missed(trigger, last, now)):
            due = now
        self._scheduler.add_job(
            self._due,
            trigger,
            args=[job],
            id=job.name,
            next_run_time=due,
            replace_existing=True,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=max(round(self._grace.total_seconds()), 1),
        )
        self._timetable.update(job.name, next=_iso(due))
        log.info("%s: due %s, next at %s", job.name, trigger, _iso(due))
        return True

    def _missed(self, trigger: BaseTrigger, last: datetime, now: datetime) -> bool:
        since = max(last + timedelta(microseconds=1), now - self._grace)
        missed = trigger.get_next_fire_time(None, since)
        return missed is not None and missed <= now

    def _due(self, job: Planned) -> None:
        self._timetable.update(job.name, waiting=_iso(datetime.now(UTC)))
        with self._turn:
            if not self._attempts.stopping:
                self._carry_out(job)

    def _carry_out(self, job: Planned) -> None:
        name, resume = job.name, self._timetable.entry(job.name).get("resume")
        started = _iso(datetime.now(UTC))

        def on_run(run: str | None) -> None:
            facts = {"running": {"since": started, "run": run}, "resume": run, "waiting": None}
            self._timetable.update(name, started=started, **facts)

        self._left_out.discard(name)
        log.info("%s: %s", name, f"resuming {resume}" if resume else "starting")
        on_run(resume)
        try:
            done = self._attempts.carry_out(job.command, resume, on_run)
        except OSError as problem:  # no memory or no process left for a child
            done = Ended(FAILED, resume, {}, str(problem)), 1
        if done is None:
            self._timetable.update(name, running=None, waiting=started)
        else:
            self._conclude(name, *done, started)

    def _conclude(self, name: str, ended: Ended, attempts: int, started: str) -> None:
        stopping = self._attempts.stopping
        times = (started, _iso(datetime.now(UTC)))
        last = notice(name, ended, attempts, times, stopping)
        resume = ended.run if ended.unfinished else None
        self._timetable.update(name, running=None, resume=resume, last=last.to_json())
        log.info("%s: %s", name, last.outcome)
        self._notifier.tell(last)

    def _note(self, event: JobEvent) -> None:
        """Keep up with what APScheduler decides."""
        if event.code == EVENT_JOB_MISSED:  # comes from a worker, which must not ask for the job
            log.warning("%s was missed by more than the grace: left out", event.job_id)
            self._timetable.update(event.job_id, skipped=_iso(event.scheduled_run_time))
            return
        if event.code == EVENT_JOB_MAX_INSTANCES:
            if event.job_id not in self._left_out:
                log.warning("%s is due while its last run is still going: left out", event.job_id)
            self._left_out.add(event.job_id)
            self._timetable.update(event.job_id, skipped=_iso(event.scheduled_run_times[-1]))
        if job := self._scheduler.get_job(event.job_id):
            self._timetable.update(event.job_id, next=_iso(job.next_run_time))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _offset() -> float:
    """Return how far the clock is ahead of the time that has passed, which nobody can set."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
