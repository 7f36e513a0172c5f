"""A worker's calls to its chief, which may be away for a while."""

import json
import logging
import time
from collections.abc import Callable
from typing import Any

import grpc

from tuning.messages import rpc
from tuning.service import MEMBERS, SEARCH, Terms, to_bytes

ANSWER_SECONDS = 60.0  # the next guess of a Bayesian search takes many
FIRST_WAIT, LONGEST_WAIT = 0.2, 5.0  # seconds between two attempts
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
RECONNECT = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000))
Metadata = tuple[tuple[str, bytes], ...]
log = logging.getLogger(__name__)


class ChiefLost(Exception):
    """The chief has not answered for as long as a worker waits, or the worker was asked to stop."""


class ChiefRefused(Exception):
    """What answers is no chief of this search."""


class Connection:
    """Calls that are tried again until the chief answers."""

    def __init__(self, address: str, minutes: float, pause: Callable[[float], bool]) -> None:
        """`minutes`: how long to wait for an answer. `pause` sleeps; True asks to stop waiting."""
        self.address, self.minutes, self._pause = address, minutes, pause
        self._channel = grpc.insecure_channel(address, RECONNECT)
        self.oracle = rpc.OracleStub(self._channel)
        self._search: Metadata = ()

    def join(self) -> Terms:
        """Learn which search the chief holds."""
        terms = Terms(**self.call(self._member("Join"), {}))
        self._search = ((SEARCH, terms.run.encode()),)
        return terms

    def call(self, method: Any, request: Any, metadata: Metadata = ()) -> Any:
        """Call until there is an answer.

        Raises ChiefLost, and ChiefRefused when what answers is no chief, or holds another search
        than the one that was joined.
        """
        ends, wait, away = time.monotonic() + 60 * self.minutes, FIRST_WAIT, False
        metadata = (*metadata, *self._search)
        while True:
            try:
                answer = method(request, timeout=ANSWER_SECONDS, metadata=metadata)
            except grpc.RpcError as problem:
                self._consider(problem, away)
                left = ends - time.monotonic()
                if left <= 0:
                    raise ChiefLost(
                        f"the chief at {self.address} has not answered for {self.minutes:g} minutes"
                    ) from None
                if self._pause(min(wait, left)):
                    raise ChiefLost("asked to stop") from None
                away, wait = True, min(2 * wait, LONGEST_WAIT)
            else:
                if away:
                    log.warning("the chief at %s answers", self.address)
                return answer

    def tell(self, name: str, message: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """Call a method of the members' service once; None when there is no answer."""
        try:
            answer: dict[str, Any] = self._member(name)(message, timeout=seconds)
        except grpc.RpcError:
            return None
        return answer

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def _member(self, name: str) -> Any:
        return self._channel.unary_unary(f"/{MEMBERS}/{name}", to_bytes, _read)

    def _consider(self, problem: Any, away: bool) -> None:
        if problem.code() not in AWAY:
            raise ChiefRefused(
                f"{self.address} refuses: {problem.details()} ({problem.code().name}). Expected "
                "the chief of this worker's search, as convoy tune CONFIG --chief starts it"
            ) from None
        if not away:
            code, minutes = problem.code().name, self.minutes
            log.warning("no answer from %s (%s), waiting %g minutes", self.address, code, minutes)


def _read(answer: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer)
    return found
