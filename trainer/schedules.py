"""Learning rates that depend on the optimizer's own count of steps, so that resuming is exact.

What training learns on the way (a plateau, a divergence) is no function of the step; it is in
`rate_scale`, a variable of the optimizer that every rate is multiplied by. Checkpoints keep it with
the optimizer's other variables.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from trainer.history import MONITOR, History
from trainer.schedule_config import PlateauConfig, ScheduleConfig, ScheduleName

RATE_SCALE = "rate_scale"
ONE_CYCLE_START = 1 / 25  # share of the highest rate; Smith 2018 and fast.ai start there
ONE_CYCLE_CLIMB = 0.3  # share of the training


@keras.saving.register_keras_serializable("convoy")
class Scheduled(keras.optimizers.schedules.LearningRateSchedule):
    """The rate at a step: the schedule's, times the optimizer's scale."""

    def __init__(
        self,
        config: ScheduleConfig,
        highest: float,
        steps_per_epoch: int,
        epochs: int,
        scale: keras.Variable | None = None,
    ) -> None:
        super().__init__()
        self.config, self.highest = config, highest
        self.steps_per_epoch, self.epochs = steps_per_epoch, epochs
        self.scale = scale

    def __call__(self, step: Any) -> tf.Tensor:
        """Give the rate of the step that follows `step` finished ones."""
        epoch = (tf.cast(step, tf.float32) + 0.5) / self.steps_per_epoch  # the middle of the step
        rate = self.highest * share(self.config, epoch, self.epochs)
        return rate if self.scale is None else rate * tf.cast(self.scale, tf.float32)

    def get_config(self) -> dict[str, Any]:
        """Give the arguments, without the scale: that is the optimizer's."""
        return {
            "config": self.config.model_dump(),
            "highest": self.highest,
            "steps_per_epoch": self.steps_per_epoch,
            "epochs": self.epochs,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Scheduled":
        """Make the schedule from `get_config`'s arguments."""
        return cls(**{**config, "config": ScheduleConfig.model_validate(config["config"])})


def share(config: ScheduleConfig, epoch: Any, epochs: int) -> tf.Tensor:
    """Give the share of the highest rate after `epoch` epochs (with fractions) of `epochs`."""
    epoch = tf.cast(epoch, tf.float32)
    climb = _climb(config, epochs)
    start = ONE_CYCLE_START if config.name == "one_cycle" else 0.0
    rising = start + (1 - start) * epoch / max(climb, 1e-9)
    falling = _SHAPES[config.name](epoch - climb, max(epochs - climb, 1e-9), config)
    return tf.where(epoch < climb, rising, falling)


def plateau_scale(config: PlateauConfig, history: History) -> float:
    """Give what the rate is multiplied by after the epochs of `history`.

    Derived from the whole history each time, so that an interruption changes nothing.
    """
    scale, best, waited = 1.0, math.inf, 0
    for entry in history:
        waited = 0 if entry[MONITOR] < best else waited + 1
        best = min(best, entry[MONITOR])
        if waited == config.patience:
            scale, waited = max(scale * config.factor, config.lowest), 0
    return scale


def _climb(config: ScheduleConfig, epochs: int) -> float:
    if config.name == "one_cycle" and not config.warmup_epochs:
        return ONE_CYCLE_CLIMB * epochs
    return min(config.warmup_epochs, float(epochs))


def _constant(epoch: tf.Tensor, of: float, config: ScheduleConfig) -> tf.Tensor:
    return tf.ones_like(epoch)


def _step(epoch: tf.Tensor, of: float, config: ScheduleConfig) -> tf.Tensor:
    return tf.pow(config.factor, tf.floor(epoch / config.every_epochs))


def _exponential(epoch: tf.Tensor, of: float, config: ScheduleConfig) -> tf.Tensor:
    return tf.pow(config.factor, epoch / config.every_epochs)


def _cosine(epoch: tf.Tensor, of: float, config: ScheduleConfig) -> tf.Tensor:
    done = tf.clip_by_value(epoch / of, 0.0, 1.0)
    return config.floor + (1 - config.floor) * (1 + tf.cos(math.pi * done)) / 2


_SHAPES: dict[ScheduleName, Callable[[tf.Tensor, float, ScheduleConfig], tf.Tensor]] = {
    "constant": _constant,
    "step": _step,
    "exponential": _exponential,
    "cosine": _cosine,
    "one_cycle": _cosine,  # after its climb
}
