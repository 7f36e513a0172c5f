"""Runs that start by themselves: each due time is one `convoy run`, and no two overlap."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock, Thread

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, EVENT_JOB_SUBMITTED
from apscheduler.events import JobEvent as Event
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from jobs.attempts import Attempts, Command
from jobs.child import Ended
from jobs.exits import FAILED, INTERRUPTED
from jobs.notice import Notifier, notice
from jobs.signals import Signals
from jobs.timetable import Timetable

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
    that was interrupted is resumed as soon as a schedule starts again.
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
        # A thread for each job, although they take turns: one that waits is not late.
        pool = {"default": ThreadPoolExecutor(len(planned))}
        self._scheduler = BackgroundScheduler(executors=pool, timezone=UTC)

    def run(self, signals: Signals) -> None:
        """Run until something comes through `signals`, then stop the running job and wait for it.

        Whatever comes while it waits is passed on to the job again. Raises ValueError when a job is
        never due.
        """
        self._timetable.keep({job.name for job in self._planned})
        for job in self._planned:
            self._add(job, datetime.now(UTC))
        events = EVENT_JOB_SUBMITTED | EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED
        self._scheduler.add_listener(self._note, events)
        self._scheduler.start()
        signals.take()
        self._attempts.stop()
        log.info("stopping: no further run is started")
        Thread(target=self._finish, args=(signals,), daemon=True).start()
        while signals.take() is not None:
            self._attempts.stop()
        self._notifier.close()

    def _finish(self, signals: Signals) -> None:
        self._scheduler.shutdown(wait=True)
        signals.wake()

    def _add(self, job: Planned, now: datetime) -> None:
        entry = self._timetable.entry(job.name)
        last = datetime.fromisoformat(entry["started"]) if entry.get("started") else None
        trigger = job.trigger(last)
        due = trigger.get_next_fire_time(None, now)
        if due is None:
            raise ValueError(f"{trigger} is never due")
        if entry.get("resume") or (last and self._missed(trigger, last, now)):
            due = now
        self._scheduler.add_job(
            self._due,
            trigger,
            args=[job],
            id=job.name,
            next_run_time=due,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=max(round(self._grace.total_seconds()), 1),
        )
        self._timetable.update(job.name, next=_iso(due), running=None)
        log.info("%s: due %s, next at %s", job.name, trigger, _iso(due))

    def _missed(self, trigger: BaseTrigger, last: datetime, now: datetime) -> bool:
        since = max(last + timedelta(microseconds=1), now - self._grace)
        missed = trigger.get_next_fire_time(None, since)
        return missed is not None and missed <= now

    def _due(self, job: Planned) -> None:
        with self._turn:
            if not self._attempts.stopping:
                self._carry_out(job)

    def _carry_out(self, job: Planned) -> None:
        name, resume = job.name, self._timetable.entry(job.name).get("resume")
        started = _iso(datetime.now(UTC))

        def on_run(run: str | None) -> None:
            running = {"since": started, "run": run}
            self._timetable.update(name, started=started, running=running, resume=run)

        self._left_out.discard(name)
        log.info("%s: %s", name, f"resuming {resume}" if resume else "starting")
        on_run(resume)
        try:
            done = self._attempts.carry_out(job.command, resume, on_run)
        except OSError as problem:  # no memory or no process left for a child
            done = Ended(FAILED, resume, {}, str(problem)), 1
        if done is None:
            self._timetable.update(name, running=None)
        else:
            self._conclude(name, *done, started)

    def _conclude(self, name: str, ended: Ended, attempts: int, started: str) -> None:
        stopping = self._attempts.stopping
        times = (started, _iso(datetime.now(UTC)))
        last = notice(name, ended, attempts, times, stopping)
        unfinished = ended.code < 0 or ended.code == INTERRUPTED
        resume = ended.run if unfinished else None
        self._timetable.update(name, running=None, resume=resume, last=last.to_json())
        log.info("%s: %s", name, last.outcome)
        self._notifier.tell(last)

    def _note(self, event: Event) -> None:
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
