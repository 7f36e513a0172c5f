"""Several workers on this machine: started, killed, stopped, and started again."""

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from jobs.exits import INTERRUPTED, USAGE
from jobs.launch import environment, free_ports, launch

CHANGES = ("train.epochs=6", "train.batch_size=100", "train.precision=float32")
DEADLINE = 240  # seconds


def test_workers_know_each_other_and_share_the_gpus(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    first, second = (environment(index, [2001, 2002]) for index in range(2))
    assert json.loads(first["TF_CONFIG"])["cluster"] == {
        "worker": ["127.0.0.1:2001", "127.0.0.1:2002"]
    }
    assert json.loads(second["TF_CONFIG"])["task"] == {"type": "worker", "index": 1}
    assert (first["CUDA_VISIBLE_DEVICES"], second["CUDA_VISIBLE_DEVICES"]) == ("4,6", "5")


def test_ports_are_not_given_twice():
    assert len(set(free_ports(20))) == 20


def test_a_verdict_ends_the_launch_at_once(tmp_path, caplog):
    missing = str(tmp_path / "job.toml")
    assert launch(["run", missing], 2, restarts=3, stop=threading.Event()) == USAGE
    assert "starting all workers again" not in caplog.text


def test_a_wrong_command_is_answered_by_an_example(workplace):
    done = workplace("launch", "--workers", "2", "predict", "x.png")
    assert done.returncode == USAGE
    assert "received predict x.png. Such as convoy launch --workers 2 run job.toml" in done.stderr


@contextmanager
def launched(place: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "jobs", "launch", "--workers", "2", *options]
    changes = [word for change in CHANGES for word in ("--set", change)]
    process = subprocess.Popen(
        [*command, "train", "job.toml", *changes, "--json"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(DEADLINE, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of the workers, the chief first."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(pid) for pid in children.split()]


def read_until(process: subprocess.Popen[str], pattern: str) -> list[str]:
    lines: list[str] = []
    for line in process.stderr or ():
        lines.append(line)
        if re.search(pattern, line):
            break
    assert lines
    assert re.search(pattern, lines[-1]), "".join(lines)
    return lines


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    outcome: dict[str, Any] = json.loads(output) | {"stderr": errors}
    return outcome


def trained(place: Path, outcome: dict[str, Any]) -> list[np.ndarray]:
    path = place / outcome["run"] / "model.keras"
    weights: list[np.ndarray] = keras.models.load_model(path, compile=False).get_weights()
    return weights


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, data_dir) -> list[np.ndarray]:
    """The weights that two workers end with when nothing happens to them."""
    place = tmp_path_factory.mktemp("undisturbed")
    write_job(place, data_dir)
    with launched(place) as process:
        return trained(place, result(process))


def write_job(place: Path, data_dir: Path) -> None:
    (place / "job.toml").write_text(
        f"""
name = "tiny"
data = {{ source = "digits", image_size = [16, 16], channels = 1, data_dir = "{data_dir}" }}
model = {{ name = "lenet5", options = {{ activation = "relu" }} }}
train = {{ learning_rate = 3e-3 }}
"""
    )


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1], ids=["chief", "other"])
def test_a_job_that_loses_a_worker_ends_as_if_nothing_had_happened(
    undisturbed, tmp_path, data_dir, victim
):
    write_job(tmp_path, data_dir)
    with launched(tmp_path) as process:
        read_until(process, r"^epoch 3/6")
        subprocess.run(["kill", "-KILL", str(workers(process)[victim])], check=True)
        outcome = result(process)
    assert f"worker {victim} ended by SIGKILL" in outcome["stderr"]
    assert "starting all workers again (1 of 3)" in outcome["stderr"]
    assert "epoch 1/6" not in outcome["stderr"]  # it went on from the newest checkpoint
    assert "epoch 6/6" in outcome["stderr"]
    assert len(list((tmp_path / "runs" / "tiny").iterdir())) == 1
    for one, other in zip(undisturbed, trained(tmp_path, outcome), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_a_launch_told_to_stop_saves_and_goes_on_when_it_is_repeated(
    undisturbed, tmp_path, data_dir
):
    write_job(tmp_path, data_dir)
    with launched(tmp_path) as process:
        read_until(process, r"^epoch 2/6")
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == INTERRUPTED, errors
    assert "interrupted. Continue with: convoy train --resume" in errors
    with launched(tmp_path) as process:
        outcome = result(process)
    assert "epoch 1/6" not in outcome["stderr"]
    for one, other in zip(undisturbed, trained(tmp_path, outcome), strict=True):
        assert np.array_equal(one, other)


@pytest.mark.slow
def test_a_worker_that_nobody_joins_gives_up(workplace, data_dir, monkeypatch):
    write_job(workplace.path, data_dir)
    monkeypatch.setenv("TF_CONFIG", environment(1, free_ports(2))["TF_CONFIG"])
    monkeypatch.setenv("CONVOY_START_DEADLINE", "5")
    done = workplace("train", "job.toml")
    assert done.returncode == -signal.SIGALRM, done.stderr
    assert "waiting for all 2 workers, at most 5 s" in done.stderr
