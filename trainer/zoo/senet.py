"""Squeeze-and-excitation networks: Hu et al. 2017; SENet-154 won ILSVRC 2017."""

from dataclasses import KW_ONLY, dataclass, replace

import keras
from keras import layers
from pydantic import Field

from trainer.layers import ConvBN, SqueezeExcite
from trainer.zoo.architecture import Architecture, Initializer, Options, Rate
from trainer.zoo.head import classify, dropout
from trainer.zoo.resnet import VARIANTS as RESNETS
from trainer.zoo.resnet import add, stem_pool

_PAPER = "Hu et al. 2017, Squeeze-and-excitation networks"
_REDUCTION = 16  # the paper's choice between accuracy and size


class SENet154Options(Options):
    """Options of `senet154`."""

    initializer: Initializer = Field("he_normal", description="initial kernels (Keras name)")
    dropout: Rate = Field(0.2, description="share of values dropped before the output layers")


@dataclass(frozen=True)
class SENet154(Architecture):
    """Four stages of grouped bottlenecks with squeeze-and-excite, then global pooling."""

    options = SENet154Options

    depths: tuple[int, ...] = (3, 8, 36, 3)  # blocks in each stage
    groups: int = 64
    _: KW_ONLY
    paper: str = _PAPER
    min_image_size: int = 32  # halved five times

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: SENet154Options
    ) -> keras.KerasTensor:
        """Stack the stages, average over the image and classify."""
        conv = ConvBN(options.activation, options.initializer)
        x = conv(inputs, 64, 3, strides=2, name="stem_conv1")
        x = conv(x, 64, 3, name="stem_conv2")
        x = stem_pool(conv(x, 128, 3, name="stem_conv3"))
        for stage, depth in enumerate(self.depths):
            for block in range(depth):
                strides = 2 if stage > 0 and block == 0 else 1
                x = self._block(x, 128 * 2**stage, conv, strides, f"stage{stage + 1}_block{block}")
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        return classify(dropout(x, options.dropout, "drop"), num_classes, options)

    def _block(
        self, x: keras.KerasTensor, filters: int, conv: ConvBN, strides: int, name: str
    ) -> keras.KerasTensor:
        y = conv(x, filters, 1, name=f"{name}_conv1")
        y = conv(y, 2 * filters, 3, strides=strides, groups=self.groups, name=f"{name}_conv2")
        y = replace(conv, activation="linear")(y, 2 * filters, 1, name=f"{name}_conv3")
        y = SqueezeExcite(_REDUCTION, initializer=conv.initializer, name=f"{name}_se")(y)
        return add(x, y, conv, strides, name, projection=3 if strides > 1 else 1)


VARIANTS: dict[str, Architecture] = {
    f"se_{name}": replace(resnet, se_reduction=_REDUCTION, paper=_PAPER)  # type: ignore[call-arg]
    for name, resnet in RESNETS.items()
} | {"senet154": SENet154()}
