"""ResNet: He et al. 2015, Deep residual learning, with the stride in the bottleneck's 3x3."""

from dataclasses import KW_ONLY, dataclass, replace
from typing import Literal

import keras
from keras import layers
from pydantic import Field

from trainer.layers import ConvBN, SqueezeExcite, activate, pad
from trainer.zoo.architecture import Architecture, Initializer, Options
from trainer.zoo.head import classify, dropout

_FILTERS = (64, 128, 256, 512)


class ResNetOptions(Options):
    """Options of all residual networks."""

    initializer: Initializer = Field("he_normal", description="initial kernels; the paper's kind")
    stem: Literal["imagenet", "small"] = Field(
        "imagenet",
        description="imagenet quarters the image first; small keeps it, for 32x32 and the like",
    )


@dataclass(frozen=True)
class ResNet(Architecture):
    """Four stages of residual blocks, then global pooling."""

    options = ResNetOptions

    depths: tuple[int, ...]  # blocks in each stage
    bottleneck: bool = True
    se_reduction: int = 0  # of squeeze-and-excite in each block; 0 is none
    _: KW_ONLY
    paper: str = "He et al. 2015, Deep residual learning for image recognition"
    min_image_size: int = 32  # halved five times

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: ResNetOptions
    ) -> keras.KerasTensor:
        """Stack the stages, average over the image and classify."""
        conv = ConvBN(options.activation, options.initializer)
        x = _stem(inputs, conv, options.stem)
        for stage, (filters, depth) in enumerate(zip(_FILTERS, self.depths, strict=True), 1):
            for block in range(depth):
                strides = 2 if stage > 1 and block == 0 else 1
                x = self._block(x, filters, conv, strides, f"stage{stage}_block{block}")
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return classify(dropout(x, options.dropout, "drop"), num_classes, options)

    def _block(
        self, x: keras.KerasTensor, filters: int, conv: ConvBN, strides: int, name: str
    ) -> keras.KerasTensor:
        residual = _bottleneck if self.bottleneck else _basic
        y = residual(x, filters, conv, strides, name)
        if self.se_reduction:
            y = SqueezeExcite(self.se_reduction, initializer=conv.initializer, name=f"{name}_se")(y)
        return add(x, y, conv, strides, name)


VARIANTS: dict[str, Architecture] = {
    "resnet18": ResNet((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNet((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNet((3, 4, 6, 3)),
    "resnet101": ResNet((3, 4, 23, 3)),
    "resnet152": ResNet((3, 8, 36, 3)),
}


def add(
    x: keras.KerasTensor,
    residual: keras.KerasTensor,
    conv: ConvBN,
    strides: int,
    name: str,
    projection: int = 1,
) -> keras.KerasTensor:
    """Add the residual to `x`, projected by a `projection`-wide window where shapes differ."""
    if x.shape != residual.shape:
        project = replace(conv, activation="linear")
        x = project(x, residual.shape[-1], projection, strides=strides, name=f"{name}_project")
    return activate(layers.Add(name=f"{name}_add")([x, residual]), conv.activation, name)


def stem_pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """Halve the stem's output: 3x3 windows every 2 pixels, padded as in Caffe and PyTorch."""
    return layers.MaxPooling2D(3, 2, name="stem_pool")(pad(x, 1, "stem_pool"))


def _stem(x: keras.KerasTensor, conv: ConvBN, stem: str) -> keras.KerasTensor:
    if stem == "small":
        return conv(x, 64, 3, name="stem_conv")
    return stem_pool(conv(x, 64, 7, strides=2, name="stem_conv"))


def _basic(
    x: keras.KerasTensor, filters: int, conv: ConvBN, strides: int, name: str
) -> keras.KerasTensor:
    y = conv(x, filters, 3, strides=strides, name=f"{name}_conv1")
    return replace(conv, activation="linear")(y, filters, 3, name=f"{name}_conv2")


def _bottleneck(
    x: keras.KerasTensor, filters: int, conv: ConvBN, strides: int, name: str
) -> keras.KerasTensor:
    y = conv(x, filters, 1, name=f"{name}_conv1")
    y = conv(y, filters, 3, strides=strides, name=f"{name}_conv2")
    return replace(conv, activation="linear")(y, 4 * filters, 1, name=f"{name}_conv3")
