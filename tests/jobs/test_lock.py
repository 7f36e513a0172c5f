"""Two runs of one name exclude each other, and a crash leaves no lock behind."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.exits import USAGE, CommandError
from jobs.lock import held

HOLD = """
import sys
from pathlib import Path
from jobs.lock import held
with held(Path(sys.argv[1]), "digits"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """A process that holds the runs of `digits`."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_second_is_told_at_once_who_holds_it(tmp_path, holder):
    with pytest.raises(CommandError) as caught, held(tmp_path, "digits"):
        pytest.fail("two processes hold one lock")
    assert holder.poll() is None  # it did not wait for the lock
    assert caught.value.code == USAGE
    assert f"held by pid {holder.pid} on {socket.gethostname()} since 20" in str(caught.value)


def test_other_names_are_free(tmp_path, holder):
    with held(tmp_path, "iris"):
        pass


def test_a_killed_holder_frees_it(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with held(tmp_path, "digits"):
        pass


def test_it_can_be_taken_again_and_again(tmp_path):
    for _ in range(2):
        with held(tmp_path, "digits"):
            pass


def test_a_holder_that_has_not_signed_yet_is_reported_too(tmp_path, holder):
    (tmp_path / ".digits.lock").write_text("")
    with pytest.raises(CommandError, match="a run that has just begun"), held(tmp_path, "digits"):
        pytest.fail("two processes hold one lock")
