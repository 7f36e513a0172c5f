"""A run that is killed again and again ends as one that was never disturbed, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.exits import INTERRUPTED
from trainer.history import read_history

PROGRAM = Path(__file__).with_name("training_process.py")
ROOT = Path(__file__).parents[2]
KILLS = [("float32", 8), ("bfloat16", 6), ("phases", 6), ("wild", 5)]
DEADLINE = 240.0  # seconds for one process, on a busy machine


@dataclass(frozen=True)
class Trainer:
    """Trains one job in processes of its own."""

    job: str
    data_dir: Path

    @contextmanager
    def started(self, directory: Path) -> Iterator[subprocess.Popen[str]]:
        command = [sys.executable, str(PROGRAM), str(directory), str(self.data_dir), self.job]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def whole(self, directory: Path) -> str:
        """Let a process train to the end and give its digest."""
        with self.started(directory) as process:
            output, errors = process.communicate(timeout=DEADLINE)
            assert process.returncode == 0, errors
            return output.strip()

    def cut(self, directory: Path, seconds: float, sign: signal.Signals) -> int:
        """Send a signal after so many seconds and give the exit code."""
        with self.started(directory) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(sign)
            return process.wait(DEADLINE)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("job", "kills"), KILLS)
def test_kills_at_random_instants_change_nothing(job, kills, data_dir, tmp_path):
    """Each process is killed a random time after its start; a run that ends makes room for one."""
    trainer, instants = Trainer(job, data_dir), random.Random(job)
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
def test_a_run_told_to_stop_loses_no_step_and_exits_75(data_dir, tmp_path):
    trainer, instants = Trainer("float32", data_dir), random.Random(0)
    expected = trainer.whole(tmp_path / "whole")
    directory, stopped = tmp_path / "cut", []
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        known = set(directory.rglob("state-*.npz"))
        with trainer.started(directory) as process:
            end = time.monotonic() + DEADLINE
            while set(directory.rglob("state-*.npz")) <= known:  # until it trains
                assert process.poll() is None, process.communicate()[1]
                assert time.monotonic() < end, "no new state was written"
                time.sleep(0.02)
            time.sleep(instants.uniform(0, 0.3))  # at any place in an epoch
            process.send_signal(sign)
            assert process.wait(DEADLINE) == INTERRUPTED
        stopped.append(max(path.name for path in directory.rglob("state-*.npz")))
    assert stopped == sorted(set(stopped))  # each went further than the one before
    assert trainer.whole(directory) == expected
    assert len(read_history(directory / "history.csv")) == 16
