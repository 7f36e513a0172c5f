"""Networks of a single block, to see what it computes and costs: inception and residual."""

from dataclasses import KW_ONLY, dataclass, replace

import keras
from keras import layers
from pydantic import Field

from trainer.layers import ConvBN
from trainer.zoo.architecture import Architecture, Options, Width
from trainer.zoo.head import classify, dropout
from trainer.zoo.inception import Widths, inception
from trainer.zoo.resnet import add

_FIRST_MODULE = Widths(64, (96, 128), (16, 32), 32)  # GoogLeNet's 3a


class BlockOptions(Options):
    """Options of the networks around one block."""

    stem: Width | None = Field(
        None, description="neurons of a dense layer applied to each pixel before the block"
    )
    batch_norm: bool = Field(False, description="normalise before each activation")


@dataclass(frozen=True)
class Block(Architecture):
    """A stem if asked for, one block, global pooling."""

    options = BlockOptions

    kind: str  # inception, inception_naive or residual
    _: KW_ONLY
    min_image_size: int = 5  # the widest window

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: BlockOptions
    ) -> keras.KerasTensor:
        """Apply the block, average over the image and classify."""
        conv = ConvBN(
            options.activation,
            options.initializer,
            batch_norm=options.batch_norm,
            bias=not options.batch_norm,
        )
        x = inputs
        if options.stem:
            x = layers.Dense(options.stem, kernel_initializer=options.initializer, name="stem")(x)
        x = _BLOCKS[self.kind](x, conv)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return classify(dropout(x, options.dropout, "drop"), num_classes, options)


_INCEPTION = "Szegedy et al. 2014, Going deeper with convolutions, figure 2"

VARIANTS: dict[str, Architecture] = {
    "inception_naive": Block("naive", paper=f"{_INCEPTION}a"),
    "inception_bottleneck": Block("bottleneck", paper=f"{_INCEPTION}b"),
    "residual_block": Block(
        "residual", paper="He et al. 2015, Deep residual learning for image recognition, figure 5"
    ),
}


def _naive(x: keras.KerasTensor, conv: ConvBN) -> keras.KerasTensor:
    return inception(x, _FIRST_MODULE, conv, "block", naive=True)


def _bottleneck(x: keras.KerasTensor, conv: ConvBN) -> keras.KerasTensor:
    return inception(x, _FIRST_MODULE, conv, "block")


def _residual(x: keras.KerasTensor, conv: ConvBN) -> keras.KerasTensor:
    """Widen to 128 channels, add what a 64-channel detour makes of them, and then rectify."""
    x = conv(x, 128, 3, name="block_conv1")
    y = conv(x, 64, 3, name="block_conv2")
    y = replace(conv, activation="linear")(y, 128, 3, name="block_conv3")
    return add(x, y, conv, 1, "block")


_BLOCKS = {"naive": _naive, "bottleneck": _bottleneck, "residual": _residual}
