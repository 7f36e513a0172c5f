"""Work that is repeated in the background while a server runs."""

import logging
import threading
from collections.abc import Callable, Sequence

log = logging.getLogger(__name__)


class Poller:
    """Calls each function every so many seconds, in a thread of its own; 0 seconds is never."""

    def __init__(self, tasks: Sequence[tuple[float, Callable[[], None]]]) -> None:
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=task, name="convoy-poller", daemon=True)
            for task in tasks
            if task[0] > 0
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, seconds: float, task: Callable[[], None]) -> None:
        while not self._stopping.wait(seconds):
            try:
                task()
            except Exception:  # the next round may go better; without it no version is ever seen
                log.exception("polling failed")
