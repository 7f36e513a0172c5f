"""What the processes that train one network together tell each other.

The chief, the first of them, alone reads and writes files. Every call here is made by all of them
at the same point of the same training: whoever leaves one out lets the others wait.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

Strategy = Any  # tf.distribute.Strategy
Stop = Callable[[], bool]
Arrays = dict[str, np.ndarray]


class Alone:
    """A process that trains by itself, on however many devices."""

    is_chief = True

    def __init__(self, stop_requested: Stop = lambda: False) -> None:
        self.stop_requested = stop_requested

    def agree(self, due: bool) -> bool:
        """Tell whether a state is due."""
        return due

    def share(self, arrays: Arrays) -> Arrays:
        """Give the arrays back."""
        return arrays


class Peers:
    """One of several processes."""

    def __init__(self, strategy: Strategy, stop_requested: Stop = lambda: False) -> None:
        resolver = strategy.cluster_resolver
        self.strategy, self._asked_to_stop = strategy, stop_requested
        self.is_chief = resolver.task_id == 0
        self._devices = strategy.num_replicas_in_sync // resolver.cluster_spec().num_tasks("worker")
        self._stops = False
        self._sum = tf.function(self._all_reduce, reduce_retracing=True, autograph=False)

    def stop_requested(self) -> bool:
        """Tell whether any process had been asked to stop when all last agreed."""
        return self._stops

    def agree(self, due: bool) -> bool:
        """Tell whether a state is due, by the chief's clock; ask who was told to stop as well."""
        votes = np.array([due and self.is_chief, self._asked_to_stop()], np.int64)
        due_at_chief, stops = self.sum(votes)
        self._stops = bool(stops)
        return bool(due_at_chief)

    def share(self, arrays: Arrays) -> Arrays:
        """Give every process the chief's arrays, texts among them."""
        told = {name: _described(array) for name, array in arrays.items()}
        kinds = json.loads(self.tell(json.dumps(told).encode()))
        return {name: self._share_one(arrays.get(name), *kind) for name, kind in kinds.items()}

    def tell(self, message: bytes = b"") -> bytes:
        """Give every process the chief's message."""
        length = int(self.from_chief(np.array([len(message)], np.int64))[0])
        content = np.frombuffer(message.ljust(length, b"\0")[:length], np.uint8)
        return self.from_chief(content.astype(np.int64)).astype(np.uint8).tobytes()

    def from_chief(self, values: np.ndarray) -> np.ndarray:
        """Give every process the chief's values, bit for bit."""
        return self.sum(values if self.is_chief else np.zeros_like(values))

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Give the sum over all processes."""
        if values.size == 0:
            return values  # TensorFlow's collective of nothing ends the process by SIGSEGV
        wire = values.dtype if values.dtype.kind == "f" else np.dtype(np.int64)
        total = self._sum(tf.constant(values.reshape(-1), wire))
        return total.numpy().astype(values.dtype).reshape(values.shape)

    def _share_one(
        self, array: np.ndarray | None, dtype: str, shape: list[int], text: str | None
    ) -> np.ndarray:
        if text is not None:
            return np.array(text)
        return self.from_chief(
            array if array is not None and self.is_chief else np.zeros(shape, dtype)
        )

    def _all_reduce(self, values: tf.Tensor) -> tf.Tensor:
        def on_replica() -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group % self._devices == 0  # each process once
            return context.all_reduce("SUM", tf.where(first, values, tf.zeros_like(values)))

        return self.strategy.experimental_local_results(self.strategy.run(on_replica))[0]


def peers_of(strategy: Strategy, stop_requested: Stop = lambda: False) -> Alone | Peers:
    """Give whom a process trains with under a strategy."""
    several = getattr(strategy, "cluster_resolver", None) is not None
    return Peers(strategy, stop_requested) if several else Alone(stop_requested)


def _described(array: np.ndarray) -> tuple[str, tuple[int, ...], str | None]:
    return array.dtype.str, array.shape, str(array) if array.dtype.kind == "U" else None
