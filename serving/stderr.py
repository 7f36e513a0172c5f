"""What is written for people: a stderr that may lose its reader, and text that is only text.

What cannot be written is dropped, and ends nothing. Names of classes, files and models come from
outside: a terminal would obey an escape sequence in one, and a log would take a line break in one
for a line of its own.
"""

import io
import logging
import os
import re
import sys
from typing import Any

STDERR = 2
# Control characters but tab and line feed, changes of direction, and halves of characters.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return text with its control characters written out (`\\x1b`), to be seen and not obeyed.

    Tabs and line feeds stay.
    """
    return _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)


def visible_line(text: str) -> str:
    """Return text as one line: line feeds and tabs are written out as well."""
    return visible(text).replace("\n", "\\n").replace("\t", "\\t")


class PlainFormatter(logging.Formatter):
    """Formats records as ever; what is in their messages is text, and one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        """Return the record's line, before a traceback is added."""
        record.message = visible_line(record.message)
        return super().formatMessage(record)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text; a traceback keeps its lines."""
        return visible(super().format(record))


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
