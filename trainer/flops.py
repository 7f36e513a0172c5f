"""What a network costs: parameters and multiply-adds, layer by layer, from its built graph."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import keras
from keras import layers

Result = TypeVar("Result")


@dataclass(frozen=True)
class LayerCost:
    """One layer's line in a summary. Shapes are without the batch."""

    name: str
    kind: str  # the class's name
    output_shape: tuple[int | None, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int  # for one example


@dataclass(frozen=True)
class Cost:
    """A whole network's cost."""

    layers: tuple[LayerCost, ...]

    @property
    def parameters(self) -> int:
        """Numbers in all weights, batch-norm statistics included."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def trainable_parameters(self) -> int:
        """Numbers that training changes."""
        return sum(layer.trainable_parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiplications, each with its addition, for one example."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def values(self) -> int:
        """Numbers that the layers give for one example; sides of unknown length count as 1."""
        return sum(prod(side or 1 for side in layer.output_shape) for layer in self.layers)


def count(model: keras.Model) -> Cost:
    """Count what `model` costs for one example of its input shape.

    Counted are the products of convolutions (grouped, depthwise, separable and transposed too)
    and of dense layers, as papers do; normalisation, activation, pooling and biases are not. A
    model within the model is counted layer by layer. Raises ValueError when the input's height or
    width is not known.
    """
    return Cost(tuple(_costs(model, prefix="")))


def estimate(build: Callable[[], keras.Model]) -> Cost:
    """Count what the network that `build` returns would cost, without making its weights."""
    return without_weights(lambda: count(build()))


def without_weights(look: Callable[[], Result]) -> Result:
    """Return what `look` finds out about networks that it builds; none of their weights is made.

    VGG's half gigabyte of random numbers takes seconds, its graph a tenth of one. Keras defers
    initial values within a stateless scope and lists them per thread, for later; the thread that
    looks here ends with its list. No network may leave `look`.
    """

    def look_in_scope() -> Result:
        with keras.StatelessScope(initialize_variables=False):
            return look()

    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(look_in_scope).result()


def _costs(model: keras.Model, prefix: str) -> Iterator[LayerCost]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _costs(layer, f"{prefix}{layer.name}/")
        else:
            yield _cost(layer, prefix)


def _cost(layer: keras.layers.Layer, prefix: str) -> LayerCost:
    return LayerCost(
        name=f"{prefix}{layer.name}",
        kind=type(layer).__name__,
        output_shape=_first(layer.output).shape[1:],
        parameters=_size(layer.weights),
        trainable_parameters=_size(layer.trainable_weights),
        multiply_adds=_multiply_adds(layer),
    )


def _multiply_adds(layer: keras.layers.Layer) -> int:
    if isinstance(layer, layers.Conv2DTranspose):  # the window is laid on each pixel that comes in
        return _pixels(layer.input) * _size([layer.kernel])
    if isinstance(layer, layers.SeparableConv2D):
        return _pixels(layer.output) * _size([layer.depthwise_kernel, layer.pointwise_kernel])
    if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)):
        return _pixels(layer.output) * _size([layer.kernel])
    gates = [
        part
        for part in layer._flatten_layers(include_self=False, recursive=False)
        if isinstance(part, layers.Dense)
    ]  # within a layer: squeeze-and-excite's
    return sum(_size([gate.kernel]) for gate in gates)


def _pixels(x: Any) -> int:
    """Return how many places hold a vector of channels: 1 for a plain vector."""
    places = _first(x).shape[1:-1]
    if None in places:
        raise ValueError(
            f"cannot count a map of unknown size {places}. Build the model for a fixed image_size"
        )
    return prod(places)


def _size(weights: list[Any]) -> int:
    return sum(prod(weight.shape) for weight in weights)


def _first(x: Any) -> Any:
    return x[0] if isinstance(x, list) else x
