"""Small networks for handwritten digits: LeNet-5 and a two-stage network with dropout."""

from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

import keras
from keras import layers
from pydantic import Field, Strict

from trainer.layers import MinPooling2D
from trainer.zoo.architecture import (
    Activation,
    Architecture,
    Options,
    Pooling,
    Rate,
    Width,
    Widths,
)
from trainer.zoo.head import classify, dropout, hidden

_POOLINGS = {
    "max": layers.MaxPooling2D,
    "average": layers.AveragePooling2D,
    "min": MinPooling2D,
}


class LeNetOptions(Options):
    """Options of `lenet5`."""

    activation: Activation = Field("sigmoid", description="the paper's kind; relu trains faster")
    pooling: Pooling = Field("average", description="how 2x2 pixels become one")
    classifier: Widths = Field((120, 84), description="neurons of the dense layers")
    batch_norm: bool = Field(False, description="normalise before each activation")


class DigitOptions(Options):
    """Options of `mnist_cnn`."""

    first_kernel: Literal[3, 5] = Field(5, description="side of the first convolution's window")
    filters: Annotated[tuple[Width, Width], Strict(False)] = Field(
        (32, 64), description="channels of the two stages"
    )
    convolutions: Width = Field(
        1, description="convolutions in a stage, ahead of its pooling; each takes a border off"
    )
    units: Width = Field(128, description="neurons of the dense layer")
    pooling: Pooling = Field("max", description="how 2x2 pixels become one")
    conv_dropout: Annotated[tuple[Rate, Rate], Strict(False)] = Field(
        (0.1, 0.25), description="share of values dropped after each pooling"
    )
    dropout: Rate = Field(0.5, description="share of the dense layer's neurons dropped")
    batch_norm: bool = Field(False, description="normalise before each activation")


@dataclass(frozen=True)
class LeNet5(Architecture):
    """Two convolutions with pooling, then dense layers."""

    options = LeNetOptions

    _: KW_ONLY
    paper: str = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
    min_image_size: int = 16  # two 5x5 windows and two poolings leave one pixel

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: LeNetOptions
    ) -> keras.KerasTensor:
        """Convolve and pool twice, then classify."""
        x = _conv_pool(inputs, (6, 5), options, "conv1")
        x = _conv_pool(x, (16, 5), options, "conv2")
        x = layers.Flatten(name="flatten")(x)
        for i, units in enumerate(options.classifier, start=1):
            x = hidden(x, units, options, f"dense{i}", options.batch_norm)
        return classify(x, num_classes, options)


@dataclass(frozen=True)
class DigitCNN(Architecture):
    """Two convolutions with pooling and dropout, then one dense layer."""

    options = DigitOptions

    _: KW_ONLY
    paper: str = (
        "Srivastava et al. 2014, Dropout: a simple way to prevent neural networks from overfitting"
    )
    min_image_size: int = 12  # a 5x5 and a 3x3 window and two poolings leave one pixel

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: DigitOptions
    ) -> keras.KerasTensor:
        """Convolve, pool and drop twice, then classify."""
        x = inputs
        kernels = (options.first_kernel, 3)
        for i, (filters, kernel) in enumerate(zip(options.filters, kernels, strict=True), start=1):
            for extra in range(options.convolutions - 1):
                x = _conv(x, (filters, kernel), options, f"conv{i}_{extra}")
            x = _conv_pool(x, (filters, kernel), options, f"conv{i}")
            x = dropout(x, options.conv_dropout[i - 1], f"conv{i}_drop")
        x = layers.Flatten(name="flatten")(x)
        x = hidden(x, options.units, options, "dense1", options.batch_norm)
        return classify(x, num_classes, options)


VARIANTS: dict[str, Architecture] = {"lenet5": LeNet5(), "mnist_cnn": DigitCNN()}


def _conv_pool(
    x: keras.KerasTensor,
    filters_kernel: tuple[int, int],
    options: LeNetOptions | DigitOptions,
    name: str,
) -> keras.KerasTensor:
    x = _conv(x, filters_kernel, options, name)
    return _POOLINGS[options.pooling](2, name=f"{name}_pool")(x)


def _conv(
    x: keras.KerasTensor,
    filters_kernel: tuple[int, int],
    options: LeNetOptions | DigitOptions,
    name: str,
) -> keras.KerasTensor:
    x = layers.Conv2D(
        *filters_kernel,
        use_bias=not options.batch_norm,
        kernel_initializer=options.initializer,
        name=name,
    )(x)
    if options.batch_norm:
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    return layers.Activation(options.activation, name=f"{name}_act")(x)
