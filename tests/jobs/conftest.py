"""The command as a user runs it, and one published run that many tests look at."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

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
"""
Convoy = Callable[..., subprocess.CompletedProcess[str]]
DEADLINE = 280  # seconds; for a busy machine

# Imports what `convoy run` and `tune` need, then forks a process for every line of arguments: they
# start in no time, and are as killable as from a shell. TensorFlow's runtime must not have started.
FORKING = """
import json, os, sys
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
import jobs.commands.run, jobs.retrain, jobs.runs, jobs.progress
import jobs.commands.tune, jobs.tune, jobs.board
from jobs.cli import main
for line in sys.stdin:
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(request["cwd"])
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.argv = ["convoy", *request["arguments"]]
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 99
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def convoy() -> Convoy:
    """Run `convoy ARGUMENTS...` in a process of its own."""

    def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "jobs", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=240)

    return run


@dataclass(frozen=True)
class Workplace:
    """A directory with a job file, as a user has it."""

    path: Path
    convoy: Convoy

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.convoy(*arguments, cwd=self.path)

    def result(self, *arguments: str) -> Any:
        """Run a command that must succeed and give its JSON."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def workplace(tmp_path: Path, data_dir: Path, convoy: Convoy) -> Workplace:
    """A fresh workplace with `job.toml`."""
    return make_workplace(tmp_path, data_dir, convoy)


@pytest.fixture(scope="session")
def published(
    tmp_path_factory: pytest.TempPathFactory, data_dir: Path, convoy: Convoy
) -> tuple[Workplace, dict[str, Any]]:
    """A workplace in which `convoy run job.toml` has published once, and what it printed."""
    place = make_workplace(tmp_path_factory.mktemp("published"), data_dir, convoy)
    return place, place.result("run", "job.toml")


def make_workplace(path: Path, data_dir: Path, convoy: Convoy) -> Workplace:
    (path / "job.toml").write_text(JOB.format(data_dir=data_dir))
    return Workplace(path, convoy)


class Nest:
    """Runs `convoy ARGUMENTS...` in forked processes of its own, one after another."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._parent = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, cwd: Path, *arguments: str) -> int:
        """Start a command and give its process id; `wait` must be called next."""
        request = {"cwd": str(cwd), "arguments": arguments}
        request |= {name: str(self._scratch / name) for name in ("stdout", "stderr")}
        self._parent.stdin.write(json.dumps(request) + "\n")
        self._parent.stdin.flush()
        self._pid = int(self._parent.stdout.readline())
        return self._pid

    def wait(self) -> subprocess.CompletedProcess[str]:
        """Wait for its end; a negative code is the signal that killed it."""
        code = int(self._parent.stdout.readline())
        words = [(self._scratch / name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess((), code, *words)

    def __call__(self, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.start(cwd, *arguments)
        return self.wait()

    def killed(
        self, stage: str, share: float | None, cwd: Path, *arguments: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command and SIGKILL it when a stage ends, or `share` seconds after it begins."""
        reached = point(cwd, stage, share)
        self.start(cwd, *arguments)
        deadline = time.monotonic() + DEADLINE
        while not reached() and time.monotonic() < deadline:
            if select.select([self._parent.stdout], [], [], 0.0005)[0]:  # it has ended by itself
                return self.wait()
        return self.kill()

    def kill(self) -> subprocess.CompletedProcess[str]:
        """End the command that was started at once, by SIGKILL."""
        with suppress(ProcessLookupError):  # it has just ended by itself
            os.kill(self._pid, signal.SIGKILL)
        return self.wait()

    def close(self) -> None:
        """End the process that forks."""
        with self._parent:  # closes its pipes, which ends it
            pass


def newest_state(place: Path) -> dict[str, Any]:
    """Read the state of the newest run of a place of work; an empty one when there is none."""
    paths = sorted(place.glob("runs/*/*/state.json"))
    return json.loads(paths[-1].read_bytes()) if paths else {}


def point(place: Path, stage: str, share: float | None) -> Callable[[], bool]:
    """Give a function that tells whether a run which starts from now on has come to a point."""
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


@pytest.fixture(scope="session")
def nest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nest]:
    """Quickly started `convoy` processes."""
    made = Nest(tmp_path_factory.mktemp("nest"))
    yield made
    made.close()
