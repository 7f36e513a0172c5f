"""Layers that Keras lacks and that the papers of the zoo need. Images are channels-last."""

from dataclasses import dataclass
from typing import Any, Literal

import keras
import tensorflow as tf
from keras import layers, ops

from trainer.grouped import GroupedConv2D

Norm = Literal["lrn", "batch", "none"]

_register = keras.saving.register_keras_serializable(package="convoy")


@_register
class MinPooling2D(layers.MaxPooling2D):
    """Smallest value in each window; takes the arguments of MaxPooling2D, in pixels.

    Padded places never win: they count as plus infinity.
    """

    def call(self, inputs: Any) -> Any:
        """Pool image features [N, H, W, C] to [N, H', W', C]."""
        return ops.negative(super().call(ops.negative(inputs)))


@_register
class OverlappingPooling2D(layers.MaxPooling2D):
    """Max pooling whose window is wider than its step: 3 over 2 pixels in AlexNet (2012), 3.4.

    Raises ValueError when windows would not overlap.
    """

    def __init__(self, pool_size: Any = 3, strides: Any = 2, **kwargs: Any) -> None:
        super().__init__(pool_size=pool_size, strides=strides, **kwargs)
        if any(s >= p for s, p in zip(self.strides, self.pool_size, strict=True)):
            raise ValueError(
                f"strides {self.strides} must be smaller than pool_size {self.pool_size} for "
                "windows to overlap. Use MaxPooling2D for windows that do not"
            )


@_register
class LocalResponseNormalization(layers.Layer):
    """Divide each value by the activity of its channel's neighbours: AlexNet (2012), 3.3.

    y[c] = x[c] / (bias + alpha * sum of x[j]**2 over the `depth` channels around c) ** beta,
    with the paper's constants as defaults. `depth` is odd. Caffe divides its alpha by depth;
    divide before passing it here.
    """

    def __init__(
        self,
        depth: int = 5,
        bias: float = 2.0,
        alpha: float = 1e-4,
        beta: float = 0.75,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if depth < 1 or depth % 2 == 0:
            raise ValueError(f"depth must be an odd number of channels, not {depth!r}")
        self.depth, self.bias, self.alpha, self.beta = depth, bias, alpha, beta

    def call(self, inputs: Any) -> Any:
        """Normalise image features [N, H, W, C]."""
        x = ops.cast(inputs, "float32")  # squares overflow float16 beyond 255
        # TensorFlow's kernel: half the time of the same sums written with keras.ops, on a CPU.
        x = tf.nn.local_response_normalization(x, self.depth // 2, self.bias, self.alpha, self.beta)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return `input_shape`."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        own = {"depth": self.depth, "bias": self.bias, "alpha": self.alpha, "beta": self.beta}
        return super().get_config() | own


@_register
class SqueezeExcite(layers.Layer):
    """Scale each channel by a gate computed from all channels' means: Hu et al. 2017.

    The gate is dense (channels / `reduction` neurons, `activation`), then dense with sigmoid, both
    with biases.
    """

    def __init__(
        self,
        reduction: int = 16,
        activation: str = "relu",
        initializer: str = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}")
        self.reduction, self.activation, self.initializer = reduction, activation, initializer

    def build(self, input_shape: Any) -> None:
        """Make the two dense layers for image features of `input_shape` [N, H, W, C]."""
        channels = input_shape[-1]
        squeezed = max(1, channels // self.reduction)
        self.squeeze = self._dense(squeezed, self.activation, "squeeze")
        self.excite = self._dense(channels, "sigmoid", "excite")
        self.squeeze.build((input_shape[0], channels))
        self.excite.build((input_shape[0], squeezed))

    def call(self, inputs: Any) -> Any:
        """Scale image features [N, H, W, C]."""
        means = ops.mean(inputs, axis=(1, 2))
        gates = self.excite(self.squeeze(means))
        return inputs * gates[:, None, None, :]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return super().get_config() | {
            "reduction": self.reduction,
            "activation": self.activation,
            "initializer": self.initializer,
        }

    def _dense(self, units: int, activation: str, name: str) -> layers.Dense:
        return layers.Dense(
            units,
            activation=activation,
            kernel_initializer=self.initializer,
            dtype=self.dtype_policy,
            name=name,
        )


@dataclass(frozen=True)
class ConvBN:
    """How a network convolves: bound once, then called for each convolution.

    Each call adds the convolution `name`, its normalisation `name`_bn and its activation
    `name`_act. Strided windows are padded by half their width on every side, as in Caffe and
    PyTorch, so that weights published for those fit; TensorFlow's "same" is off by a pixel there.
    """

    activation: str = "relu"  # "linear" adds no layer
    initializer: str = "glorot_uniform"
    batch_norm: bool = True
    bias: bool = False  # a normalisation has its own offset

    def __call__(
        self,
        x: keras.KerasTensor,
        filters: int,
        kernel_size: int,
        *,
        name: str,
        strides: int = 1,
        groups: int = 1,
    ) -> keras.KerasTensor:
        """Add the layers to image features `x`."""
        convolve = layers.Conv2D if groups == 1 else GroupedConv2D
        x = pad(x, kernel_size // 2 if strides > 1 else 0, name)
        x = convolve(
            filters,
            kernel_size,
            strides,
            "valid" if strides > 1 else "same",
            groups=groups,
            use_bias=self.bias,
            kernel_initializer=self.initializer,
            name=name,
        )(x)
        if self.batch_norm:
            # PyTorch's constants, for its weights and those converted from Caffe.
            x = layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=f"{name}_bn")(x)
        return activate(x, self.activation, name)


def activate(x: keras.KerasTensor, activation: str, name: str) -> keras.KerasTensor:
    """Add the activation layer `name`_act; "linear" adds none."""
    if activation == "linear":
        return x
    return layers.Activation(activation, name=f"{name}_act")(x)


def pad(x: keras.KerasTensor, pixels: int, name: str) -> keras.KerasTensor:
    """Add zeros on every side; none if `pixels` is 0."""
    return layers.ZeroPadding2D(pixels, name=f"{name}_pad")(x) if pixels else x


def normalise(x: keras.KerasTensor, norm: Norm, name: str) -> keras.KerasTensor:
    """Add local response or batch normalisation, or nothing."""
    if norm == "lrn":
        return LocalResponseNormalization(name=f"{name}_lrn")(x)
    if norm == "batch":
        return layers.BatchNormalization(name=f"{name}_bn")(x)
    return x
