"""A run that is killed again and again ends as one that was never disturbed, bit for bit."""

import random
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.exits import INTERRUPTED
from tests.support.forkserver import ForkServer, Process
from tests.support.waiting import until
from trainer.history import read_history

PROGRAM = Path(__file__).with_name("training_process.py")
KILLS = [("float32", 8), ("bfloat16", 6), ("phases", 6), ("wild", 5)]


@dataclass(frozen=True)
class Trainer:
    """Trains one job in processes of its own."""

    job: str
    data_dir: Path
    forkserver: ForkServer

    def start(self, directory: Path) -> Process:
        return self.forkserver.start(str(PROGRAM), str(directory), str(self.data_dir), self.job)

    def whole(self, directory: Path) -> str:
        """Let a process train to the end and return its digest."""
        with self.start(directory) as process:
            output, errors = process.communicate()
            assert process.returncode == 0, errors
            return output.strip()

    def cut(self, directory: Path, seconds: float, sign: signal.Signals) -> int:
        """Send a signal after so many seconds and return the exit code."""
        with self.start(directory) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(sign)
            return process.wait()

    def stopped(self, directory: Path, seconds: float, sign: signal.Signals) -> int:
        """Send a signal so many seconds after a new state was written and return the exit code."""
        known = states(directory)
        with self.start(directory) as process:
            until(lambda: process.poll() is not None or states(directory) - known, "a new state")
            time.sleep(seconds)  # to be at any place in an epoch
            process.send_signal(sign)
            return process.wait()


def states(directory: Path) -> set[Path]:
    return set(directory.rglob("state-*.npz"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("job", "kills"), KILLS)
def test_kills_at_random_instants_change_nothing(job, kills, data_dir, tmp_path, forkserver):
    """Each process is killed a random time after its start; a run that ends makes room for one."""
    trainer, instants = Trainer(job, data_dir, forkserver), random.Random(job)
    trainer.whole(tmp_path / "first")  # prepares the data
    started = time.monotonic()
    expected = trainer.whole(tmp_path / "whole")
    seconds = time.monotonic() - started
    killed, run = 0, 0
    while killed < kills:
        directory = tmp_path / f"run{run}"
        code = trainer.cut(directory, seconds * instants.uniform(0.1, 1.0), signal.SIGKILL)
        assert code in (0, -signal.SIGKILL)
        killed += code == -signal.SIGKILL
        if code == 0 or killed == kills:
            assert trainer.whole(directory) == expected
            run += 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_told_to_stop_loses_no_step_and_exits_75(data_dir, tmp_path, forkserver):
    trainer, instants = Trainer("float32", data_dir, forkserver), random.Random(0)
    expected = trainer.whole(tmp_path / "whole")
    directory, stopped = tmp_path / "cut", []
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        assert trainer.stopped(directory, instants.uniform(0, 0.3), sign) == INTERRUPTED
        stopped.append(max(path.name for path in states(directory)))
    assert stopped == sorted(set(stopped))  # each went further than the one before
    assert trainer.whole(directory) == expected
    assert len(read_history(directory / "history.csv")) == 16
