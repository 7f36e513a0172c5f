"""Requests that wait for a busy model are computed together, as the next batch.

Nobody waits for a batch to fill up: a request that finds the model idle leads a batch at once, in
its own thread. What arrives meanwhile is queued, and a leader that finishes makes the first of the
queue the next one. So an idle server adds nothing, and a busy one batches as its load asks.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serving.errors import RequestError
from serving.servable import Servable
from serving.settings import Batching
from serving.signature import Signature
from serving.tensors import Array

Key = tuple[Any, ...]
Outputs = dict[str, Array]


@dataclass(eq=False)
class _Task:
    """A request. Its thread sleeps on `wake` until it `leads` a batch, or has outputs or error."""

    key: Key
    inputs: Mapping[str, Array]
    rows: int
    deadline: float | None
    wake: threading.Lock = field(default_factory=threading.Lock)  # a third of an Event's cost
    leads: bool = False
    outputs: Outputs | None = None
    error: RequestError | None = None

    def answered(self) -> bool:
        return self.outputs is not None or self.error is not None

    def expired(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def remaining(self) -> float:
        """Seconds to wait; -1, as locks have it, for ever."""
        return -1 if self.deadline is None else max(0.0, self.deadline - time.monotonic())


class Batcher:
    """A Servable that computes rows of several requests at once.

    `observe` is called with the rows of every batch that was computed.
    """

    def __init__(
        self,
        servable: Servable,
        batching: Batching,
        observe: Callable[[int], None] = lambda rows: None,
    ) -> None:
        self.signatures: Mapping[str, Signature] = servable.signatures
        self.definitions: Mapping[str, Any] = servable.definitions
        self._servable = servable
        self._batching = batching
        self._observe = observe
        self._lock = threading.Lock()
        self._queues: OrderedDict[Key, deque[_Task]] = OrderedDict()
        self._queued = 0
        self._running = 0

    def predict(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None = None
    ) -> Outputs:
        rows = _rows(inputs) if self.signatures[name].batched else 0
        if not 0 < rows <= self._batching.max_batch_size:
            return self._servable.predict(name, inputs, deadline)
        task = _Task(_key(name, inputs), inputs, rows, deadline)
        self._enqueue(task)
        while not task.answered():
            if task.leads:
                task.leads = False
                self._lead(name, task.key)
            else:
                self._wait(task)
        if task.error is not None:
            raise task.error
        return task.outputs or {}

    @property
    def queued(self) -> int:
        """Requests that wait for a batch."""
        return self._queued

    def close(self) -> None:
        self._servable.close()

    def _enqueue(self, task: _Task) -> None:
        with self._lock:
            if self._queued >= self._batching.max_queue:
                raise RequestError(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is full: "
                    f"{self._batching.max_queue} requests are waiting",
                )
            task.wake.acquire()
            self._queues.setdefault(task.key, deque()).append(task)
            self._queued += 1
            if self._running < self._batching.threads:
                self._running += 1
                task.leads = True

    def _wait(self, task: _Task) -> None:
        """Sleep until there is news or the deadline has passed."""
        if task.wake.acquire(timeout=task.remaining()):
            return
        with self._lock:
            if task.leads:
                task.wake.acquire(blocking=False)  # the news came with the deadline
            elif not task.answered():
                task.error = _late()
                self._remove(task)

    def _lead(self, name: str, key: Key) -> None:
        """Compute the next batch of a key, make the next leader, then wake those with answers."""
        batch = self._take(key)
        try:
            self._run(name, batch)
        finally:
            self._pass_on()
            for task in batch:
                task.wake.release()

    def _take(self, key: Key) -> list[_Task]:
        """What fits into one batch, oldest first."""
        batch = []
        room = self._batching.max_batch_size
        with self._lock:
            queue = self._queues.pop(key, deque())
            while queue and queue[0].rows <= room:
                task = queue.popleft()
                room -= task.rows
                batch.append(task)
            self._queued -= len(batch)
            if queue:
                self._queues[key] = queue  # at the end: keys take turns
        return batch

    def _pass_on(self) -> None:
        """Make the head of the next queue a leader, or rest."""
        with self._lock:
            for queue in self._queues.values():
                if not queue[0].leads:
                    queue[0].leads = True
                    queue[0].wake.release()
                    return
            self._running -= 1

    def _remove(self, task: _Task) -> None:
        """Take a task out of its queue, unless it is being computed. The caller holds the lock."""
        queue = self._queues.get(task.key, deque())
        if task in queue:
            queue.remove(task)
            self._queued -= 1
            if not queue:
                del self._queues[task.key]

    def _run(self, name: str, batch: Sequence[_Task]) -> None:
        """Answer every task of a batch. A row that fails must not fail its neighbours."""
        waiting = []
        for task in batch:
            if task.expired():
                task.error = _late()
            else:
                waiting.append(task)
        try:
            self._run_together(name, waiting)
        except RequestError as error:
            if len(waiting) == 1:
                waiting[0].error = error
                return
            for task in waiting:
                self._run(name, [task])
        except Exception as error:
            for task in waiting:
                task.error = RequestError("INTERNAL", f"{type(error).__name__}: {error}")

    def _run_together(self, name: str, tasks: Sequence[_Task]) -> None:
        if not tasks:
            return
        total = sum(task.rows for task in tasks)
        inputs = _joined(tasks, self._batching.padded(total) - total)
        outputs = self._servable.predict(name, inputs)
        self._observe(total)
        start = 0
        for task in tasks:
            rows = slice(start, start + task.rows)
            task.outputs = {alias: array[rows] for alias, array in outputs.items()}
            start += task.rows


def _rows(inputs: Mapping[str, Array]) -> int:
    """Rows that all inputs agree on, else 0."""
    sizes = {len(array) for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else 0


def _key(name: str, inputs: Mapping[str, Array]) -> Key:
    """What requests must share to be joined: the signature, types, and shapes of a row."""
    shapes = ((alias, array.dtype, array.shape[1:]) for alias, array in inputs.items())
    return (name, *sorted(shapes, key=lambda shape: shape[0]))


def _joined(tasks: Sequence[_Task], padding: int) -> Mapping[str, Array]:
    """All rows one below the other, and `padding` copies of the first to make up the size."""
    if len(tasks) == 1 and not padding:
        return tasks[0].inputs
    joined = {}
    for alias, first in tasks[0].inputs.items():
        rows = [task.inputs[alias] for task in tasks]
        joined[alias] = np.concatenate([*rows, *[first[:1]] * padding])
    return joined


def _late() -> RequestError:
    return RequestError("DEADLINE_EXCEEDED", "the deadline passed while waiting for a batch")
