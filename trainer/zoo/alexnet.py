"""AlexNet, as one tower: the network that won ILSVRC 2012."""

from dataclasses import KW_ONLY, dataclass

import keras
from keras import layers
from pydantic import Field

from trainer.layers import ConvBN, Norm, OverlappingPooling2D, normalise, pad
from trainer.zoo.architecture import Architecture, Options, Rate, Widths
from trainer.zoo.head import classify, hidden


class AlexNetOptions(Options):
    """Options of `alexnet`."""

    norm: Norm = Field(
        "lrn",
        description="after the first two convolutions: lrn is the paper's, batch the course's form",
    )
    dropout: Rate = Field(0.5, description="share of each dense layer's neurons dropped")
    classifier: Widths = Field((4096, 4096), description="neurons of the dense layers")


@dataclass(frozen=True)
class AlexNet(Architecture):
    """Five convolutions with overlapping pooling, then dense layers.

    With batch normalisation it is the course's listing: that stands behind the pooling, the first
    convolution keeps the border, and the last is not pooled.
    """

    options = AlexNetOptions

    _: KW_ONLY
    paper: str = "Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep CNNs"
    min_image_size: int = 7  # the 11x11 window over the image and its border of 2

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: AlexNetOptions
    ) -> keras.KerasTensor:
        """Convolve and pool down to 6x6 for images of 224x224 (13x13 by the course), classify."""
        conv = ConvBN(options.activation, options.initializer, batch_norm=False, bias=True)
        course = options.norm == "batch"
        x = _smaller(_first(inputs, options, course), options.norm, 1)
        x = _smaller(conv(x, 256, 5, name="conv2"), options.norm, 2)
        for i, filters in enumerate((384, 384, 256), start=3):
            x = conv(x, filters, 3, name=f"conv{i}")
        x = layers.Flatten(name="flatten")(x if course else _pool(x, "pool5"))
        for i, units in enumerate(options.classifier, start=6):
            x = hidden(x, units, options, f"dense{i}")
        return classify(x, num_classes, options)


VARIANTS: dict[str, Architecture] = {"alexnet": AlexNet()}


def _first(inputs: keras.KerasTensor, options: AlexNetOptions, course: bool) -> keras.KerasTensor:
    """Convolve by 11x11 windows every 4 pixels, over a border of 2 or TensorFlow's "same"."""
    x = inputs if course else pad(inputs, 2, "input")
    padding = "same" if course else "valid"
    initializer = options.initializer
    x = layers.Conv2D(96, 11, 4, padding, kernel_initializer=initializer, name="conv1")(x)
    return layers.Activation(options.activation, name="conv1_act")(x)


def _smaller(x: keras.KerasTensor, norm: Norm, stage: int) -> keras.KerasTensor:
    """Normalise and pool; batch normalisation, the course's, comes behind the pooling."""
    if norm == "batch":
        return normalise(_pool(x, f"pool{stage}"), norm, f"conv{stage}")
    return _pool(normalise(x, norm, f"conv{stage}"), f"pool{stage}")


def _pool(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Pool 3x3 windows every 2 pixels; a map smaller than the window stays as it is."""
    return OverlappingPooling2D(3, 2, name=name)(x) if min(x.shape[1:3]) >= 3 else x
