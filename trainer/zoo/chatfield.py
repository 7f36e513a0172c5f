"""CNN-F, CNN-M and CNN-S: Chatfield et al. 2014, Return of the Devil in the Details."""

from dataclasses import KW_ONLY, dataclass

import keras
from keras import layers
from pydantic import Field

from trainer.layers import Norm, activate, normalise, pad
from trainer.zoo.architecture import Architecture, Options, Rate, Widths
from trainer.zoo.head import classify, hidden


@dataclass(frozen=True)
class Stage:
    """One convolution and what follows it; sizes in pixels."""

    filters: int
    kernel: int
    stride: int = 1
    pad: int = 1
    norm: bool = False
    pool: int = 1  # max-pooling window and step; 1 is none


class ChatfieldOptions(Options):
    """Options of `cnn_f`, `cnn_m` and `cnn_s`."""

    norm: Norm = Field("lrn", description="in the stages that the paper normalises")
    dropout: Rate = Field(0.5, description="share of each dense layer's neurons dropped")
    classifier: Widths = Field((4096, 4096), description="neurons of the dense layers")


@dataclass(frozen=True)
class Chatfield(Architecture):
    """Five convolutional stages, then dense layers."""

    options = ChatfieldOptions

    stages: tuple[Stage, ...]
    _: KW_ONLY
    paper: str = "Chatfield et al. 2014, Return of the Devil in the Details"

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: ChatfieldOptions
    ) -> keras.KerasTensor:
        """Convolve and pool down to 6x6 for images of 224x224, then classify."""
        x = inputs
        for i, stage in enumerate(self.stages, start=1):
            x = _stage(x, stage, options, f"conv{i}")
        x = layers.Flatten(name="flatten")(x)
        for i, units in enumerate(options.classifier, start=6):
            x = hidden(x, units, options, f"full{i}")
        return classify(x, num_classes, options)


def _last_three(filters: int, pool: int) -> tuple[Stage, ...]:
    return Stage(filters, 3), Stage(filters, 3), Stage(filters, 3, pool=pool)


VARIANTS: dict[str, Architecture] = {
    "cnn_f": Chatfield(
        (
            Stage(64, 11, stride=4, pad=0, norm=True, pool=2),
            Stage(256, 5, pad=2, norm=True, pool=2),
            *_last_three(256, pool=2),
        ),
        min_image_size=39,
    ),
    "cnn_m": Chatfield(
        (
            Stage(96, 7, stride=2, pad=0, norm=True, pool=2),
            Stage(256, 5, stride=2, norm=True, pool=2),
            *_last_three(512, pool=2),
        ),
        min_image_size=41,
    ),
    "cnn_s": Chatfield(
        (
            Stage(96, 7, stride=2, pad=0, norm=True, pool=3),
            Stage(256, 5, pool=2),
            *_last_three(512, pool=3),
        ),
        min_image_size=25,
    ),
}


def _stage(
    x: keras.KerasTensor, stage: Stage, options: ChatfieldOptions, name: str
) -> keras.KerasTensor:
    x = layers.Conv2D(
        stage.filters,
        stage.kernel,
        stage.stride,
        kernel_initializer=options.initializer,
        name=name,
    )(pad(x, stage.pad, name))
    x = activate(x, options.activation, name)
    if stage.norm:
        x = normalise(x, options.norm, name)
    if stage.pool > 1:
        # Rounded up at factor 3, so that conv5 leaves 6x6 in all three networks.
        rounding = "same" if stage.pool == 3 else "valid"
        x = layers.MaxPooling2D(stage.pool, padding=rounding, name=f"{name}_pool")(x)
    return x
