"""The command as a user runs it, and one published run that many tests look at."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
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
