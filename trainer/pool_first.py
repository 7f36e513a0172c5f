"""Rectifiers that wait for the pooling behind them: for training on CPUs.

The largest value of a window is the largest after a rectifier too, and gets the gradient unless it
was cut off, so pooling may come first with the same outputs and gradients, bit for bit. The
rectifier and its gradient then pass over a quarter of the values. Activations that bend values, as
sigmoid does, could make two of them equal by rounding; those stay where they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

RECTIFIERS = {keras.activations.relu, keras.activations.relu6}


@contextmanager
def pooled_first(model: keras.Model) -> Iterator[None]:
    """Let rectifiers ahead of max pooling be traced behind it within the block."""
    pairs = [pair for layer in model._flatten_layers() if (pair := _pair(layer, model))]
    functions = [rectifier.activation for rectifier, _ in pairs]
    for (rectifier, pooling), function in zip(pairs, functions, strict=True):
        pooling.call = _followed(pooling.call, function)
        rectifier.activation = keras.activations.linear
    try:
        yield
    finally:
        for (rectifier, pooling), function in zip(pairs, functions, strict=True):
            rectifier.activation = function
            del pooling.call  # the class's own shows again


def _pair(
    layer: keras.layers.Layer, model: keras.Model
) -> tuple[keras.layers.Activation, keras.layers.MaxPooling2D] | None:
    """Give a rectifier and the one layer that takes its output, if both may change places."""
    if type(layer) is not keras.layers.Activation or layer.activation not in RECTIFIERS:
        return None
    takers = [node.operation for node in layer._outbound_nodes]
    shown = any(layer.output is output for output in model.outputs)
    if shown or len(takers) != 1 or len(layer._inbound_nodes) != 1:
        return None
    (taker,) = takers
    alone = isinstance(taker, keras.layers.MaxPooling2D) and len(taker._inbound_nodes) == 1
    return (layer, taker) if alone else None


def _followed(first: Callable[[Any], Any], then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(inputs: Any) -> Any:
        return then(first(inputs))

    return call
