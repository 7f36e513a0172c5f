"""What the machine refuses: a full disk, a file that is gone, damaged or another user's.

Such errors come from Python, from its decompressors and from inside TensorFlow, and are nobody's
mistake in this program: here each becomes one line that names the path.
"""

import errno
import io
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from jobs.exits import FAILED, CommandError

# How TensorFlow words what the system refused: "/a/file; No space left on device". The innermost
# reason is the last one; what Python code inside a graph raised comes with its number.
_REASONS = "|".join(sorted({re.escape(os.strerror(number)) for number in errno.errorcode}))
_REFUSED = re.compile(rf"^.*; (?:{_REASONS})(?!\w)", re.MULTILINE)
_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_RAISED = re.compile(r"\[Errno \d+\] .*")
_NODE = re.compile(r"^.*\}\} | \[Op:.*$")  # the operation that met it, before and behind the reason


@contextmanager
def told(code: int = FAILED, advice: str = "") -> Iterator[None]:
    """End the command with one line where the machine refuses something in the block.

    `advice` is added to the line. Other errors pass.
    """
    try:
        yield
    except CommandError:
        raise
    except Exception as problem:
        line = describe(problem)
        if line is None:
            raise
        raise CommandError(f"{line}. {advice}" if advice else line, code) from None


def describe(problem: BaseException) -> str | None:
    """Return what the machine refused in one line, with its path; None for any other error.

    An error that was raised from such a one counts as well. A pipe that nobody reads any more is no
    fault of a file's: the command's reader has gone.
    """
    if isinstance(problem, BrokenPipeError):
        return None
    if isinstance(problem, shutil.Error):
        return _of_copies(problem)
    if isinstance(problem, OSError):
        return _of_system(problem)
    if isinstance(problem, _damages()):
        return f"{_file_of(problem) or 'a file'} is damaged: {_first_line(problem)}"
    found = _of_tensorflow(problem)
    return found if found or problem.__cause__ is None else describe(problem.__cause__)


def is_room(line: str) -> bool:
    """Tell whether a line of `describe` is about room on a disk: another try finds none either."""
    return any(line.endswith(os.strerror(number)) for number in _ROOM)


def _of_copies(problem: shutil.Error) -> str:
    """Tell the first of the files that `shutil` could not copy."""
    first = problem.args[0]
    if isinstance(first, list) and first:
        _, target, reason = first[0]
        return f"{target}: {reason}"
    return _first_line(problem)


def _of_system(problem: OSError) -> str:
    names = [os.fsdecode(name) for name in (problem.filename, problem.filename2) if name]
    remote = isinstance(problem, ConnectionError | TimeoutError)
    place = " -> ".join(names) or (None if remote else _file_of(problem))
    reason = problem.strerror or _first_line(problem)
    return reason if place is None or place in reason else f"{place}: {reason}"


def _of_tensorflow(problem: BaseException) -> str | None:
    """Tell an error of TensorFlow's that is the file system's: it has no class of its own."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(problem, tensorflow.errors.OpError):
        return None
    text = str(problem.message)
    if found := _RAISED.findall(text):
        return str(found[-1]).strip()
    if found := _REFUSED.findall(text):
        path, _, reason = _NODE.sub("", found[-1]).strip().rpartition("; ")
        return f"{path}: {reason}"
    if isinstance(problem, tensorflow.errors.DataLossError):
        return f"a file is damaged: {_NODE.sub('', _first_line(text))}"
    return None


def _damages() -> tuple[type[BaseException], ...]:
    """Return what the readers of compressed files raise, beside OSError, for a damaged one."""
    import lzma
    import tarfile
    import zipfile
    import zlib

    return (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)


def _file_of(problem: BaseException) -> str | None:
    """Return the file that was being read or written, where the error does not name it.

    Python names a file that it cannot open, but not one that it cannot write to or read on: that is
    the innermost file of those that the calls on the way to the error had open.
    """
    frames = [frame for frame, _ in traceback.walk_tb(problem.__traceback__)]
    for frame in reversed(frames):
        for value in frame.f_locals.values():
            name = getattr(value, "name", None) if isinstance(value, io.IOBase) else None
            if isinstance(name, str):
                return name
    return None


def _first_line(problem: object) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
