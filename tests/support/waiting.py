"""Waiting for what other threads and processes do."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.forkserver import DEADLINE, ForkServer


def until(condition: Callable[[], Any], what: str = "it", seconds: float = DEADLINE) -> Any:
    """Wait until a condition holds and return its value; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited {seconds:.0f} s for {what}"
        time.sleep(0.002)
    return found


def terminate_when(
    condition: Callable[[str], bool], forkserver: ForkServer, *arguments: str, cwd: Path
) -> tuple[int, list[str]]:
    """Start a Python process and SIGTERM it when a line on its stderr says so.

    Returns its exit code and its lines.
    """
    lines: list[str] = []
    with forkserver.start(*arguments, cwd=cwd) as process:
        for line in process.stderr:
            lines.append(line)
            if condition(line):
                process.send_signal(signal.SIGTERM)
        return process.wait(), lines


def stop_after(batches: int) -> Callable[[], bool]:
    """Return a training's request to stop that comes after so many batches."""
    left = iter(range(batches - 1, -1, -1))
    return lambda: next(left) == 0
