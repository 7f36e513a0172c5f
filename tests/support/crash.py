"""A process that dies at a chosen step of its work on a directory, without a process."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WRITES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"}
STAGED = ".stage-"  # where one step is as another: what is left there is swept


class Crash(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


class _Hook:
    root = ""
    left = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.root or event not in WRITES or not isinstance(arguments[0], str | os.PathLike):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        path = os.fspath(arguments[0])
        if path.startswith(self.root) and not (STAGED in path and event != "os.rename"):
            self.left -= 1
            if self.left == 0:
                raise Crash


_hook = _Hook()
_installed = False  # an audit hook cannot be taken away again


@contextmanager
def dying(root: Path, step: int) -> Iterator[None]:
    """Raise Crash in the block in place of its `step`-th change below a directory (from 1)."""
    global _installed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    _hook.root, _hook.left = str(root), step
    try:
        yield
    finally:
        _hook.root = ""
