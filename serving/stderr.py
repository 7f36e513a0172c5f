"""Stderr that may lose its reader: what cannot be written is dropped, and ends nothing."""

import io
import os
import sys
from typing import Any

STDERR = 2


class _Dropping(io.FileIO):
    def write(self, data: Any, /) -> int:
        try:
            written = super().write(data)
        except OSError:  # a broken pipe, a terminal that was closed, a full disk
            written = None
        size = memoryview(data).nbytes
        return size if written is None else written  # None: a full pipe that must not block


def keep_stderr() -> None:
    """Let the process go on when its stderr is closed, or nobody reads it any more.

    Call it first thing. Where something else, such as a test, has taken `sys.stderr`, it stays.
    """
    if sys.stderr is not sys.__stderr__:
        return
    if sys.stderr is None:
        _open_nowhere()
    file = io.BufferedWriter(_Dropping(STDERR, "wb", closefd=False))
    encoding = getattr(sys.stderr, "encoding", "utf-8")
    sys.stderr = io.TextIOWrapper(file, encoding, errors="backslashreplace", line_buffering=True)


def _open_nowhere() -> None:
    """Take the number of stderr, so that no file that is opened later gets it, and our messages."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != STDERR:
        os.dup2(nowhere, STDERR)
        os.close(nowhere)
    os.set_inheritable(STDERR, True)
