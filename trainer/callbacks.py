"""What happens between the steps and epochs of `fit`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from trainer.objective import main_logs


class Interrupted(Exception):
    """Training was asked to stop; the last finished step is on disk."""


class Diverged(Exception):
    """The loss has blown up: it is no longer a finite number, or has lost what was learned."""


@dataclass(frozen=True)
class Hooks:
    """Functions of the caller. They see training and cannot change it."""

    # steps done, steps in this epoch; after each call, which may take several steps
    on_step: Callable[[int, int], None] = lambda step, steps: None
    # epochs done, metrics
    on_epoch: Callable[[int, dict[str, float]], None] = lambda epoch, logs: None
    stop_requested: Callable[[], bool] = lambda: False


class Observer(keras.callbacks.Callback):
    """Calls the hooks."""

    def __init__(self, hooks: Hooks, steps: int) -> None:
        super().__init__()
        self.hooks, self.steps = hooks, steps

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self.hooks.on_step(batch + 1, self.steps)
        self._stop_if_requested()

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop_if_requested()  # validation may take minutes

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.hooks.on_epoch(epoch + 1, main_logs(logs or {}))

    def _stop_if_requested(self) -> None:
        if self.hooks.stop_requested():
            raise Interrupted
