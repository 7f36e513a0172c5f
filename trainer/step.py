"""The compiled training step: the next batch of an iterator goes through the network and back."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from trainer.distribute import ReplicatedModel

Step = Callable[[Iterator[Any]], Any]


def training_step(model: keras.Model, batches: Iterator[Any]) -> Step:
    """Give what trains a compiled model on the next batch of an iterator such as `batches`.

    Keras' own function looks its signature up at every call and asks whether a batch came. On one
    device, for batches that never end, neither is needed: half a millisecond less on a CPU, a
    twentieth of a small network's step.
    """
    if isinstance(model, ReplicatedModel):
        model.make_train_function()
        return model.train_function
    train = tf.function(model.train_step, jit_compile=model.jit_compile, autograph=False)

    @tf.function(autograph=False)
    def step(iterator: Iterator[Any]) -> None:
        train(next(iterator))

    return step.get_concrete_function(batches)
