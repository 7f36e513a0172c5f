"""A request on its way through batches, and a caller that waits for one."""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.errors import RequestError
from serving.servable import Answer, Outputs
from serving.tensors import Array

log = logging.getLogger(__name__)

Key = tuple[Any, ...]  # what requests must share to be joined; the signature's name comes first


@dataclass(eq=False)
class Task:
    """A request, and who is told of its outputs or error."""

    key: Key
    inputs: Mapping[str, Array]
    rows: int
    deadline: float | None
    answer: Answer
    heavy: bool = False  # it takes long to decode

    def expired(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def end(self, outcome: Outputs | RequestError) -> None:
        """Tell the caller; what goes wrong there must not end a thread that serves all others."""
        try:
            self.answer(outcome)
        except Exception:
            log.exception("an answer could not be handed over")


class Waiter:
    """A caller that sleeps until the answer is there."""

    def __init__(self) -> None:
        self._news = threading.Lock()  # a third of an Event's cost
        self._news.acquire()
        self._outcome: Outputs | RequestError | None = None

    def answer(self, outcome: Outputs | RequestError) -> None:
        self._outcome = outcome
        self._news.release()

    def wait(self, deadline: float | None) -> bool:
        """Whether the answer came before the deadline."""
        seconds = -1 if deadline is None else max(0.0, deadline - time.monotonic())
        return self._news.acquire(timeout=seconds)

    def outputs(self) -> Outputs:
        if isinstance(self._outcome, RequestError):
            raise self._outcome
        return self._outcome or {}


def late() -> RequestError:
    return RequestError("DEADLINE_EXCEEDED", "the deadline passed while waiting for a batch")
