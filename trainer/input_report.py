"""How long training waits for its input: what tells whether a faster pipeline would pay."""

import json
import logging
import statistics
import time
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.whole import write_whole

FILE_NAME = "input.json"
log = logging.getLogger(__name__)


class InputReport(keras.callbacks.Callback):
    """Measures, epoch by epoch, the share of the steps' time that is spent waiting for batches.

    `watch` must wrap the training batches. `directory/input.json` holds one entry per epoch, those
    of an earlier part of the run included: `seconds` from the first step to the last,
    `waiting_seconds` of them, their ratio `waiting_share`, and the number of `steps` that were
    measured: of an epoch that was interrupted, those after it went on.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / FILE_NAME
        self.epochs: list[dict[str, float]] = read(directory)
        self._waited = tf.Variable(0.0, dtype=tf.float64, trainable=False)
        self._started = self._ended = 0.0
        self._steps = self._first = 0

    def watch(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Add up the time between asking for a batch and having it."""
        asked = tf.data.Dataset.counter().map(lambda _: tf.timestamp())  # zip asks it first

        def arrived(since: tf.Tensor, batch: Any) -> Any:
            self._waited.assign_add(tf.timestamp() - since)
            return batch

        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # it would ask in our place
        return tf.data.Dataset.zip(asked, batches).map(arrived).with_options(options)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._waited.assign(0.0)
        self._started, self._steps = time.perf_counter(), 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._first = batch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._ended = time.perf_counter()  # the last one stands: validation comes after it
        self._steps += batch + 1 - self._first  # a call may take several

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._steps == 0:
            return  # interrupted in its validation: it was not this process that trained
        seconds, waited = self._ended - self._started, float(self._waited.numpy())
        entry = {"epoch": epoch + 1, "seconds": seconds, "waiting_seconds": waited}
        entry |= {"waiting_share": min(waited / seconds, 1.0), "steps": self._steps}
        self.epochs = [*(entry for entry in self.epochs if entry["epoch"] <= epoch), entry]
        write_whole(self.path, (json.dumps(self.epochs, indent=2) + "\n").encode())

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self.epochs:
            return  # interrupted in the first one
        shares = [entry["waiting_share"] for entry in self.epochs]
        log.info(
            "input: steps waited %.0f%% of their time for batches (first epoch %.0f%%)",
            100 * statistics.median(shares),
            100 * shares[0],
        )


def read(directory: Path) -> list[dict[str, float]]:
    """Give what an earlier part of the run has measured; nothing when there is none."""
    path = directory / FILE_NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
