"""What happens between the steps and epochs of `fit`."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from trainer import checkpoint
from trainer.history import History, best_epoch, has_converged
from trainer.objective import main_logs


class Interrupted(Exception):
    """Training was asked to stop; the last finished epoch is on disk."""


class Diverged(Exception):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Hooks:
    """Functions of the caller. They see training and cannot change it."""

    # steps done, steps in this epoch
    on_step: Callable[[int, int], None] = lambda step, steps: None
    # epochs done, metrics
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, logs: None
    stop_requested: Callable[[], bool] = lambda: False


class Keeper(keras.callbacks.Callback):
    """Keeps history, checkpoints and the best weights; ends training when it no longer improves."""

    def __init__(self, directory: Path, history: History, patience: int | None) -> None:
        super().__init__()
        self.directory, self.history, self.patience = directory, history, patience
        self._epoch_started = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._epoch_started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        seconds = time.perf_counter() - self._epoch_started
        entry = {"epoch": epoch + 1, **main_logs(logs or {}), "seconds": seconds}
        if not math.isfinite(entry["loss"]):
            raise Diverged(
                f"the loss became {entry['loss']} in epoch {epoch + 1}: train.learning_rate is "
                f"probably too high"
            )
        self.history.append(entry)
        if best_epoch(self.history) == epoch + 1:
            checkpoint.save_best(self.directory, self.model)
        checkpoint.save(self.directory, self.model, self.history)
        self.model.stop_training = has_converged(self.history, self.patience)


class Observer(keras.callbacks.Callback):
    """Calls the hooks."""

    def __init__(self, hooks: Hooks, steps: int) -> None:
        super().__init__()
        self.hooks, self.steps = hooks, steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.hooks.on_step(batch + 1, self.steps)
        if self.hooks.stop_requested():
            raise Interrupted

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.hooks.on_epoch(epoch + 1, main_logs(logs or {}))
