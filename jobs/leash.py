"""A child process that ends with its parent, however that ends."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
START = "from jobs.leash import leash; leash({parent}); from jobs.cli import main; main()"


def convoy(*arguments: str) -> Sequence[str]:
    """Give the command line of a `convoy` that the kernel kills when this process dies."""
    return [sys.executable, "-c", START.format(parent=os.getpid()), *arguments]


def leash(parent: int) -> None:
    """Tie this process to the life of its parent, which may have died already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
