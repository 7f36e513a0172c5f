"""A schedule in the test's process, whose runs are programs that do as they are told."""

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apscheduler.triggers.date import DateTrigger

from jobs.attempts import Attempts, Patience
from jobs.cron import every
from jobs.notice import Listeners, Notifier
from jobs.schedule import Planned, Schedule
from jobs.signals import Signals
from jobs.timetable import Timetable, read

DEADLINE = 60.0

# Stands in for `convoy run`: says its run, appends what it did to a file, ends as it was told.
STAND_IN = """
import json, os, signal, sys, time
journal, seconds, codes, *arguments = sys.argv[1:]
def write(event):
    with open(journal, "a") as file:
        file.write(json.dumps([event, time.time(), arguments]) + "\\n")
def stop(number, frame):
    write("stopped")
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
write("started")
print("run", arguments[-1] if arguments else "runs/new", file=sys.stderr, flush=True)
time.sleep(float(seconds))
write("ended")
past = sum('"started"' in line for line in open(journal))
codes = json.loads(codes)
code = codes[min(past, len(codes)) - 1]
if code < 0:
    os.kill(os.getpid(), -code)
if code == 0:
    print(json.dumps({"status": "published", "version": 7, "metrics": {"accuracy": 0.5}}))
print("convoy: the last word", file=sys.stderr)
sys.exit(code)
"""

# Goes on after a first SIGTERM, as a run does until its step is done, and dies of a second one.
DEAF = """
import signal, sys, time
def hear(number, frame):
    signal.signal(number, signal.SIG_DFL)
    print("heard", file=sys.stderr, flush=True)
signal.signal(signal.SIGTERM, hear)
print("run runs/deaf", file=sys.stderr, flush=True)
for _ in range(600):
    time.sleep(0.1)
"""


def once(last: datetime | None) -> DateTrigger:
    """Due now, and never again."""
    return DateTrigger(datetime.now(UTC))


class Place:
    """A directory with a journal of what the stand-ins did, and a schedule for them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "schedule.json"
        self.journal = path / "journal"
        self.heard: list[str] = []

    def events(self, kind: str) -> list[Any]:
        lines = self.journal.read_text().splitlines() if self.journal.exists() else []
        found = [json.loads(line) for line in lines if line.endswith("]")]
        return [event for event in found if event[0] == kind]

    def entry(self, name: str = "job") -> dict[str, Any]:
        entry: dict[str, Any] = (
            read(self.state)["jobs"].get(name, {}) if self.state.exists() else {}
        )
        return entry

    def planned(
        self, seconds: float = 0.0, codes: list[int] | None = None, trigger: Any = None
    ) -> Planned:
        told = [str(self.journal), str(seconds), json.dumps(codes or [0])]

        def command(resume: str | None) -> list[str]:
            return [sys.executable, "-c", STAND_IN, *told, *([resume] if resume else [])]

        return Planned("job", command, trigger or (lambda last: every(1.0, last=last)))

    @contextmanager
    def running(
        self,
        *planned: Planned,
        listeners: Listeners | None = None,
        grace: float = 3600.0,
    ) -> Iterator[Signals]:
        """A schedule in a thread; it is stopped when the block ends."""
        signals = Signals()
        attempts = Attempts(Patience(2, 0.0), self.heard.append)
        notifier = Notifier(listeners or Listeners(), Patience(2, 0.01))
        with Timetable(self.state) as timetable:
            schedule = Schedule(planned, timetable, attempts, notifier, grace)
            thread = threading.Thread(target=schedule.run, args=[signals])
            thread.start()
            try:
                yield signals
            finally:
                signals.send(signal.SIGTERM)
                thread.join(DEADLINE)
                assert not thread.is_alive()
