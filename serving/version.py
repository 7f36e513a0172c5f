"""One version of a model in a server: loaded, in use, closed after its last request."""

import errno
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import grpc

from serving.errors import RequestError, StoreError
from serving.servable import Servable

log = logging.getLogger(__name__)

Loader = Callable[[Path, str, int], Servable]  # of a directory: the model, and the version


class State(Enum):
    """TensorFlow Serving's states and their numbers in ModelVersionStatus."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class Retries:
    """How often a load that failed is tried again, and how many seconds lie between two tries."""

    count: int = 5
    seconds: float = 60.0


class Version:
    """The life of one version directory in a server: START, LOADING, AVAILABLE, UNLOADING, END.

    END with an error is a version that could not be loaded. As in TensorFlow Serving it stays so,
    whatever becomes of its files, until it is not wanted for a while and then wanted again. Only
    what our own checks refused, such as a version that is not signed, is tried when files change.
    """

    def __init__(self, model: str, number: int, directory: Path) -> None:
        self.model = model
        self.number = number
        self.directory = directory
        self.state = State.START
        self.error = ""
        self.error_code = 0  # gRPC's number of what went wrong
        self._servable: Servable | None = None
        self._users = 0
        self._changed = threading.Condition(threading.Lock())
        self._failures = 0
        self._next_try = 0.0
        self._refused: Fingerprint | None = None  # the files that our own checks refused

    def __str__(self) -> str:
        return f"{self.model}/{self.number}"

    @property
    def in_memory(self) -> bool:
        return self.state in (State.AVAILABLE, State.UNLOADING)

    def due(self) -> bool:
        """Whether to load it now, given that it should be served."""
        match self.state:
            case State.START:
                return True
            case State.LOADING:
                return time.monotonic() >= self._next_try
            case State.END:
                return not self.error or self._mended()
            case _:
                return False

    def load(self, loader: Loader, retries: Retries) -> None:
        """Try to load; a failure is reported once and tried again after a while."""
        self.state = State.LOADING
        started = time.monotonic()
        try:
            servable = loader(self.directory, self.model, self.number)
        except Exception as error:  # a damaged file can make TensorFlow raise anything
            self._failed(error, retries)
        else:
            self._servable, self.error, self.state = servable, "", State.AVAILABLE
            log.info("loaded %s in %.2f s", self, time.monotonic() - started)

    def acquire(self) -> Servable | None:
        """Keep the version in memory until `release`; None when it is not, or no longer, there."""
        with self._changed:
            if self.state is not State.AVAILABLE:
                return None
            self._users += 1
            return self._servable

    def release(self) -> None:
        """Give back what `acquire` took."""
        with self._changed:
            self._users -= 1
            self._close_when_unused()

    def unload(self) -> None:
        """Take no more requests; free the memory now, or after the last request has its answer."""
        with self._changed:
            self.state = State.UNLOADING
            self._close_when_unused()

    def give_up(self) -> None:
        """Try no more to load it."""
        with self._changed:
            if self.state in (State.START, State.LOADING):
                self.state = State.END

    def wait_unloaded(self, timeout: float) -> bool:
        """Whether the last request was answered and the memory freed in time (seconds)."""
        with self._changed:
            return self._changed.wait_for(lambda: self.state is State.END, timeout)

    def _mended(self) -> bool:
        return self._refused not in (None, fingerprint(self.directory))

    def _close_when_unused(self) -> None:
        if self.state is not State.UNLOADING or self._users:
            return
        if self._servable is not None:
            self._servable.close()
        self._servable, self.state = None, State.END
        log.info("unloaded %s", self)
        self._changed.notify_all()

    def _failed(self, error: Exception, retries: Retries) -> None:
        self._failures += 1
        self._refused = fingerprint(self.directory) if isinstance(error, StoreError) else None
        again = self._failures <= retries.count
        self.error, self.error_code = f"{type(error).__name__}: {error}", code_of(error)
        self.state = State.LOADING if again else State.END
        self._next_try = time.monotonic() + retries.seconds
        level = logging.ERROR if self._failures == 1 else logging.DEBUG
        log.log(level, "cannot load %s from %s: %s", self, self.directory, self.error)


def code_of(error: Exception) -> int:
    """gRPC's number for what went wrong with a load: its own where it has one, else UNKNOWN."""
    if isinstance(error, RequestError):
        return int(grpc.StatusCode[error.code].value[0])
    if isinstance(error, OSError):  # TensorFlow's loader sets no errno when there is no model
        missing = error.errno in (None, errno.ENOENT)
        return int((grpc.StatusCode.NOT_FOUND if missing else grpc.StatusCode.UNKNOWN).value[0])
    return int(getattr(error, "error_code", grpc.StatusCode.UNKNOWN.value[0]))


Fingerprint = tuple[tuple[str, int, int], ...]


def fingerprint(directory: Path) -> Fingerprint:
    """Name, size and modification time (ns) of every file: equal as long as nothing changes.

    What cannot be read now (a stale NFS handle, another owner) is left out, and no error: to load
    it says what is wrong.
    """
    found = []
    with suppress(OSError):
        for path in directory.rglob("*"):
            with suppress(OSError):
                status = path.stat()
                found.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))


def not_found(model: str, number: int | None) -> str:
    """TensorFlow Serving's words, in which readiness probes look for "Servable"."""
    which = f"Latest({model})" if number is None else f"Specific({model}, {number})"
    return f"Servable not found for request: {which}"
