"""The connections of an HTTP server: how long each may take, and which one makes room for others.

A client that keeps a connection open and says nothing costs a slot, and one that sends a byte a
second could keep it for ever: the first is closed when its slot is needed, the second at a
deadline for the whole head or the whole body, not for each read.
"""

import io
import socket
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from typing import Any

SLOTS = 512  # connections at once, each with a thread
SPARE = 64  # beyond: only to answer health and metrics, and to say 503 to the rest


class Patience(io.RawIOBase):
    """A socket's incoming bytes, until a deadline. Raises TimeoutError from then on."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._deadline = 0.0

    def wait(self, seconds: float) -> None:
        """Give the reads from now on so much time altogether."""
        self._deadline = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of this request is over")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


class Slots:
    """Who is connected, each in a thread of its own.

    Those that are between two requests are idle, and the oldest of them goes when room is needed.
    """

    def __init__(self, slots: int = SLOTS, spare: int = SPARE, seconds: float = 2.0) -> None:
        self._slots = slots
        self._spare = spare
        self._seconds = seconds
        self._open = 0
        self._idle: OrderedDict[int, socket.socket] = OrderedDict()  # by thread, oldest first
        self._put_out: set[int] = set()
        self._changed = threading.Condition()

    def enter(self) -> bool:
        """Take a slot for a new connection, if need be that of the oldest idle one.

        Waits a little when not even a spare one is left, and returns False when that does not help.
        """
        with self._changed:
            if self._open >= self._slots and self._idle:
                self._put_out_oldest()
            limit = self._slots + self._spare
            if not self._changed.wait_for(lambda: self._open < limit, self._seconds):
                return False
            self._open += 1
            return True

    def leave(self) -> None:
        """Give back the slot of this thread's connection, which is closed."""
        thread = threading.get_ident()
        with self._changed:
            if thread in self._put_out:
                self._put_out.remove(thread)  # its slot was given away before
            else:
                self._free()

    def full(self) -> bool:
        """Return whether connections are beyond the slots, on spare ones."""
        with self._changed:
            return self._open > self._slots

    def idle(self, connection: socket.socket) -> None:
        """Count this thread's connection as idle from now on."""
        with self._changed:
            self._idle[threading.get_ident()] = connection

    def busy(self) -> None:
        """Count this thread's connection as busy: a request begins, or it is over."""
        with self._changed:
            self._idle.pop(threading.get_ident(), None)

    def _put_out_oldest(self) -> None:
        thread, connection = self._idle.popitem(last=False)
        self._put_out.add(thread)
        self._free()
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)  # which wakes its thread: that one leaves

    def _free(self) -> None:
        self._open -= 1
        self._changed.notify()
