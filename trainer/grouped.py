"""Convolution over groups of channels, without XLA: Krizhevsky et al. 2012, Xie et al. 2017."""

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="convoy")
class GroupedConv2D(layers.Conv2D):
    """Conv2D over channel groups, as one batched product per place in the window.

    Takes Conv2D's arguments and weights. Keras leaves grouped convolutions to XLA: on CPUs their
    gradient takes 30 times as long as this one's, and TensorFlow Serving refuses to run them
    unless it is started with XLA. Needs an input of known height and width.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Convolve [N, H, W, C] with `kernel` [h, w, C / groups, filters]."""
        height, width, _, filters = kernel.shape
        channels, each = inputs.shape[-1], filters // self.groups
        if self.groups == channels:
            depthwise = ops.reshape(kernel, (height, width, channels, each))
            return self._depthwise(inputs, depthwise)
        kernel = ops.reshape(kernel, (height, width, -1, self.groups, each))
        rows, columns = (self._taps(inputs.shape[axis], axis) for axis in (1, 2))
        x = ops.pad(inputs, [(0, 0), rows.padding, columns.padding, (0, 0)])
        x = ops.reshape(x, (-1, *x.shape[1:3], self.groups, channels // self.groups))
        products = [
            ops.einsum("nhwgi,igo->nhwgo", x[:, rows.at(i), columns.at(j)], kernel[i, j])
            for i in range(height)
            for j in range(width)
        ]
        return ops.reshape(sum(products), (-1, rows.outputs, columns.outputs, filters))

    def _depthwise(self, inputs: Any, kernel: Any) -> Any:
        return ops.depthwise_conv(
            inputs, kernel, self.strides, self.padding, dilation_rate=self.dilation_rate
        )

    def _taps(self, size: int, axis: int) -> "_Taps":
        step, dilation = self.strides[axis - 1], self.dilation_rate[axis - 1]
        window = (self.kernel_size[axis - 1] - 1) * dilation + 1
        if self.padding == "valid":
            return _Taps((size - window) // step + 1, step, dilation, (0, 0))
        outputs = -(-size // step)
        padding = max(0, (outputs - 1) * step + window - size)
        return _Taps(outputs, step, dilation, (padding // 2, padding - padding // 2))


@dataclass(frozen=True)
class _Taps:
    """Which pixels along one axis meet each place of a convolution's window."""

    outputs: int
    step: int
    dilation: int
    padding: tuple[int, int]

    def at(self, place: int) -> slice:
        start = place * self.dilation
        return slice(start, start + (self.outputs - 1) * self.step + 1, self.step)
