"""The loop of training, from any step of any epoch on.

Keras' own `fit` begins at the first step of an epoch. What its step does, its evaluation and its
callbacks are used here, its loop is not.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import keras
import tensorflow as tf

from pipeline.dataset import Splits
from trainer import checkpoint
from trainer.accumulation import finish_epoch
from trainer.averaging import averaged_weights
from trainer.callbacks import Diverged, Interrupted
from trainer.checkpoint import Progress
from trainer.config import TrainConfig
from trainer.distribute import ReplicatedModel, shared_out
from trainer.divergence import LOOK_EVERY, check_loss, go_back, is_finite
from trainer.history import (
    UPDATES,
    History,
    best_epoch,
    has_converged,
    is_first_without_updates,
    rollbacks,
    updates_before,
)
from trainer.keeper import Keeper
from trainer.objective import main_logs, with_targets
from trainer.optimizers import last_rate, multiply_rate, updates
from trainer.pace import Pace
from trainer.schedules import plateau_scale
from trainer.step import Steps, training_steps
from trainer.targets import training_targets

log = logging.getLogger(__name__)
Watch = Callable[[tf.data.Dataset], tf.data.Dataset]


class Loop:
    """Trains a compiled model whose metrics are built, and has every state of it kept."""

    def __init__(
        self,
        model: keras.Model,
        data: Splits,
        config: TrainConfig,
        keeper: Keeper,
        callbacks: keras.callbacks.CallbackList,
    ) -> None:
        self.model, self.data, self.config = model, data, config
        self.keeper, self.callbacks = keeper, callbacks
        self.progress = Progress()
        self.pace = pace_of(model, config)

    def run(self, progress: Progress, watch: Watch) -> History:
        """Train from there to the end, on batches that go through `watch`, and give the history.

        The model must be in the state of `progress`. Raises Interrupted when a callback does so,
        with the last finished step on disk; Diverged when the loss blows up once more than the job
        allows. Inside an epoch no state of a loss that is not finite is written.
        """
        self.progress = progress
        if self._is_over():
            return progress.history
        self.callbacks.on_train_begin()
        try:
            steps: Steps | None = None
            while not self._is_over():
                batches = self._batches(watch)
                steps = steps or training_steps(self.model, batches)
                self._train(partial(steps, batches))
        except Interrupted:
            self.keeper.save(self.model, self.progress)
            raise
        finally:
            self.callbacks.on_train_end()
        return self.progress.history

    def _train(self, train_batches: Callable[[int], None]) -> None:
        """Train to the end, or until a divergence has brought the progress back."""
        try:
            while not self._is_over():
                self._epoch(train_batches)
        except Diverged as problem:
            keeper, divergence = self.keeper, self.config.divergence
            done = self.progress.rollbacks
            self.progress = go_back(self.model, keeper, divergence, done, problem)

    def _is_over(self) -> bool:
        history = self.progress.history
        patience = self.config.early_stopping_patience
        return len(history) >= self.config.epochs or has_converged(history, patience)

    def _batches(self, watch: Watch) -> Iterator[Any]:
        """Give one iterator for all epochs: the next one's first batches come during validation."""
        epochs = self.data.train_epochs(len(self.progress.history), self.progress.step)
        taught = training_targets(epochs, self.config, self.data.source)
        batches = shared_out(watch(with_targets(self.model, taught)))
        return iter(self.model.distribute_strategy.experimental_distribute_dataset(batches))

    def _epoch(self, train_batches: Callable[[int], None]) -> None:
        epoch = len(self.progress.history)
        if self.progress.step == 0:
            self.model.reset_metrics()
        self.callbacks.on_epoch_begin(epoch)
        started = time.perf_counter() - self.progress.seconds
        while self.progress.step < self.data.steps_per_epoch:
            self._steps(train_batches, started)
        finish_epoch(self.model)
        logs = self._training_logs()
        self._check(logs)  # before the validation, which may take minutes
        with averaged_weights(self.model):
            logs |= self._validate()
            self._check(logs)
            history = self._history(logs, time.perf_counter() - started)
            if best_epoch(history) == epoch + 1:  # before the state, which counts on them
                self.keeper.save_best(self.model, epoch + 1)
        self._finish(history)
        self.callbacks.on_epoch_end(epoch, logs)

    def _steps(self, train_batches: Callable[[int], None], started: float) -> None:
        """Take the steps of one call, and do what is due after the last of them."""
        first, began = self.progress.step, time.perf_counter()
        count = self.pace.steps(self._steps_until_due())
        self.callbacks.on_train_batch_begin(first)
        train_batches(count)
        now = time.perf_counter()
        self.pace.took(count, now - began)
        self.progress = replace(self.progress, step=first + count, seconds=now - started)
        if self.keeper.is_due(self.progress) and is_finite(self._training_logs()):
            self.keeper.save(self.model, self.progress)
        if self.progress.step % LOOK_EVERY == 0:
            self._check(self._training_logs())
        self.callbacks.on_train_batch_end(first + count - 1)

    def _steps_until_due(self) -> int:
        """Count the steps to the next look at the loss, state or end of the epoch."""
        done = self.progress.step
        marks = (LOOK_EVERY, self.keeper.every or LOOK_EVERY)
        return min(self.data.steps_per_epoch - done, *(mark - done % mark for mark in marks))

    def _finish(self, history: History) -> None:
        if is_first_without_updates(history):
            log.warning(
                "epoch %d changed no weight: in each of its %d steps a gradient was too large for "
                "float16. The loss scale is halved each time; such epochs are not kept",
                len(history),
                self.data.steps_per_epoch,
            )
        plateau = self.config.plateau
        if plateau is not None:
            before = plateau_scale(plateau, history[:-1])
            multiply_rate(self.model.optimizer, plateau_scale(plateau, history) / before)
        self.progress = Progress(history, rollbacks=self.progress.rollbacks)
        self.keeper.save(self.model, self.progress)

    def _history(self, logs: dict[str, float], seconds: float) -> History:
        """Give the history with the epoch whose steps have all been done."""
        before = self.progress.history
        entry = {"epoch": len(before) + 1, **main_logs(logs)}
        done = updates(self.model.optimizer) - updates_before(before)
        entry["learning_rate"] = last_rate(self.model.optimizer) if done else 0.0
        entry[UPDATES] = done
        entry["rollbacks"] = self.progress.rollbacks - sum(rollbacks(before).values())
        return [*before, entry | {"seconds": seconds}]

    def _check(self, logs: dict[str, float]) -> None:
        jump, classes = self.config.divergence.jump, self.data.info.num_classes
        check_loss(logs, self.progress.history, jump, classes)

    def _training_logs(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.model.get_metrics_result().items()}

    def _validate(self) -> dict[str, float]:
        """Evaluate, and put the epoch's own averages back: an interruption has yet to save them."""
        averages = [variable.numpy() for variable in self.model.metrics_variables]
        try:
            scores = self.model.evaluate(
                shared_out(with_targets(self.model, self.data.validation)),
                verbose=0,
                callbacks=self.callbacks,
                return_dict=True,
            )
        finally:
            checkpoint.assign(self.model.metrics_variables, averages)
        return {f"val_{name}": value for name, value in scores.items()}


def pace_of(model: keras.Model, config: TrainConfig) -> Pace:
    """Give the pace that the job asks for; replicas, whose clocks differ, go step by step."""
    return Pace(config.steps_per_execution or (1 if isinstance(model, ReplicatedModel) else None))


def build_metrics(model: keras.Model, batches: tf.data.Dataset) -> None:
    """Make the variables of loss and metrics, which Keras makes in the first step, for a state."""
    with model.distribute_strategy.scope():
        model._symbolic_build(data_batch=batches.element_spec)
