"""What is written to stderr is no reason to end, whether anybody reads it or not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.timetable import read
from tests.support.forkserver import DEADLINE, ForkServer
from tests.support.waiting import until
from tests.support.workplace import Workplace

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


SERVERS = {
    "convoy serve": ("-m", "jobs", "serve", "--store", "models", "--port", "0", "--rest-port", "0"),
    "convoy-model-server": (
        "-c", "import sys; from serving.server import main; sys.exit(main())",
        "--model_name=tiny", "--model_base_path=models/tiny", "--port=0",
        "--grpc_socket_path=socket",
    ),
}  # fmt: skip


@pytest.mark.parametrize("command", SERVERS.values(), ids=SERVERS)
def test_a_server_serves_on_and_ends_well(own_published, command: tuple[str, ...]):
    place, _ = own_published
    with place.forkserver.start(*command, cwd=place.path) as server:
        while "listening grpc=" not in server.stderr.readline():
            pass
        server.stderr.close()
        server.terminate()  # it has words for that
        assert server.wait() == 0


@pytest.mark.slow
def test_a_run_is_published(workplace: Workplace):
    settings = ("--set", "train.epochs=1", "--set", "bless.max_class_fall=1")
    with workplace.start("run", "job.toml", *settings, "--json") as run:
        run.stderr.readline()
        run.stderr.close()
        assert run.wait() == 0
        assert json.loads(run.stdout.read())["status"] == "published"


@pytest.mark.slow
def test_a_scheduler_carries_on(workplace: Workplace):
    settings = ("--set", "train.epochs=1", "--set", "bless.max_class_fall=1")
    with workplace.start("schedule", "job.toml", "--every", "1", *settings) as scheduler:
        scheduler.stderr.readline()
        scheduler.stderr.close()
        state = workplace.path / "runs" / "schedule.json"
        last = until(lambda: state.exists() and read(state)["jobs"]["tiny"].get("last"))
        assert (last["outcome"], last["code"]) == ("published", 0)
        scheduler.terminate()
        assert scheduler.wait() == 0
