"""A scheduler killed by SIGKILL at any instant of a run: the next one ends that very run."""

import json
import os
import random
import secrets
import select
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.lock import held
from jobs.timetable import read
from serving.store import Store
from tests.support.forkserver import ForkServer, Process
from tests.support.waiting import until
from tests.support.workplace import Workplace

DAY = timedelta(days=1)
SCHEDULE = ("schedule", "job.toml", "--every", str(DAY.total_seconds()), "--retry-delay", "1")
STATE = Path("runs", "schedule.json")
JOB = """
name = "iris"
[data]
source = "iris"
check.leakage = { limit = 0.05 }
[model]
name = "mlp"
options = { units = [8] }
[train]
epochs = 30
batch_size = 16
[bless]
min_accuracy = 0.0
[publish]
settle_seconds = 0  # no server polls this store
"""
DYING = 30.0  # seconds for the kernel to take a process down


def entry(place: Path) -> dict[str, Any]:
    known: dict[str, Any] = read(place / STATE)["jobs"]["iris"]
    return known


def due(path: Path, forkserver: ForkServer) -> Workplace:
    """Return a workplace whose job was due a moment ago."""
    (path / "runs").mkdir(parents=True)
    (path / "job.toml").write_text(JOB)
    last = {"started": (datetime.now(UTC) - DAY - timedelta(minutes=1)).isoformat()}
    (path / STATE).write_text(json.dumps({"jobs": {"iris": last}}))
    return Workplace(path, forkserver)


def finish(place: Workplace) -> float:
    """Schedule until the run has ended, and return the seconds that took."""
    before = time.monotonic()
    with place.start(*SCHEDULE) as scheduler:
        until(lambda: read(place.path / STATE).get("pid") == scheduler.pid)
        until(lambda: entry(place.path).get("last"))
        seconds = time.monotonic() - before
        scheduler.terminate()
        assert scheduler.wait() == 0
    return seconds


def kill(scheduler: Process) -> None:
    """Kill a scheduler, and hold its children to their promise to die with it."""
    running = list(children(scheduler.pid))
    scheduler.kill()
    for pidfd in running:
        assert select.select([pidfd], [], [], DYING)[0]
        os.close(pidfd)


def children(parent: int) -> Iterator[int]:
    """Return descriptors of a process's children, which stay theirs whatever becomes of them."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            facts = stat.read_text().rpartition(")")[2].split()
            if int(facts[1]) == parent:
                yield os.pidfd_open(int(stat.parent.name))


def assert_ended_once(place: Path) -> None:
    ended, store = entry(place), Store(place / "models")
    assert (ended["last"]["code"], ended["last"]["failed"]) == (0, False), ended
    assert [ended.get(fact) for fact in ("running", "waiting", "resume")] == [None] * 3
    (run,) = (place / "runs" / "iris").iterdir()
    outcome = json.loads((run / "outcome.json").read_text())
    assert outcome["status"] == "published"
    assert store.versions("iris") == [outcome["version"]] == [ended["last"]["version"]]
    assert store.labels("iris") == {"stable": outcome["version"]}
    assert [event["event"] for event in store.history("iris")] == ["publish"]
    with held(place / "runs", "iris"):  # nothing of the killed ones goes on
        pass


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(3, marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
        pytest.param(20, marks=[pytest.mark.full, pytest.mark.timeout(3600)]),
    ],
)
def test_a_run_is_ended_once_by_the_scheduler_after_the_one_that_was_killed(
    tmp_path: Path, forkserver: ForkServer, kills: int
):
    seed = secrets.randbits(32)
    print(f"seed {seed}")
    instants, whole = random.Random(seed), finish(due(tmp_path / "undisturbed", forkserver))
    for number in range(kills):
        place, seconds = due(tmp_path / str(number), forkserver), instants.uniform(0, whole)
        print(f"killed after {seconds:.2f} s of {whole:.2f}")
        with place.start(*SCHEDULE) as scheduler:
            time.sleep(seconds)
            kill(scheduler)
        finish(place)
        assert_ended_once(place.path)
