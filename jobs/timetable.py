"""The schedule's memory: for each job its last and its next run, in a file that outlives us."""

import fcntl
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import IO, Any, Self

from jobs.exits import CommandError
from pipeline.whole import write_whole

Entry = dict[str, Any]  # of one job: next, waiting, running, started, resume, skipped, last
LOOKS = 10  # at a file that somebody may only be looking at, or whose holder is just dying
LOOK_SECONDS = 0.05  # between two of them

log = logging.getLogger(__name__)


class Timetable:
    """The file, held by one scheduler at a time; the kernel frees it when its holder dies.

    Every change replaces the file in one step. Raises CommandError when another scheduler has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._changing = threading.Lock()
        self._hold = _hold(path)
        try:
            self._state = {"jobs": {}} | _read(path) | {"pid": os.getpid()}
        except CommandError:
            self.close()
            raise

    def entry(self, name: str) -> Entry:
        """What is known of a job; empty for a new one."""
        with self._changing:
            return dict(self._state["jobs"].get(name, {}))

    def update(self, name: str, **facts: Any) -> None:
        """Change facts of a job, and the file with them."""
        with self._changing:
            self._state["jobs"].setdefault(name, {}).update(facts)
            self._write()

    def keep(self, names: set[str]) -> None:
        """Forget jobs that are no longer scheduled."""
        with self._changing:
            self._state["jobs"] = {n: e for n, e in self._state["jobs"].items() if n in names}
            self._write()

    def close(self) -> None:
        """Let another scheduler have the file."""
        self._hold.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _write(self) -> None:
        text = json.dumps(self._state, indent=2, ensure_ascii=False)
        try:
            write_whole(self.path, text.encode())
        except OSError as problem:  # a full disk ends no scheduler and no run
            log.error("cannot write %s: %s", self.path, problem)


def read(path: Path) -> dict[str, Any]:
    """Give the state as a scheduler left it, and whether one is running: `alive`.

    Raises CommandError when there is no such file.
    """
    if not path.is_file():
        raise CommandError(f"no schedule has been started here: there is no {path}")
    return {"alive": _is_held(path), "jobs": {}} | _read(path)


def _hold(path: Path) -> IO[str]:
    """Lock the file of a state for this process. Raises CommandError when another has it."""
    file = _lock_file(path).open("w")
    for _ in range(LOOKS):
        if _has_locked(file, fcntl.LOCK_EX):
            return file
        time.sleep(LOOK_SECONDS)
    file.close()
    raise CommandError(
        f"another scheduler holds {path}. Stop it, or give this one its own --state FILE"
    )


def _is_held(path: Path) -> bool:
    lock = _lock_file(path)
    if not lock.exists():
        return False
    with lock.open() as file:
        return not _has_locked(file, fcntl.LOCK_SH)


def _has_locked(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock_file(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")  # beside: the file itself is replaced


def _read(path: Path) -> dict[str, Any]:
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as problem:
        raise CommandError(f"{path} is no schedule's state: {problem}. Remove it") from None
    if not isinstance(state, dict) or not isinstance(state.get("jobs", {}), dict):
        raise CommandError(f"{path} is no schedule's state: expected an object. Remove it")
    return state
