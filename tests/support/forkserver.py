"""Python processes that start in no time: forked from one that has imported TensorFlow.

They are as killable as any and have a session, descriptors and an environment of their own. What
they have not had is an `exec`, so import rules and start-up are not to be tested with them.
"""

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn, Self

LARGEST = 1 << 20  # bytes of one request
PIPE = 1 << 20  # bytes of output that may wait to be read
DEADLINE = 240.0  # seconds that a command may take on a machine that is busy with other tests
PR_SET_PDEATHSIG = 1
# TensorFlow, and what the commands import when they are called; nothing that starts its runtime.
PRELOADED = (
    "jobs.cli", "jobs.board", "jobs.commands.models", "jobs.comparison", "jobs.drift", "jobs.trial",
    "jobs.importing", "jobs.progress", "jobs.rate_finder", "jobs.retrain", "jobs.runs", "jobs.tune",
    "jobs.worker", "pipeline.inspection", "serving.server", "trainer.fit", "trainer.report",
)  # fmt: skip


class Process:
    """A process of the server, with the part of `subprocess.Popen` that tests use.

    `stdout` and `stderr` are its output as text.
    """

    def __init__(self, line: socket.socket, stdout: IO[str], stderr: IO[str]) -> None:
        self._line = line
        self.stdout, self.stderr = stdout, stderr
        self.returncode: int | None = None
        self.pid = int(line.recv(64))

    def poll(self) -> int | None:
        """Return its exit code, a negative one for the signal that ended it; None while it runs."""
        with contextlib.suppress(TimeoutError, subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = DEADLINE) -> int:
        """Return its exit code when it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._line], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            self.returncode = int(self._line.recv(64) or b"-9")
            self._line.close()
        return self.returncode

    def communicate(self, timeout: float | None = DEADLINE) -> tuple[str, str]:
        """Return what it writes to stdout and stderr until it ends."""
        words = ["", ""]

        def read(place: int, stream: IO[str]) -> None:
            words[place] = stream.read()

        streams = enumerate((self.stdout, self.stderr))
        readers = [threading.Thread(target=read, args=s, daemon=True) for s in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader in readers:
            reader.join(timeout)
        return words[0], words[1]

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        self.stdout.close()
        self.stderr.close()


class ForkServer:
    """Starts processes as `python ARGUMENTS...` would. Close it when no more are needed."""

    def __init__(self) -> None:
        # Forked processes end without atexit, where AutoGraph would delete its files.
        self._scratch = tempfile.TemporaryDirectory(prefix="convoy-forks-")
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._parent = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
            )

    def start(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> Process:
        """Start `python ARGUMENTS...`: `-m MODULE`, `-c CODE` or a file, and its arguments."""
        (out, out_theirs), (err, err_theirs) = os.pipe(), os.pipe()
        for pipe in (out, err):  # nobody reads while a test waits for something else
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE)
        line = self._start(arguments, cwd, env, out_theirs, err_theirs)
        os.close(out_theirs)
        os.close(err_theirs)
        return Process(line, open(out, encoding="utf-8"), open(err, encoding="utf-8"))

    def run(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout: float = DEADLINE,
    ) -> "subprocess.CompletedProcess[str]":
        """Run `python ARGUMENTS...` to its end; one that takes too long is killed, and raises."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            line = self._start(arguments, cwd, env, out.fileno(), err.fileno())
            process = Process(line, out, err)
            try:
                code = process.wait(timeout)
            except BaseException:
                process.kill()
                raise
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, code, out.read(), err.read())

    def close(self) -> None:
        """End the server, and with it what it started."""
        self._requests.close()
        self._parent.wait()
        self._scratch.cleanup()

    def _start(
        self,
        arguments: tuple[str, ...],
        cwd: Path | None,
        env: Mapping[str, str] | None,
        *outputs: int,
    ) -> socket.socket:
        request: dict[str, Any] = {"arguments": arguments, "cwd": str(cwd or Path.cwd())}
        environment = dict(os.environ if env is None else env)
        request |= {"environment": environment | {"TMPDIR": self._scratch.name}}
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps(request).encode()
            socket.send_fds(self._requests, [message], [theirs.fileno(), *outputs])
        return line


def serve(requests: socket.socket) -> NoReturn:
    """Fork and reap processes as requests come, until nobody can send any more."""
    for name in PRELOADED:
        __import__(name)
    gc.collect()
    gc.freeze()  # else the collector of every child would touch, and so copy, what it inherits
    children: dict[int, tuple[int, socket.socket]] = {}  # pidfd -> (pid, whom to tell of its end)
    while True:
        ready = set(select.select([requests.fileno(), *children], [], [])[0])
        for pidfd in children.keys() & ready:
            pid, line = children.pop(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with line, contextlib.suppress(OSError):  # who asked may be gone
                line.send(str(code).encode())
            os.close(pidfd)
        if requests.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, LARGEST, 3)
            if not message:
                _leave(0)
            parent = os.getpid()
            if (pid := os.fork()) == 0:
                _be(json.loads(message), descriptors, parent)
            for descriptor in descriptors[1:]:
                os.close(descriptor)
            line = socket.socket(fileno=descriptors[0])
            line.send(str(pid).encode())
            children[os.pidfd_open(pid)] = (pid, line)


def _be(request: dict[str, Any], descriptors: list[int], parent: int) -> NoReturn:
    """Be the process that was asked for, from the fork to the end."""
    code: object = 1
    try:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            _leave(1)
        os.setsid()
        os.chdir(request["cwd"])
        os.environ.clear()
        os.environ.update(request["environment"])
        tempfile.tempdir = None  # it may have been looked up before the fork
        os.dup2(descriptors[1], 1)
        os.dup2(descriptors[2], 2)
        os.closerange(3, 1024)
        _interpret(request["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
    _leave(code if isinstance(code, int) else int(code is not None))


def _interpret(arguments: list[str]) -> None:
    """Do what `python ARGUMENTS...` does, in this process."""
    match arguments:
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            main = types.ModuleType("__main__")
            sys.modules["__main__"] = main
            exec(code, main.__dict__)  # noqa: S102
        case [file, *rest]:
            sys.argv = [file, *rest]
            sys.path.insert(0, str(Path(file).parent))
            runpy.run_path(file, run_name="__main__")


def _leave(code: int) -> NoReturn:
    """End without the interpreter's own end, which is its parent's."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def forkserver() -> Iterator[ForkServer]:
    """Have a server for the length of the block."""
    server = ForkServer()
    try:
        yield server
    finally:
        server.close()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
