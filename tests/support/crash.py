"""A process that dies at a chosen step of its work on a directory, or may not do what it wants."""

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
    """Sees every change of a file; an audit hook cannot be taken away again."""

    root = ""
    left = 0
    refused: tuple[str, str] = ("", "")  # an event, and the name that it must not be about
    installed = False

    def install(self) -> None:
        if not self.installed:
            self.installed = True
            sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WRITES or not isinstance(arguments[0], str | os.PathLike):
            return
        path = os.fspath(arguments[0])
        if (event, os.path.basename(path)) == self.refused:
            raise PermissionError(1, "Operation not permitted", path)
        if not self.root or not path.startswith(self.root):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if not (STAGED in path and event != "os.rename"):
            self.left -= 1
            if self.left == 0:
                raise Crash


_hook = _Hook()


@contextmanager
def dying(root: Path, step: int) -> Iterator[None]:
    """Raise Crash in the block in place of its `step`-th change below a directory (from 1)."""
    _hook.install()
    _hook.root, _hook.left = str(root), step
    try:
        yield
    finally:
        _hook.root = ""


@contextmanager
def refusing(event: str, name: str) -> Iterator[None]:
    """Refuse a change ("os.remove", "os.chmod", "os.rename") of files of a name in the block.

    As the kernel does where they are another user's; who runs the tests may be root.
    """
    _hook.install()
    _hook.refused = (event, name)
    try:
        yield
    finally:
        _hook.refused = ("", "")
