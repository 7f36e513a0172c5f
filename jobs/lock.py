"""One run of a name at a time: a lock that the kernel frees when its holder dies."""

import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import TextIOWrapper
from pathlib import Path

from jobs.exits import CommandError

REFUSAL = re.compile(r"one run of .+ at a time: .+ is held by ")


@contextmanager
def held(runs: Path, name: str) -> Iterator[None]:
    """Hold the runs of a name against other processes for the length of the block.

    Raises CommandError, at once, that names the process which holds them already.
    """
    runs.mkdir(parents=True, exist_ok=True)
    path = runs / f".{name}.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(_taken(name, path)) from None
        _sign(file)
        yield


def is_refusal(message: str) -> bool:
    """Tell whether the last word of a command is that other runs of its name hold the lock."""
    return REFUSAL.match(message.removeprefix("convoy: ")) is not None


def _sign(file: TextIOWrapper) -> None:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    file.truncate(0)  # it is opened for appending, so that losing the race does not empty it
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": since}))
    file.flush()


def _taken(name: str, path: Path) -> str:
    rule = f"one run of {name} at a time: {path} is held by "
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:  # it has the lock, and has not signed yet
        return f"{rule}a run that has just begun. Try again when it has ended"
    return (
        f"{rule}pid {holder['pid']} on {holder['host']} since {holder['since']}. "
        "Try again when it has ended"
    )
