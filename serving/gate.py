"""The door that requests come through, which can be closed without failing those inside."""

import threading
import time

from serving.errors import RequestError


class Gate:
    """Counts the requests under way and, once closed, turns new ones away.

    When gRPC shuts down it cancels the calls that it has received, but not yet handed over. A
    server that closes its gate first, and shuts down when nobody knocks any more, gives every
    caller an answer or a clear UNAVAILABLE.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside = 0
        self._closed = False
        self._last_knock = 0.0

    def enter(self) -> None:
        """Let a request in, until it leaves. Raises RequestError when the gate is closed."""
        with self._changed:
            if self._closed:
                self._last_knock = time.monotonic()
                raise RequestError("UNAVAILABLE", "the server is shutting down")
            self._inside += 1

    def leave(self) -> None:
        """A request that was let in has its answer."""
        with self._changed:
            self._inside -= 1
            if self._closed:
                self._changed.notify_all()

    def close(self) -> None:
        """Turn new requests away from now on."""
        with self._changed:
            self._closed = True
            self._last_knock = time.monotonic()

    def wait_until_quiet(self, quiet: float, timeout: float) -> bool:
        """Wait until nobody is inside or has knocked for `quiet` seconds; False after `timeout`."""
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                now = time.monotonic()
                calm = self._last_knock + quiet
                if not self._inside and now >= calm:
                    return True
                if now >= deadline:
                    return False
                wake = deadline if self._inside else min(calm, deadline)
                self._changed.wait(wake - now)
