"""A file that is read again when it changes, by whoever asks for what it holds."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from serving.errors import ConfigError

log = logging.getLogger(__name__)
Content = TypeVar("Content")


class Followed(Generic[Content]):
    """What `read` makes of a file; a change that cannot be read is logged, and changes nothing.

    Raises ConfigError when the file cannot be read at the start.
    """

    def __init__(self, path: Path, read: Callable[[Path], Content]) -> None:
        self._path, self._read = path, read
        self._lock = threading.Lock()
        self._stamp = self._look()
        self._content = read(path)

    def current(self) -> Content:
        """Return the newest content that could be read."""
        with self._lock:
            stamp = self._look()
            if stamp != self._stamp:
                self._stamp = stamp
                try:
                    self._content = self._read(self._path)
                    log.info("read %s again, which has changed", self._path)
                except ConfigError as error:
                    log.error("keeping what %s held before: %s", self._path, error)
            return self._content

    def _look(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()  # gone for a moment, as when it is replaced
        return (found.st_mtime_ns, found.st_size, found.st_ino)
