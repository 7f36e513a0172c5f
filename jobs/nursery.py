"""Processes for trials, forked from one that has already imported TensorFlow.

Importing takes about five seconds of CPU; forking after it takes none, and is safe as long as
TensorFlow's runtime has not been started. The kernel ends every process here with its parent, so
a supervisor that is killed leaves no orphan that would write beside the next one.
"""

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from jobs.gpus import visible_gpus
from jobs.leash import leash
from tuning.trial import Assignment, Outcome, Report

LARGEST = 1 << 16  # bytes of one message
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)
NURSERY = "from jobs.nursery import serve; serve()"
Message = dict[str, Any]


@dataclass
class Nursery:
    """A pool of trial processes of one search, in its run directory."""

    run: Path
    workers: int
    _channel: socket.socket = field(init=False)
    _process: subprocess.Popen[bytes] = field(init=False)
    _pids: dict[str, int] = field(init=False, default_factory=dict)  # of trials that run

    def __enter__(self) -> "Nursery":
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def start(self, slot: int, assignment: Assignment) -> None:
        """Fork a process for the assignment in a slot's share of this machine."""
        environment = share_of_machine(slot, self.workers)
        self._pids[assignment.trial] = 0
        self._send({"start": assignment.to_json(), "environment": environment})

    def kill(self, trial: str) -> None:
        """End a trial's process at once."""
        self._send({"kill": trial})

    def memory_mb(self, trial: str) -> float:
        """Give the resident memory of a trial's process, in MB; 0 when there is none."""
        try:
            pages = Path(f"/proc/{self._pids.get(trial) or 'none'}/statm").read_text().split()[1]
        except OSError:
            return 0.0
        return int(pages) * PAGE_MB

    def wait(self, seconds: float) -> list[Report]:
        """Give what trials have reported, after at most so many seconds."""
        reports: list[Report] = []
        while select.select([self._channel], [], [], 0 if reports else seconds)[0]:
            message = self._receive()
            if message is None:
                return [*reports, *self._replace_nursery()]
            if "pid" in message:
                self._pids[message["trial"]] = message["pid"]
                continue
            outcome = Outcome(**message.pop("outcome")) if message.get("outcome") else None
            if outcome is not None:
                self._pids.pop(message["trial"], None)
            reports.append(Report(**{**message, "outcome": outcome}))
        return reports

    def _open(self) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, (self.run / "nursery.log").open("ab") as messages:
            fd = theirs.fileno()
            self._process = subprocess.Popen(
                [sys.executable, "-c", NURSERY, str(fd), str(os.getpid()), str(self.run)],
                pass_fds=[fd],
                stdin=subprocess.DEVNULL,
                stdout=messages,  # the supervisor's own stdout is for its result alone
                stderr=messages,
                start_new_session=True,  # an interrupt typed at the terminal is for the supervisor
            )

    def _close(self) -> None:
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _replace_nursery(self) -> list[Report]:
        """Begin anew after the nursery itself has died, and all its trials with it."""
        self._close()
        lost, self._pids = list(self._pids), {}
        self._open()
        reason = "the process that starts trials was killed"
        return [Report(trial, outcome=Outcome("killed", reason=reason)) for trial in lost]

    def _send(self, message: Message) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # wait() sees it too
            self._channel.send(json.dumps(message).encode())

    def _receive(self) -> Message | None:
        try:
            packet = self._channel.recv(LARGEST)
        except ConnectionResetError:
            return None
        return json.loads(packet) if packet else None


def share_of_machine(slot: int, workers: int) -> dict[str, str]:
    """Give the environment that holds a trial to its share: one GPU, or a part of the CPUs."""
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    environment = {"CONVOY_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    if gpus := visible_gpus():
        environment["CUDA_VISIBLE_DEVICES"] = gpus[slot % len(gpus)]
    return environment


def serve() -> None:
    """Fork and reap trials as the supervisor's messages say, until it goes away.

    The arguments of the process are the channel's descriptor, the supervisor's pid and the run.
    """
    fd, parent, run = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    leash(parent)
    from jobs import trial  # noqa: F401  # imports TensorFlow, once for all trials

    channel = socket.socket(fileno=fd)
    children: dict[int, tuple[str, int]] = {}  # pidfd -> (trial, pid)
    while True:
        ready, _, _ = select.select([fd, *children], [], [])
        for pidfd in children.keys() & set(ready):
            _reap(channel, *children.pop(pidfd))
            os.close(pidfd)
        if fd in ready:
            packet = channel.recv(LARGEST)
            if not packet:
                os._exit(0)  # the supervisor is gone; the kernel ends the children
            _obey(json.loads(packet), channel, run, children)


def _obey(
    message: Message, channel: socket.socket, run: Path, children: dict[int, tuple[str, int]]
) -> None:
    if "kill" in message:
        for name, pid in children.values():
            if name == message["kill"]:
                os.kill(pid, signal.SIGKILL)  # not reaped yet, so the pid is still its own
        return
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _raise_trial(message, channel, run, parent)
    name = message["start"]["trial"]
    children[os.pidfd_open(pid)] = (name, pid)
    _report(channel, {"trial": name, "pid": pid})


def _reap(channel: socket.socket, trial: str, pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code != 0:  # else the trial itself has told how it ended
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        outcome = {"ending": "killed", "reason": f"its process ended by {how}"}
        _report(channel, {"trial": trial, "outcome": outcome})


def _raise_trial(message: Message, channel: socket.socket, run: Path, parent: int) -> NoReturn:
    """Be the trial's process, from the fork to the end."""
    code = 1
    try:
        leash(parent)
        os.environ.update(message["environment"])
        from jobs.trial import Place, run_trial

        assignment = Assignment(**message["start"])
        place = Place(run, assignment.trial)
        place.take_output()
        _be_the_one_to_die()

        def report(**news: Any) -> None:
            _report(channel, {"trial": assignment.trial, **news})

        outcome = run_trial(assignment, place, report)
        report(outcome=outcome.__dict__)
        code = 0
    except BaseException:
        traceback.print_exc()  # into the trial's log
    finally:
        sys.stderr.flush()
        os._exit(code)


def _be_the_one_to_die() -> None:
    """Let the kernel, where memory runs out, end a trial rather than the supervisor."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _report(channel: socket.socket, message: Message) -> None:
    channel.send(json.dumps(message).encode())
