"""Gradients of several batches, averaged before the weights change once.

Keras lets its count of batches run over the end of an epoch, and past that of the training, and
moves averages of the weights in batches that change none. Here an optimizer sees the means alone:
its steps, its averages and its rate are those of updates.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from trainer.config import TrainConfig
from trainer.optimizers import unscaled


class Accumulator:
    """Stands before the `apply` of a built optimizer, which then gets one mean for many batches."""

    def __init__(self, optimizer: Any, steps: int) -> None:
        self.optimizer, self.steps = optimizer, steps
        self._update = optimizer.apply
        self._weights = list(optimizer._trainable_variables)
        self._sums = [
            optimizer.add_variable_from_reference(weight, name="gradient_sum")
            for weight in self._weights
        ]
        self._batches = optimizer.add_variable(
            (), "zeros", "float32", aggregation="only_first_replica", name="accumulated_batches"
        )
        optimizer.apply, optimizer.accumulator = self.add, self
        self._finish = tf.function(self._finish_on_replicas, autograph=False)

    def add(self, gradients: Sequence[Any], trainable_variables: Any = None) -> None:
        """Take in a batch's gradients, and update the weights when it is the last of its group."""
        weights = self._weights if trainable_variables is None else trainable_variables
        pairs = [
            (gradient, self._sums[self.optimizer._get_variable_index(weight)])
            for gradient, weight in zip(gradients, weights, strict=True)
            if gradient is not None
        ]
        new, sums = map(list, zip(*pairs, strict=True))
        self.optimizer._backend_increment_gradient_accumulators(new, sums)
        self._batches.assign_add(1)
        tf.cond(self._batches.value >= self.steps, self._apply_mean, lambda: None)

    def finish(self, strategy: Any) -> None:
        """Update the weights with what has come of an unfinished group, if anything has."""
        self._finish(strategy)

    def _finish_on_replicas(self, strategy: Any) -> None:
        def finish() -> None:
            tf.cond(self._batches.value > 0, self._apply_mean, lambda: None)

        strategy.run(finish)

    def _apply_mean(self) -> None:
        self._update([total.value / self._batches.value for total in self._sums], self._weights)
        for variable in (*self._sums, self._batches):
            variable.assign(tf.zeros(variable.shape, variable.dtype))


def accumulate(model: keras.Model, steps: int) -> None:
    """Let a compiled, built model update its weights once in so many batches."""
    if steps > 1:
        Accumulator(unscaled(model.optimizer), steps)


def finish_epoch(model: keras.Model) -> None:
    """Let no batch of an epoch go to waste: update the weights with the last ones as well."""
    accumulator = getattr(unscaled(model.optimizer), "accumulator", None)
    if accumulator is not None:
        accumulator.finish(model.distribute_strategy)


def check_accumulation(config: TrainConfig, steps_per_epoch: int) -> None:
    """Raise ValueError when the training has fewer batches than are to be accumulated."""
    epochs = config.epochs if config.fine_tune is None else config.fine_tune.epochs
    steps = min(epochs, config.epochs) * steps_per_epoch
    if config.accumulation_steps > steps:
        raise ValueError(
            f"train.accumulation_steps is {config.accumulation_steps}, and the training has "
            f"{steps} steps: no weight would change before its end. Set it to at most "
            f"{steps_per_epoch}, the steps of an epoch"
        )
