"""What is written to stderr is no reason to end, whether anybody reads it or not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.forkserver import DEADLINE, ForkServer
from tests.support.waiting import until

# Writes in every way that a run does, before and after its reader has gone away.
WRITER = """
import logging, sys, time, warnings
from pathlib import Path
from serving.stderr import keep_stderr
keep_stderr()
from jobs import console
console.start_logging()
def write():
    print("printed", "x" * 5000, file=sys.stderr)
    sys.stderr.write("without an end")
    console.stderr.print("drawn")
    logging.getLogger("jobs").info("logged")
    warnings.warn("warned")
write()
Path(sys.argv[1], "written").touch()
while not Path(sys.argv[1], "gone").exists():
    time.sleep(0.01)
for _ in range(100):
    write()
print("done")
"""


def test_nobody_reads_it_any_more(tmp_path: Path, forkserver: ForkServer):
    with forkserver.start("-c", WRITER, str(tmp_path)) as process:
        until((tmp_path / "written").exists)
        words = os.read(process.stderr.fileno(), 1 << 20).decode()
        process.stderr.close()
        (tmp_path / "gone").touch()
        assert process.wait() == 0
        assert process.stdout.read() == "done\n"
    for word in ("printed", "without an end", "drawn", "logged", "warned"):
        assert word in words


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
def test_it_is_closed_or_its_disk_is_full(tmp_path: Path, redirection: str):
    (tmp_path / "gone").touch()
    command = f'exec "$0" -c "$1" "$2" {redirection}'
    words = [sys.executable, WRITER, str(tmp_path)]
    done = subprocess.run(["sh", "-c", command, *words], capture_output=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_no_file_that_is_opened_later_takes_its_place(tmp_path: Path):
    code = (
        "from serving.stderr import keep_stderr; keep_stderr()\n"
        f"file = open({str(tmp_path / 'weights')!r}, 'w')\n"
        "import os, subprocess\n"
        "subprocess.run(['sh', '-c', 'echo native >&2'])\n"
        "os.write(2, b'native')"
    )
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], timeout=DEADLINE, check=True
    )
    assert done.returncode == 0
    assert (tmp_path / "weights").read_text() == ""
