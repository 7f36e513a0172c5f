"""A `convoy run` as a child process: its words passed on, its run and its result kept."""

import json
import re
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import IO, Any

from jobs.exits import INTERRUPTED, USAGE
from jobs.lock import is_refusal

RUN = re.compile(r"run (\S.*)")  # the first thing that `convoy run` says
LAST_WORDS = 5.0  # seconds for reading what is left when the process is gone


@dataclass(frozen=True)
class Ended:
    """How a child ended. A negative `code` is the signal that killed it, as in subprocess."""

    code: int
    run: str | None  # its run directory
    result: dict[str, Any]  # its JSON on stdout; empty when there was none
    message: str  # its last line on stderr

    @property
    def unfinished(self) -> bool:
        """Whether its run can go on: it was interrupted, killed, or kept out by another's lock."""
        return self.code < 0 or self.code == INTERRUPTED or self._kept_out

    @property
    def refused(self) -> bool:
        """Whether what was asked for is wrong, and would be the next time."""
        return self.code == USAGE and not self._kept_out

    @property
    def _kept_out(self) -> bool:
        return self.code == USAGE and is_refusal(self.message)


class Child:
    """A running process. `on_line` gets every line of its stderr, `on_run` its run directory."""

    def __init__(
        self,
        command: Sequence[str],
        on_line: Callable[[str], None],
        on_run: Callable[[str], None],
    ) -> None:
        self._on_line, self._on_run = on_line, on_run
        self._run: str | None = None
        self._last: deque[str] = deque(maxlen=1)
        self._result: deque[str] = deque(maxlen=1)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            process_group=0,  # Ctrl-C in a terminal must reach it once, through us, and not twice
        )
        self._readers = [
            _reading(self._process.stderr, self._hear),
            _reading(self._process.stdout, self._result.append),
        ]

    def terminate(self) -> None:
        """Ask the process to stop; does nothing when it has ended."""
        self._process.terminate()

    def wait(self) -> Ended:
        """Wait for the end of the process."""
        code = self._process.wait()
        for reader in self._readers:
            reader.join(LAST_WORDS)  # no longer: a grandchild may hold the pipe open
        result = _parse("".join(self._result))
        return Ended(code, result.get("run") or self._run, result, "".join(self._last))

    def _hear(self, line: str) -> None:
        self._last.append(line)
        self._on_line(line)
        if self._run is None and (match := RUN.fullmatch(line)):
            self._run = match.group(1)
            self._on_run(self._run)


def _reading(stream: IO[str] | None, take: Callable[[str], None]) -> threading.Thread:
    """Start to hand over the lines of a pipe that are not empty."""

    def read() -> None:
        with stream or nullcontext(()) as lines:
            for line in lines:
                if text := line.rstrip():
                    take(text)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def _parse(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
