"""SIGTERM and SIGINT as a request to stop."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

STOPPING = (signal.SIGTERM, signal.SIGINT)
LOOK = 0.5  # seconds


@contextmanager
def stop_on_signal() -> Iterator[threading.Event]:
    """Give an event that the first signal sets; a second signal then acts as before the block."""
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()
        _restore(before)

    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        _restore(before)


class Signals:
    """SIGTERM and SIGINT one by one, as a program that waits for nothing else sees them.

    `take` gives each signal, or None for a call of `wake` by another thread.
    """

    def __init__(self) -> None:
        self._queue: SimpleQueue[int | None] = SimpleQueue()  # one that a handler may put into

    def listen(self) -> None:
        """Take the signals of this process from now on. Call it in the main thread."""
        for number in STOPPING:
            signal.signal(number, lambda number, frame: self.send(number))

    def send(self, number: int) -> None:
        """Do as if the signal had come."""
        self._queue.put(number)

    def wake(self) -> None:
        """Let `take` give None."""
        self._queue.put(None)

    def take(self) -> int | None:
        """Wait for the next one.

        A signal that comes while another thread starts a process may be taken by that thread, and
        then does not wake this one, in which handlers run: so it wakes by itself now and then.
        """
        while True:
            try:
                return self._queue.get(timeout=LOOK)
            except Empty:
                continue


def _restore(handlers: dict[signal.Signals, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
