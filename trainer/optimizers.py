"""Keras optimizers by the names that job files use."""

from collections.abc import Callable
from functools import partial
from typing import Any

import keras

from trainer.config import OptimizerName

OPTIMIZERS: dict[OptimizerName, Callable[..., Any]] = {
    "sgd": keras.optimizers.SGD,
    "momentum": partial(keras.optimizers.SGD, momentum=0.9),
    "nesterov": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
    "adagrad": keras.optimizers.Adagrad,
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
}


def make_optimizer(name: OptimizerName, learning_rate: float) -> Any:
    """Give a fresh Keras optimizer."""
    return OPTIMIZERS[name](learning_rate=learning_rate)
