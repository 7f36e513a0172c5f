"""Requests that wait for a busy model are computed together, as the next batch.

Nobody waits for a batch to fill up: a request that finds the model idle runs at once, in its own
thread. What arrives meanwhile is queued, and whoever finishes wakes the first of the queue to
compute its batch, so an idle server adds nothing and a busy one batches as much as its load asks.
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
from serving.signature import Signature
from serving.tensors import Array

Key = tuple[Any, ...]
Outputs = dict[str, Array]


@dataclass(frozen=True)
class Batching:
    """Limits of the batches. Sizes count rows (examples), the queue counts requests.

    `sizes`: batches are padded to the next of these; none means any size. Raises ValueError.
    """

    max_batch_size: int = 64  # a small network on 2 cores gains nothing beyond
    max_queue: int = 1024
    threads: int = 1  # batches computed side by side; each already uses every core
    sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_batch_size", "max_queue", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.sizes and (self.sizes != tuple(sorted(set(self.sizes))) or self.sizes[0] < 1):
            raise ValueError(f"allowed_batch_sizes must rise from at least 1, got {self.sizes}")
        if self.sizes and self.sizes[-1] != self.max_batch_size:
            raise ValueError(
                f"the last of allowed_batch_sizes must be max_batch_size, got {self.sizes[-1]} "
                f"and {self.max_batch_size}"
            )

    def padded(self, rows: int) -> int:
        """The size that a batch of `rows` is computed at."""
        return next((size for size in self.sizes if size >= rows), rows)


@dataclass(eq=False)
class _Task:
    """A request in the queue. Its thread sleeps on `wake`, which is held until there is news:

    `batch`: it is to compute these; else `outputs` or `error` is its answer.
    """

    inputs: Mapping[str, Array]
    rows: int
    deadline: float | None
    wake: threading.Lock = field(default_factory=threading.Lock)  # a third of an Event's cost
    batch: list["_Task"] | None = None
    outputs: Outputs | None = None
    error: RequestError | None = None

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
        task = _Task(inputs, rows, deadline)
        if self._start_or_queue(_key(name, inputs), task):
            self._compute(name, [task])
        else:
            self._wait(name, task)
        if task.error is not None:
            raise task.error
        if task.outputs is None:
            raise RequestError("INTERNAL", "the batch ended without an answer")
        return task.outputs

    @property
    def queued(self) -> int:
        """Requests that wait for a batch."""
        return self._queued

    def close(self) -> None:
        self._servable.close()

    def _start_or_queue(self, key: Key, task: _Task) -> bool:
        """Whether to compute the task now; else it is in the queue."""
        with self._lock:
            if self._running < self._batching.threads:
                self._running += 1
                return True
            if self._queued >= self._batching.max_queue:
                raise RequestError(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is full: "
                    f"{self._batching.max_queue} requests are waiting",
                )
            task.wake.acquire()
            self._queues.setdefault(key, deque()).append(task)
            self._queued += 1
            return False

    def _wait(self, name: str, task: _Task) -> None:
        """Sleep until answered, or until told to compute the batch that begins with the task."""
        if not task.wake.acquire(timeout=task.remaining()):
            with self._lock:
                if task.batch is None and task.outputs is None and task.error is None:
                    task.error = _late()  # whoever forms the next batch leaves it out
                    return
            task.wake.acquire()
        if task.batch is not None:
            self._compute(name, task.batch)

    def _compute(self, name: str, batch: list[_Task]) -> None:
        """Run a batch, pass the turn on, and wake those whose answers it brought."""
        try:
            self._run(name, batch)
        finally:
            self._pass_on()
            for task in batch[1:]:
                task.wake.release()

    def _pass_on(self) -> None:
        with self._lock:
            batch = self._next_batch()
            if batch:
                batch[0].batch = batch
                batch[0].wake.release()
            else:
                self._running -= 1

    def _next_batch(self) -> list[_Task]:
        """What fits into one batch of the key whose turn it is; keys take turns."""
        batch: list[_Task] = []
        while self._queues and not batch:
            key, queue = self._queues.popitem(last=False)
            room = self._batching.max_batch_size
            while queue and queue[0].rows <= room:
                task = queue.popleft()
                self._queued -= 1
                if task.error is None:
                    room -= task.rows
                    batch.append(task)
            if queue:
                self._queues[key] = queue
        return batch

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
