"""Waiting for what other processes do."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SECONDS = 240  # that anything may take on a machine that is busy with other tests


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition holds and give its value; fail when it does not in time."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"waited {SECONDS} s for {what}")


def terminate_when(
    condition: Callable[[str], bool], command: Sequence[str], cwd: Path
) -> tuple[int, list[str]]:
    """Start a command, SIGTERM it when a line on its stderr says so, and wait for its end.

    Gives its exit code and its lines.
    """
    lines: list[str] = []
    with subprocess.Popen(command, cwd=cwd, stderr=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stderr or ():
                lines.append(line)
                if condition(line):
                    process.send_signal(signal.SIGTERM)
            return process.wait(SECONDS), lines
        finally:
            process.kill()  # a test that has run out of time must not wait for it
