"""A directory in which `convoy` is typed, with a job file, as a user has it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.forkserver import ForkServer, Process
from tests.support.waiting import until

JOB = """
name = "tiny"
[data]
source = "digits"
image_size = [16, 16]
channels = 1
data_dir = "{data_dir}"
[model]
name = "lenet5"
options = {{ activation = "relu" }}
[train]
epochs = 3
batch_size = 32
learning_rate = 3e-3
[publish]
settle_seconds = 0  # no server polls these stores, unless a test says so
"""
LISTENING = "listening grpc="


@dataclass(frozen=True)
class Workplace:
    """A directory, and the processes that are started there."""

    path: Path
    forkserver: ForkServer

    def __call__(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run `convoy ARGUMENTS...` to its end."""
        return self.forkserver.run("-m", "jobs", *arguments, cwd=self.path)

    def start(self, *arguments: str) -> Process:
        """Start `convoy ARGUMENTS...`."""
        return self.forkserver.start("-m", "jobs", *arguments, cwd=self.path)

    def result(self, *arguments: str) -> Any:
        """Run a command that must succeed and return its JSON."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def killed(self, stage: str, share: float | None, *arguments: str) -> int:
        """Run a command, SIGKILL it when a stage ends, or `share` seconds after it begins.

        Returns its exit code: -9, or another when it has ended before.
        """
        reached = point(self.path, stage, share)
        with self.start(*arguments) as process:
            until(lambda: reached() or process.poll() is not None)
            process.kill()
            return process.wait()

    @contextmanager
    def serving(self, store: str | Path = "models") -> Iterator[str]:
        """Serve a store in a process of its own for the length of the block; gives its address."""
        options = ("--store", str(store), "--port", "0", "--rest-port", "0")
        with self.start("serve", *options) as server:
            line = server.stdout.readline()
            assert line.startswith(LISTENING), server.communicate(10)
            yield line.removeprefix(LISTENING).split()[0]


def newest_state(place: Path) -> dict[str, Any]:
    """Read the state of the newest run of a workplace; an empty one when there is none."""
    paths = sorted(place.glob("runs/*/*/state.json"))
    return json.loads(paths[-1].read_bytes()) if paths else {}


def point(place: Path, stage: str, share: float | None) -> Callable[[], bool]:
    """Return a function that tells whether a run which starts from now on has come to a point."""
    began, seen = datetime.now(UTC).isoformat(), [0.0]

    def reached() -> bool:
        state = newest_state(place)
        if state.get("stages", {}).get(stage, {}).get("ended", "") > began:
            return True
        if share is None or state.get("running") != stage or state["since"] < began:
            return False
        seen[0] = seen[0] or time.monotonic()
        return time.monotonic() - seen[0] >= share

    return reached
