"""GoogLeNet: Szegedy et al. 2014, Going deeper with convolutions."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import MappingProxyType
from typing import Literal

import keras
from keras import layers
from pydantic import Field

from trainer.layers import ConvBN, LocalResponseNormalization
from trainer.zoo.architecture import Architecture, Options, Outputs, Rate
from trainer.zoo.head import classify, dropout, hidden
from trainer.zoo.inception import Widths, inception

_STAGES: dict[str, tuple[Widths, ...]] = {  # the paper's table 1
    "3": (
        Widths(64, (96, 128), (16, 32), 32),
        Widths(128, (128, 192), (32, 96), 64),
    ),
    "4": (
        Widths(192, (96, 208), (16, 48), 64),
        Widths(160, (112, 224), (24, 64), 64),
        Widths(128, (128, 256), (24, 64), 64),
        Widths(112, (144, 288), (32, 64), 64),
        Widths(256, (160, 320), (32, 128), 128),
    ),
    "5": (
        Widths(256, (160, 320), (32, 128), 128),
        Widths(384, (192, 384), (48, 128), 128),
    ),
}
_AUXILIARY_AFTER = {"inception4a": "aux1", "inception4d": "aux2"}


class GoogLeNetOptions(Options):
    """Options of `googlenet`."""

    modules: Literal["bottleneck", "naive"] = Field(
        "bottleneck", description="bottleneck narrows before wide windows; naive does not"
    )
    batch_norm: bool = Field(False, description="normalise before each activation")
    lrn: bool = Field(True, description="local response normalisation in the stem")
    dropout: Rate = Field(0.4, description="share of values dropped before the output layers")
    auxiliary: bool = Field(
        False, description="add two classifiers half-way, whose losses help the lower layers"
    )


@dataclass(frozen=True)
class GoogLeNet(Architecture):
    """A stem, nine inception modules, global pooling.

    Built with `auxiliary=True` its outputs are a dict: "probabilities", "aux1", "aux2".
    """

    options = GoogLeNetOptions

    _: KW_ONLY
    paper: str = "Szegedy et al. 2014, Going deeper with convolutions"
    min_image_size: int = 32  # halved five times
    auxiliary_loss_weights: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"probabilities": 1.0, "aux1": 0.3, "aux2": 0.3})
    )

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: GoogLeNetOptions
    ) -> Outputs:
        """Stack stem and modules, average over the image and classify."""
        conv = ConvBN(
            options.activation,
            options.initializer,
            batch_norm=options.batch_norm,
            bias=not options.batch_norm,
        )
        x = _stem(inputs, conv, options.lrn)
        auxiliaries = {}
        for stage, modules in _STAGES.items():
            x = layers.MaxPooling2D(3, 2, padding="same", name=f"pool{stage}")(x)
            for letter, widths in zip("abcde", modules, strict=False):
                name = f"inception{stage}{letter}"
                x = inception(x, widths, conv, name, naive=options.modules == "naive")
                if options.auxiliary and name in _AUXILIARY_AFTER:
                    output = _AUXILIARY_AFTER[name]
                    auxiliaries[output] = _auxiliary(x, num_classes, options, conv, output)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        probabilities = classify(dropout(x, options.dropout, "drop"), num_classes, options)
        return {"probabilities": probabilities} | auxiliaries if auxiliaries else probabilities


VARIANTS: dict[str, Architecture] = {"googlenet": GoogLeNet()}


def _stem(x: keras.KerasTensor, conv: ConvBN, lrn: bool) -> keras.KerasTensor:
    x = conv(x, 64, 7, strides=2, name="conv1")
    x = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(x)
    x = _lrn(x, "pool1_lrn") if lrn else x
    x = conv(x, 64, 1, name="conv2_reduce")
    x = conv(x, 192, 3, name="conv2")
    return _lrn(x, "conv2_lrn") if lrn else x


def _lrn(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Normalise with the constants of Caffe, in which the authors' network was released."""
    return LocalResponseNormalization(depth=5, bias=1.0, alpha=1e-4 / 5, name=name)(x)


def _auxiliary(
    x: keras.KerasTensor, num_classes: int, options: GoogLeNetOptions, conv: ConvBN, name: str
) -> keras.KerasTensor:
    if min(x.shape[1:3]) >= 5:  # small images leave a map smaller than the window
        x = layers.AveragePooling2D(5, 3, name=f"{name}_pool")(x)
    x = conv(x, 128, 1, name=f"{name}_conv")
    x = layers.Flatten(name=f"{name}_flatten")(x)
    thinned = options.model_copy(update={"dropout": 0.7})  # the paper's rate for this layer
    x = hidden(x, 1024, thinned, f"{name}_dense", options.batch_norm)
    return classify(x, num_classes, options, prefix=f"{name}_")
