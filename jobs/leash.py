"""A child process that ends with its parent, however that ends."""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
START = "from jobs.leash import leash; leash({parent}); from jobs.cli import main; main()"


def convoy(*arguments: str) -> Sequence[str]:
    """Give the command line of a `convoy` that the kernel kills when this process dies.

    Start it in a thread that lives until it has ended: to the kernel that thread is the parent.
    """
    return [sys.executable, "-c", START.format(parent=os.getpid()), *arguments]


def leash(parent: int) -> None:
    """Tie this process to the life of its parent, which may have died already.

    It holds through an `exec`, and not for what this process forks.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
