"""The compiled training step: the next batches of an iterator go through the network and back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf

from trainer.distribute import ReplicatedModel
from trainer.pool_first import pooled_first
from trainer.small_maps import as_products

Steps = Callable[[Iterator[Any], int], None]


def training_steps(model: keras.Model, batches: Iterator[Any]) -> Steps:
    """Give what trains a compiled model on the next so many batches of an iterator like `batches`.

    Keras' own function looks its signature up at every call and asks whether a batch came. On one
    device, for batches that never end, neither is needed, and a loop inside the call leaves Python
    out: together a tenth of a small network's step on a CPU. The weights are the same, bit for bit,
    however steps are dealt out to calls.
    """
    if isinstance(model, ReplicatedModel):
        return _steps_on_replicas(model)
    train = tf.function(model.train_step, jit_compile=model.jit_compile, autograph=False)

    @tf.function(autograph=False)
    def steps(iterator: Iterator[Any], count: tf.Tensor) -> None:
        def step(done: tf.Tensor) -> list[tf.Tensor]:
            train(next(iterator))
            return [done + 1]

        tf.while_loop(lambda done: done < count, step, [0], parallel_iterations=1)

    with _tracing_for_this_machine(model):
        compiled = steps.get_concrete_function(batches, tf.TensorSpec((), tf.int32))

    def run(iterator: Iterator[Any], count: int) -> None:
        compiled(iterator, tf.constant(count))

    return run


def _steps_on_replicas(model: ReplicatedModel) -> Steps:
    model.make_train_function()

    def run(iterator: Iterator[Any], count: int) -> None:
        for _ in range(count):
            with _tracing_for_this_machine(model):  # the first step is traced
                model.train_function(iterator)

    return run


@contextmanager
def _tracing_for_this_machine(model: keras.Model) -> Iterator[None]:
    """Let the block trace what a CPU computes fast, unless there is a GPU."""
    if tf.config.list_physical_devices("GPU"):
        yield
        return
    with as_products(model), pooled_first(model):
        yield
