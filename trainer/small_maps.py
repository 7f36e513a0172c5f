"""Convolutions of maps of a few pixels, as products of matrices: for training on CPUs.

TensorFlow 2.21 hands the gradient of a filter to oneDNN, which is made for large maps: of a step of
resnet18 at 32x32 it took three quarters. In bfloat16 it also leaves noise, at times NaN, in weights
that lie wholly beyond the map, such as the rim of a 5x5 window over one pixel. All of it is the sum
over the window's places ("taps") of a product of two matrices, and small ones are fast.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

FEW_PIXELS = 64  # of a map: up to here, windows of 1x1 gain by it


@dataclass(frozen=True)
class Axis:
    """A window that moves along the height or the width of a map."""

    size: int  # of the map, in pixels
    window: int
    stride: int
    padding: str  # "same" or "valid"

    @property
    def places(self) -> int:
        """Where the window stops: the size of the map that comes out."""
        if self.padding == "same":
            return -(-self.size // self.stride)
        return (self.size - self.window) // self.stride + 1

    @property
    def before(self) -> int:
        """How many zeros stand before the first pixel."""
        if self.padding == "valid":
            return 0
        return max((self.places - 1) * self.stride + self.window - self.size, 0) // 2

    def seeing(self, tap: int) -> range:
        """Give the places at which a tap lies on a pixel, not on a zero."""
        first = -(-(self.before - tap) // self.stride)
        end = (self.size - 1 + self.before - tap) // self.stride + 1
        return range(max(0, first), max(0, first, min(self.places, end)))

    def seen(self, tap: int) -> slice:
        """Give the pixels on which a tap lies at those places."""
        places, offset = self.seeing(tap), tap - self.before
        last = places[-1] * self.stride + offset
        return slice(places[0] * self.stride + offset, last + 1, self.stride)

    @property
    def taps(self) -> range:
        """The taps that ever lie on a pixel."""
        used = [tap for tap in range(self.window) if self.seeing(tap)]
        return range(used[0], used[-1] + 1)


@contextmanager
def as_products(model: keras.Model) -> Iterator[None]:
    """Let the convolutions of a model be traced like this within the block, where it pays."""
    found = [layer for layer in model._flatten_layers() if _is_plain(layer)]
    for layer in found:
        layer.convolution_op = _operation(layer)
    try:
        yield
    finally:
        for layer in found:
            del layer.convolution_op  # the class's own shows again


def convolve(x: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int], padding: str) -> tf.Tensor:
    """Convolve maps [N, H, W, C] with windows [h, w, C, K], as TensorFlow does, to [N, H', W', K].

    `padding` is "same" or "valid".
    """
    sizes = zip(x.shape[1:3], kernel.shape[:2], strides, strict=True)
    rows, columns = (Axis(*of_axis, padding) for of_axis in sizes)
    if rows.places == columns.places == 1:
        return _in_one_place(x, kernel, rows, columns)
    if kernel.shape[:2] == [1, 1] and strides == (1, 1) and rows.size * columns.size <= FEW_PIXELS:
        return x @ kernel[0, 0]
    if len(rows.taps) < rows.window or len(columns.taps) < columns.window:
        x, kernel, padding = _pad(x, rows, columns), _cut(kernel, rows, columns), "valid"
        return convolve(x, kernel, strides, padding)
    if _products_pay(x.dtype, kernel.shape[2], max(strides), max(rows.places, columns.places)):
        return _with_products_for_gradient(x, kernel, rows, columns)
    return tf.nn.conv2d(x, kernel, strides, padding.upper())


def _is_plain(layer: keras.layers.Layer) -> bool:
    return (
        type(layer) is keras.layers.Conv2D
        and layer.data_format == "channels_last"
        and layer.dilation_rate == (1, 1)
        and layer.groups == 1
    )


def _operation(layer: keras.layers.Conv2D) -> Callable[[Any, Any], tf.Tensor]:
    def operation(inputs: Any, kernel: Any) -> tf.Tensor:
        return convolve(inputs, tf.convert_to_tensor(kernel), layer.strides, layer.padding)

    return operation


def _in_one_place(x: tf.Tensor, kernel: tf.Tensor, rows: Axis, columns: Axis) -> tf.Tensor:
    """Multiply what the window covers, as a dense layer would."""
    r, c = rows.taps, columns.taps
    top, left = r.start - rows.before, c.start - columns.before
    covered = x[:, top : top + len(r), left : left + len(c)]
    weights = _cut(kernel, rows, columns)
    products = tf.reshape(covered, [-1, weights.shape[:3].num_elements()]) @ tf.reshape(
        weights, [-1, weights.shape[3]]
    )
    return products[:, None, None, :]


def _cut(kernel: tf.Tensor, rows: Axis, columns: Axis) -> tf.Tensor:
    """Leave out the taps that lie on zeros alone."""
    r, c = rows.taps, columns.taps
    return kernel[r.start : r.stop, c.start : c.stop]


def _pad(x: tf.Tensor, rows: Axis, columns: Axis) -> tf.Tensor:
    """Add the zeros that the remaining taps lie on."""
    margins = [(0, 0)]
    for axis in (rows, columns):
        before = axis.before - axis.taps.start
        needed = (axis.places - 1) * axis.stride + len(axis.taps)
        margins.append((before, max(0, needed - before - axis.size)))
    return tf.pad(x, [*margins, (0, 0)])


def _products_pay(kind: tf.DType, channels: int, stride: int, places: int) -> bool:
    """Tell whether products beat oneDNN at the gradient of a filter, by measurement on two cores.

    Gains of forward and backward pass together, batches of 128, in bfloat16: 2x2 1.1 to 2.1 times,
    4x4 1.1 to 1.6 from 64 channels on, 8x8 1.1 to 1.3 from 128 on; with stride 2 from four times
    as many. In float32 only 2x2 gains, 1.1 to 1.3.
    """
    if kind == tf.float32:
        return places <= 2 and stride == 1 and channels >= 128
    return places <= 8 and channels >= 16 * places * stride**2


def _with_products_for_gradient(
    x: tf.Tensor, kernel: tf.Tensor, rows: Axis, columns: Axis
) -> tf.Tensor:
    strides, padding = (rows.stride, columns.stride), rows.padding.upper()

    @tf.custom_gradient
    def convolution(x: tf.Tensor, kernel: tf.Tensor) -> Any:
        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            of_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(x),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, *strides, 1],
                padding=padding,
            )
            return of_inputs, _filter_gradient(x, upstream, rows, columns)

        return tf.nn.conv2d(x, kernel, strides, padding), gradients

    return convolution(x, kernel)


def _filter_gradient(x: tf.Tensor, upstream: tf.Tensor, rows: Axis, columns: Axis) -> tf.Tensor:
    """Give the gradient [h, w, C, K] of the windows: for each tap, what it saw times what came."""

    def of_tap(row: int, column: int) -> tf.Tensor:
        at, across = rows.seeing(row), columns.seeing(column)
        saw = x[:, rows.seen(row), columns.seen(column)]
        came = upstream[:, at.start : at.stop, across.start : across.stop]
        return tf.matmul(_flat(saw), _flat(came), transpose_a=True)

    taps = [of_tap(row, column) for row in range(rows.window) for column in range(columns.window)]
    return tf.reshape(tf.stack(taps), [rows.window, columns.window, x.shape[3], upstream.shape[3]])


def _flat(maps: tf.Tensor) -> tf.Tensor:
    return tf.reshape(maps, [-1, maps.shape[3]])
