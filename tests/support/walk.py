"""Walks through a page: writes its files and runs its commands, in a directory of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import guide

LISTENING = "listening"  # what a server says when it is ready
DEADLINE = 180.0  # seconds until it is
PATIENCE = 1200.0  # seconds for one command


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    code: int
    output: str
    errors: str


class Walk:
    """A reader's directory, shell and running servers. Use it in a `with` block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._servers: list[subprocess.Popen[str]] = []
        self._ports = dict(zip(("8500", "8501"), _free_ports(2), strict=True))
        shutil.copytree(guide.ROOT / "configs", directory / "configs", dirs_exist_ok=True)

    def take(self, step: guide.Step) -> Done | None:
        """Write a file, or run a command to its end; a server's start ends when it listens."""
        if isinstance(step, guide.File):
            (self.directory / step.name).write_text(step.text, encoding="utf-8")
            return None
        line = self._on_free_ports(step.line)
        if line.endswith("&") or line.startswith("convoy serve"):
            return self._start(line.removesuffix("&"))
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=self.directory,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Done(done.returncode, self._as_named(done.stdout), done.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self._servers:
            server.send_signal(signal.SIGTERM)
        for server in self._servers:
            server.communicate(timeout=60)  # which closes its pipe too

    def _on_free_ports(self, line: str) -> str:
        """The same line, where others may have the ports that the guide names."""
        if "convoy serve" in line:
            ports = f" --port {self._ports['8500']} --rest-port {self._ports['8501']}"
            return line.replace("convoy serve", f"convoy serve{ports}")
        for port, free in self._ports.items():
            line = line.replace(f"localhost:{port}", f"localhost:{free}")
        for asking in ("convoy predict", "convoy bench-serving"):
            if asking in line and "--address" not in line:
                line = line.replace(asking, f"{asking} --address localhost:{self._ports['8500']}")
        return line

    def _as_named(self, output: str) -> str:
        """The same output with the ports that the guide names."""
        for port, free in self._ports.items():
            output = output.replace(f":{free}", f":{port}")
        return output

    def _start(self, line: str) -> Done:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {line}"],
            cwd=self.directory,
            env=_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._servers.append(server)
        if server.stdout is None:
            raise RuntimeError("a server without stdout")
        with _deadline(server):
            said = server.stdout.readline()
        return Done(0 if LISTENING in said else 1, self._as_named(said), "")


@contextmanager
def _deadline(server: "subprocess.Popen[str]") -> Iterator[None]:
    """End a server that does not say anything in time, so that reading from it ends."""

    def end(number: int, frame: object) -> None:
        server.kill()

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(int(DEADLINE))
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _environment() -> dict[str, str]:
    """A reader's: this interpreter's commands first, and nothing of a terminal."""
    bin_ = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{bin_}:{os.environ['PATH']}",
        "TERM": "dumb",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "PYTHONPATH": str(guide.ROOT),
    }


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(found.getsockname()[1]) for found in sockets]
    for found in sockets:
        found.close()
    return ports


def oldest(directory: Path, pattern: str) -> Path:
    """Give the file of a pattern that was written first. Raises FileNotFoundError."""
    found = sorted(directory.glob(pattern), key=lambda path: path.stat().st_mtime)
    if not found:
        raise FileNotFoundError(f"no command left {pattern}")
    return found[0]


def clock() -> float:
    """Seconds, for differences."""
    return time.monotonic()


def error_lines(errors: str) -> str:
    """Give what the command itself says of its end on stderr, without progress and logs."""
    lines = [line for line in errors.splitlines() if re.match(r"convoy: ", line)]
    return "".join(f"{line}\n" for line in lines)
