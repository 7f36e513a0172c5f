"""A schedule with a one-second trigger, real child processes, real hooks, real signals."""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.date import DateTrigger
from typer.testing import CliRunner

from jobs.attempts import Attempts, Patience
from jobs.commands.schedule import app
from jobs.cron import WallClock, every
from jobs.exits import CommandError
from jobs.notice import Listeners, Notifier
from jobs.schedule import Planned, Schedule
from jobs.signals import Signals
from jobs.timetable import Timetable, read
from tests.support.forkserver import DEADLINE, ForkServer
from tests.support.scheduling import DEAF, Place, once
from tests.support.waiting import terminate_when, until


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_it_runs_again_and_again_and_says_when_and_how(place: Place):
    with place.running(place.planned()):
        until(lambda: len(place.events("ended")) >= 2)
        entry = until(lambda: place.entry() if place.entry().get("last") else None)
    assert entry["last"]["outcome"] == "published"
    assert (entry["last"]["version"], entry["last"]["run"]) == (7, "runs/new")
    assert entry["last"]["message"] == "convoy: the last word"
    assert datetime.fromisoformat(entry["next"]) >= datetime.fromisoformat(entry["last"]["started"])
    assert "run runs/new" in place.heard


def test_a_run_longer_than_the_interval_is_not_overlapped(place: Place):
    with place.running(place.planned(seconds=1.5)):
        until(lambda: len(place.events("ended")) >= 2)
    starts, ends = place.events("started"), place.events("ended") + place.events("stopped")
    ends.sort(key=lambda event: event[1])
    assert all(end[1] <= start[1] for end, start in zip(ends, starts[1:], strict=False))
    assert place.entry()["skipped"]


def test_two_jobs_take_turns(place: Place):
    first = place.planned(seconds=0.4)
    second = Planned("other", first.command, first.trigger)
    with place.running(first, second):
        until(lambda: place.entry("job").get("last") and place.entry("other").get("last"))
    marks = sorted(place.events("started") + place.events("ended") + place.events("stopped"),
                   key=lambda event: event[1])  # fmt: skip
    kinds = [mark[0] for mark in marks]
    assert all(kind == "started" for kind in kinds[::2])
    assert all(kind != "started" for kind in kinds[1::2])


def test_stopping_is_passed_on_and_waited_for_and_the_next_start_resumes(place: Place):
    with place.running(place.planned(seconds=60)):
        until(lambda: place.entry().get("resume"))
    assert len(place.events("stopped")) == 1
    assert len(place.events("started")) == 1  # an interruption that was asked for is not retried
    entry = place.entry()
    assert (entry["resume"], entry["running"]) == ("runs/new", None)
    assert (entry["last"]["outcome"], entry["last"]["failed"]) == ("interrupted", False)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    with place.running(place.planned(trigger=lambda last: every(86400, last=tomorrow))):
        until(lambda: place.entry().get("resume") is None)
    assert place.events("started")[-1][2] == ["runs/new"]
    assert place.entry()["last"]["outcome"] == "published"


@pytest.mark.parametrize(
    ("codes", "outcome", "failed", "attempts"),
    [
        ([75, 0], "published", False, 2),
        ([-9, 75, 0], "published", False, 3),
        ([75, 75, 75, 0], "interrupted", True, 3),  # two retries, and no more
        ([-9, -9, -9, 0], "killed", True, 3),
        ([3], "not_blessed", False, 1),
        ([4], "data_refused", True, 1),
        ([2], "refused", True, 1),
        ([1], "failed", True, 1),
        ([99], "failed", True, 1),
    ],
)
def test_exit_codes_are_acted_on(place: Place, codes, outcome, failed, attempts):
    with place.running(place.planned(codes=codes, trigger=once)):
        last = until(lambda: place.entry().get("last"))
    assert (last["outcome"], last["failed"], last["attempts"]) == (outcome, failed, attempts)
    assert last["code"] == codes[attempts - 1]
    resumed = [event[2] for event in place.events("started")[1:]]
    assert resumed == [["runs/new"]] * (attempts - 1)
    unfinished = last["code"] < 0 or last["code"] == 75
    assert place.entry()["resume"] == ("runs/new" if unfinished else None)


def test_a_second_signal_is_passed_on_too(place: Place):
    job = Planned("job", lambda resume: [sys.executable, "-c", DEAF], once)
    with place.running(job) as signals:
        until(lambda: place.entry().get("resume"))
        signals.send(signal.SIGTERM)
        until(lambda: "heard" in place.heard)
    assert place.entry()["last"]["code"] == -signal.SIGTERM
    assert place.entry()["last"]["failed"] is False


def test_a_child_that_cannot_be_started_is_a_failure_and_not_the_end(place: Place):
    with place.running(Planned("job", lambda resume: ["/nonexistent"], once)):
        last = until(lambda: place.entry().get("last"))
    assert (last["outcome"], last["failed"]) == ("failed", True)
    assert "/nonexistent" in last["message"]


def started(place: Place, seconds_ago: float) -> None:
    """Leave the state of a scheduler that is gone."""
    moment = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    place.state.write_text(json.dumps({"jobs": {"job": {"started": moment.isoformat()}}}))


@pytest.mark.parametrize(("grace", "runs"), [(3600.0, 1), (5.0, 0)])
def test_runs_missed_while_no_scheduler_was_there_are_made_up_for_once(
    place: Place, grace: float, runs: int
):
    now = datetime.now(UTC)
    ten_minutes_ago = now - timedelta(minutes=10)
    clock = WallClock(f"{ten_minutes_ago.minute} * * * *", UTC)
    started(place, seconds_ago=5 * 3600)
    with place.running(place.planned(trigger=lambda last: clock), grace=grace):
        until(lambda: place.entry().get("next"))
        if runs:
            until(lambda: place.entry().get("last"))
        due = until(lambda: _later(place.entry()["next"], now))
    assert len(place.events("started")) == runs
    expected = clock.get_next_fire_time(None, now)
    assert expected
    assert due == expected.replace(microsecond=0)


def _later(text: str, now: datetime) -> datetime | None:
    moment = datetime.fromisoformat(text)
    return moment if moment > now + timedelta(minutes=1) else None


def test_a_start_in_the_future_is_no_last_start(place: Place):
    started(place, seconds_ago=-14 * 365 * 86400)
    with place.running(place.planned(trigger=lambda last: every(3600, last=last))):
        due = datetime.fromisoformat(until(lambda: place.entry().get("next")))
    assert due - datetime.now(UTC) <= timedelta(hours=1)
    assert place.events("started") == []


def test_a_clock_that_is_set_right_counts_anew(place: Place, monkeypatch: pytest.MonkeyPatch):
    """A scheduler that began by a wrong clock need not be started again."""
    wrong, passed = [True], time.clock_gettime
    monkeypatch.setattr("jobs.schedule.LOOK", 0.01)

    def clock(which: int) -> float:  # jumps against the time of day when that one is set right
        return passed(which) - (1e6 if wrong[0] else 0.0)

    def trigger(last: datetime | None) -> BaseTrigger:
        return DateTrigger("2040-01-01") if wrong[0] else every(1.0)

    monkeypatch.setattr(time, "clock_gettime", clock)
    with place.running(place.planned(trigger=trigger)):
        until(lambda: place.entry().get("next", "").startswith("2040"))
        wrong[0] = False
        until(lambda: place.entry().get("last"))
    assert not place.entry()["next"].startswith("2040")


TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.mark.parametrize(
    ("left", "arguments"),
    [
        ({"running": {"since": "", "run": "runs/old"}, "resume": "runs/old"}, ["runs/old"]),
        ({"running": {"since": "", "run": None}}, []),  # it was only starting
        ({"waiting": "2026-01-01T03:00:00+00:00"}, []),  # another job's run was going on
        ({"running": None, "waiting": None, "resume": None}, None),
    ],
    ids=["running", "starting", "waiting", "idle"],
)
def test_what_a_killed_scheduler_owes_is_started_at_once(
    place: Place, left: dict[str, Any], arguments: list[str] | None
):
    now = datetime.now(UTC).isoformat()
    place.state.write_text(json.dumps({"jobs": {"job": {"started": now, **left}}}))
    with place.running(place.planned(trigger=lambda last: every(86400, last=TOMORROW))):
        until(lambda: place.entry().get("last" if arguments is not None else "next"))
    assert [event[2] for event in place.events("started")] == (
        [] if arguments is None else [arguments]
    )
    assert [place.entry().get(fact) for fact in ("running", "waiting", "resume")] == [None] * 3


# The scheduler of a run that takes long, which is tied to it as `convoy run` is.
SCHEDULER = """
import os, sys, time
from pathlib import Path
from jobs.schedule import Planned
from tests.support.scheduling import Place, once
program = f"from jobs.leash import leash; leash({os.getpid()}); {sys.argv[2]}"
command = [sys.executable, "-c", program, sys.argv[1]]
with Place(Path(sys.argv[1])).running(Planned("job", lambda resume: command, once)):
    time.sleep(600)
"""
LONG_RUN = """
import os, sys, time
print("run", os.getpid(), file=sys.stderr, flush=True)
time.sleep(600)
"""


def test_a_scheduler_that_is_killed_takes_its_run_with_it(place: Place, forkserver: ForkServer):
    with forkserver.start("-c", SCHEDULER, str(place.path), LONG_RUN) as scheduler:
        running = until(lambda: (place.entry().get("running") or {}).get("run"))
        run = os.pidfd_open(int(running))
        assert not select.select([run], [], [], 0)[0]
        scheduler.kill()
        assert select.select([run], [], [], DEADLINE)[0]
        os.close(run)


def test_a_run_whose_scheduler_is_gone_before_it_begins_does_not_begin():
    code = f"from jobs.leash import leash; leash({os.getpid()}); print('began')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, timeout=DEADLINE)
    assert done.stdout == b""


KEPT_OUT = """
import sys
print(f"convoy: one run of job at a time: runs/.job.lock is held by {sys.argv[1]}", file=sys.stderr)
sys.exit(2)
"""
DIES = "import os; os.kill(os.getpid(), 9)"


@pytest.mark.parametrize(
    ("program", "outcome"), [([KEPT_OUT, "pid 1"], "refused"), ([DIES], "killed")]
)
def test_a_run_that_could_not_even_begin_again_is_still_to_be_resumed(
    place: Place, program: list[str], outcome: str
):
    place.state.write_text(json.dumps({"jobs": {"job": {"resume": "runs/old"}}}))
    with place.running(Planned("job", lambda resume: [sys.executable, "-c", *program], once)):
        last = until(lambda: place.entry().get("last"))
    assert (last["outcome"], last["failed"], last["attempts"]) == (outcome, True, 3)
    assert place.entry()["resume"] == "runs/old"


def test_a_run_that_cannot_be_resumed_is_started_anew(place: Place):
    place.state.write_text(json.dumps({"jobs": {"job": {"resume": "runs/gone"}}}))
    with place.running(place.planned(codes=[2, 0], trigger=once)):
        last = until(lambda: place.entry().get("last"))
    assert [event[2] for event in place.events("started")] == [["runs/gone"], []]
    assert (last["outcome"], last["run"], last["attempts"]) == ("published", "runs/new", 2)


def test_a_state_that_cannot_be_written_stops_no_run(place: Place, caplog):
    with place.running(place.planned()):
        until(lambda: place.entry().get("last"))
        place.path.joinpath(".schedule.json.partial").mkdir()
        done = len(place.events("ended"))
        until(lambda: len(place.events("ended")) > done)
    assert "cannot write" in caplog.text


def test_a_job_that_is_never_due_is_refused(place: Place, tmp_path: Path):
    attempts = Attempts(Patience(), place.heard.append)
    never = place.planned(trigger=lambda last: WallClock("0 0 31 2 *", UTC))
    with Timetable(place.state) as timetable:
        schedule = Schedule([never], timetable, attempts, Notifier(Listeners()))
        with pytest.raises(ValueError, match=r"0 0 31 2 \* .* is never due"):
            schedule.run(Signals())


def test_one_scheduler_holds_the_state(place: Place):
    with Timetable(place.state) as timetable:
        timetable.update("job", next="soon")
        with pytest.raises(CommandError, match="another scheduler holds"):
            Timetable(place.state)
        assert read(place.state)["alive"] is True
    assert read(place.state)["alive"] is False
    Timetable(place.state).close()


def test_who_looks_at_the_state_does_not_keep_a_scheduler_out(place: Place):
    Timetable(place.state).close()
    with place.path.joinpath(".schedule.json.lock").open() as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        threading.Timer(0.02, looker.close).start()
        Timetable(place.state).close()


def test_a_state_that_is_none_is_named(place: Place):
    for text in ("{", "[]", '{"jobs": 3}'):
        place.state.write_text(text)
        with pytest.raises(CommandError, match=r"schedule\.json is no schedule's state"):
            Timetable(place.state)


COMMAND = ("-m", "jobs", "schedule")


def test_the_command_refuses_what_could_never_run(
    tmp_path: Path, workplace, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "same.toml").write_text((tmp_path / "job.toml").read_text())
    for arguments, message in [
        (["status"], "no schedule has been started here"),
        (["job.toml"], "expected either --cron"),
        (["job.toml", "--cron", "0 3 * * *", "--every", "60"], "expected either --cron"),
        (["job.toml", "--cron", "0 3 * * *", "--timezone", "Mars"], "'Mars' is no time zone"),
        (["none.toml", "--every", "60"], "no job file none.toml"),
        (["job.toml", "same.toml", "--every", "60"], "two job files have the name tiny"),
        (["job.toml", "--every", "60", "--set", "train.epochs=none"], "train.epochs"),
        (["job.toml", "--cron", "0 0 31 2 *"], "is never due"),
        (["job.toml", "--every", "60", "--webhook", "slack"], "http or https"),
    ]:
        result = CliRunner().invoke(app, arguments, catch_exceptions=True)
        assert isinstance(result.exception, CommandError), (arguments, result.output)
        assert message in str(result.exception)


@pytest.mark.slow
def test_a_real_run_is_stopped_by_sigterm_and_resumed_by_the_next_schedule(workplace):
    place = workplace.path
    hook = f"sh -c 'cat >> {place}/told; echo >> {place}/told'"
    job = ("job.toml", "--set", "train.epochs=30", "--on-outcome", hook)
    started = workplace.forkserver, *COMMAND, *job
    code, lines = terminate_when(
        lambda line: "epoch 2/30" in line, *started, "--every", "1", cwd=place
    )
    assert code == 0, lines
    status = workplace.result("schedule", "status")
    assert status["alive"] is False
    run = status["jobs"]["tiny"]["resume"]
    assert (place / run / "state.json").is_file()

    half_a_day_on = (datetime.now(UTC).hour + 12) % 24
    cron = ("--cron", f"0 {half_a_day_on} * * *", "--timezone", "UTC")
    code, lines = terminate_when(lambda line: "tiny: published" in line, *started, *cron, cwd=place)
    assert code == 0, lines
    (interrupted, published) = map(json.loads, (place / "told").read_text().splitlines())
    assert (interrupted["outcome"], interrupted["code"], interrupted["run"]) == (
        "interrupted", 75, run,
    )  # fmt: skip
    assert (published["outcome"], published["run"], published["failed"]) == (
        "published",
        run,
        False,
    )
    (model,) = workplace.result("models", "list")
    assert model["versions"] == [published["version"]]
    assert workplace.result("schedule", "status")["jobs"]["tiny"]["resume"] is None
    assert "published" in workplace("schedule", "status").stdout
