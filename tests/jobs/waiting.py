"""Waiting for what other processes do."""

import time
from collections.abc import Callable
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
