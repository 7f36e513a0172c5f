"""Requests that wait for a busy model are computed together, as the next batch.

Nobody waits for a batch to fill up: a request that finds the model idle is computed at once, in its
own thread. What arrives meanwhile is queued, and all that fits of the queue is the next batch. So
an idle server adds nothing, and a busy one batches as its load asks.

Under load, most of a small model's time goes into waking threads, each of which then waits for the
interpreter: a submitted request has no thread that waits for it, and the one that computes a batch
hands out the answers and goes on with the next.

Images that take long to decode are computed one batch at a time and in batches of their own: while
they are, a thread is left for all others.
"""

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from serving import pixels
from serving.errors import RequestError
from serving.servable import Answer, Outputs, Servable
from serving.settings import Batching
from serving.signature import Signature
from serving.task import Key, Task, Waiter, late
from serving.tensors import Array

HEAVY = 16_000_000  # pixels to decode in a request, a fifth of a second


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
        self._queues: OrderedDict[Key, deque[Task]] = OrderedDict()
        self._queued = 0
        self._running = 0  # threads that compute; while there are fewer than allowed, none queues
        self._decoding = False  # one of them does what takes long to decode
        self._threads = ThreadPoolExecutor(batching.threads, "convoy-batch")

    def predict(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None = None
    ) -> Outputs:
        waiter = Waiter()
        task = self._task(name, inputs, deadline, waiter.answer)
        if task is None:
            return self._servable.predict(name, inputs, deadline)
        if self._starts(task):
            self._run([task])
            self._hand_over()
        elif not waiter.wait(deadline):
            self._remove(task)
            raise late()
        return waiter.outputs()

    def submit(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None, answer: Answer
    ) -> None:
        task = self._task(name, inputs, deadline, answer)
        if task is None:
            self._servable.submit(name, inputs, deadline, answer)
        elif self._starts(task):
            self._run([task])
            self._drain()

    @property
    def queued(self) -> int:
        """Requests that wait for a batch."""
        return self._queued

    def close(self) -> None:
        self._threads.shutdown(wait=False)
        self._servable.close()

    def _task(
        self, name: str, inputs: Mapping[str, Array], deadline: float | None, answer: Answer
    ) -> Task | None:
        """The request as a part of batches; None when it cannot be one."""
        signature = self.signatures[name]
        # Rows are only rows where shapes are as exported: else the model may give others back.
        rows = _rows(inputs) if signature.batched and signature.fits(inputs) else 0
        if not 0 < rows <= self._batching.max_batch_size:
            return None
        heavy = pixels.cost(inputs) > HEAVY
        return Task(_key(name, inputs, heavy), inputs, rows, deadline, answer, heavy)

    def _starts(self, task: Task) -> bool:
        """Whether the caller computes the task now; else it is queued. Raises RequestError."""
        with self._lock:
            if self._running < self._batching.threads and not (task.heavy and self._decoding):
                self._running += 1
                self._decoding |= task.heavy
                return True
            expired = self._expired() if self._queued >= self._batching.max_queue else []
            full = self._queued >= self._batching.max_queue
            if not full:
                self._queues.setdefault(task.key, deque()).append(task)
                self._queued += 1
        for other in expired:
            other.end(late())
        if full:
            raise RequestError(
                "UNAVAILABLE",
                "The batch scheduling queue to which this task was submitted is full: "
                f"{self._batching.max_queue} requests are waiting",
            )
        return False

    def _expired(self) -> list[Task]:
        """Take those out of the queues whose callers have given up. The caller holds the lock."""
        found = [task for queue in self._queues.values() for task in queue if task.expired()]
        for task in found:
            self._take_out(task)
        return found

    def _drain(self) -> None:
        """Compute batches until the queues are empty."""
        while batch := self._next():
            self._run(batch)

    def _hand_over(self) -> None:
        """Let another thread compute what is queued: this one's caller has its answer."""
        with self._lock:
            if self._first() is None:
                self._running -= 1
                return
        self._threads.submit(self._drain)

    def _next(self) -> list[Task]:
        """What fits into one batch, oldest first; none ends the thread's turn."""
        batch: list[Task] = []
        room = self._batching.max_batch_size
        with self._lock:
            key = self._first()
            if key is None:
                self._running -= 1
                return batch
            queue = self._queues.pop(key)
            self._decoding |= queue[0].heavy
            while queue and queue[0].rows <= room:
                task = queue.popleft()
                room -= task.rows
                batch.append(task)
            self._queued -= len(batch)
            if queue:
                self._queues[key] = queue  # at the end: keys take turns
        return batch

    def _first(self) -> Key | None:
        """The queue whose turn it is; not one that takes long while another such is computed."""
        allowed = (
            k for k, queue in self._queues.items() if not (self._decoding and queue[0].heavy)
        )
        return next(allowed, None)

    def _remove(self, task: Task) -> None:
        """Take a task out of its queue, unless it is being computed."""
        with self._lock:
            if task in self._queues.get(task.key, ()):
                self._take_out(task)

    def _take_out(self, task: Task) -> None:
        queue = self._queues[task.key]
        queue.remove(task)
        self._queued -= 1
        if not queue:
            del self._queues[task.key]

    def _run(self, batch: Sequence[Task]) -> None:
        """Answer every task of a batch. A row that fails must not fail its neighbours."""
        try:
            self._answer(batch)
        finally:
            if batch[0].heavy:
                with self._lock:
                    self._decoding = False

    def _answer(self, batch: Sequence[Task]) -> None:
        waiting = []
        for task in batch:
            if task.expired():
                task.end(late())
            else:
                waiting.append(task)
        try:
            answers = self._together(waiting)
        except RequestError as error:
            if len(waiting) == 1:
                waiting[0].end(error)
                return
            for task in waiting:
                self._answer([task])
        except Exception as error:
            for task in waiting:
                task.end(RequestError("INTERNAL", f"{type(error).__name__}: {error}"))
        else:
            for task, outputs in zip(waiting, answers, strict=True):
                task.end(outputs)

    def _together(self, tasks: Sequence[Task]) -> list[Outputs]:
        """The outputs of each task, computed at once."""
        if not tasks:
            return []
        total = sum(task.rows for task in tasks)
        computed = self._batching.padded(total)
        inputs = _joined(tasks, computed - total)
        outputs = self._servable.predict(tasks[0].key[0], inputs)
        self._observe(total)
        if any(array.shape[:1] != (computed,) for array in outputs.values()):
            # The signature says one row for each, the model gives others: whose are they?
            return self._apart(tasks, outputs if computed == tasks[0].rows else None)
        answers, start = [], 0
        for task in tasks:
            rows = slice(start, start + task.rows)
            answers.append({alias: array[rows] for alias, array in outputs.items()})
            start += task.rows
        return answers

    def _apart(self, tasks: Sequence[Task], outputs: Outputs | None) -> list[Outputs]:
        """The outputs of each task alone; `outputs`: of the only one, when it was."""
        if outputs is not None:
            return [outputs]
        return [self._servable.predict(task.key[0], task.inputs) for task in tasks]


def _rows(inputs: Mapping[str, Array]) -> int:
    """Rows that all inputs agree on, else 0."""
    sizes = {len(array) for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else 0


def _key(name: str, inputs: Mapping[str, Array], heavy: bool = False) -> Key:
    """What requests must share to be joined: the signature, types, and shapes of a row."""
    shapes = ((alias, array.dtype, array.shape[1:]) for alias, array in inputs.items())
    return (name, heavy, *sorted(shapes, key=lambda shape: shape[0]))


def _joined(tasks: Sequence[Task], padding: int) -> Mapping[str, Array]:
    """All rows one below the other, and `padding` copies of the first to make up the size."""
    if len(tasks) == 1 and not padding:
        return tasks[0].inputs
    joined = {}
    for alias, first in tasks[0].inputs.items():
        rows = [task.inputs[alias] for task in tasks]
        joined[alias] = np.concatenate([*rows, *[first[:1]] * padding])
    return joined
