"""VGG: Simonyan & Zisserman 2014, Very deep convolutional networks, columns A to E.

All columns are fed as keras.applications' weights of D and E expect (BGR minus the mean), also
because the paper starts the deep columns from the shallow ones' weights.
"""

from dataclasses import KW_ONLY, dataclass

import keras
from keras import layers
from pydantic import Field

from trainer.layers import ConvBN, LocalResponseNormalization
from trainer.zoo.architecture import Architecture, Options, Rate, Scaling, Widths
from trainer.zoo.head import classify, hidden

_FILTERS = (64, 128, 256, 512, 512)


class VGGOptions(Options):
    """Options of the six columns."""

    batch_norm: bool = Field(False, description="normalise before each activation")
    dropout: Rate = Field(0.5, description="share of each dense layer's neurons dropped")
    classifier: Widths = Field((4096, 4096), description="neurons of the dense layers")


@dataclass(frozen=True)
class VGG(Architecture):
    """Five blocks of small convolutions, each halved by pooling, then dense layers."""

    options = VGGOptions

    kernels: tuple[tuple[int, ...], ...]  # the windows' sides, block by block
    lrn: bool = False  # after the first convolution
    _: KW_ONLY
    paper: str = "Simonyan, Zisserman 2014, Very deep convolutional networks"
    min_image_size: int = 32  # halved five times
    scaling: Scaling = "caffe"

    def connect(
        self, inputs: keras.KerasTensor, num_classes: int, options: VGGOptions
    ) -> keras.KerasTensor:
        """Stack the blocks and classify; layer names are those of keras.applications."""
        conv = ConvBN(
            options.activation,
            options.initializer,
            batch_norm=options.batch_norm,
            bias=not options.batch_norm,
        )
        x = inputs
        for block, (filters, kernels) in enumerate(zip(_FILTERS, self.kernels, strict=True), 1):
            for i, kernel in enumerate(kernels, 1):
                x = conv(x, filters, kernel, name=f"block{block}_conv{i}")
                if self.lrn and block == 1:
                    x = LocalResponseNormalization(name="block1_lrn")(x)
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        x = layers.Flatten(name="flatten")(x)
        for i, units in enumerate(options.classifier, 1):
            x = hidden(x, units, options, f"fc{i}", options.batch_norm)
        return classify(x, num_classes, options)


def _three(*depths: int) -> tuple[tuple[int, ...], ...]:
    return tuple((3,) * depth for depth in depths)


VARIANTS: dict[str, Architecture] = {
    "vgg11": VGG(_three(1, 1, 2, 2, 2)),
    "vgg11_lrn": VGG(_three(1, 1, 2, 2, 2), lrn=True),
    "vgg13": VGG(_three(2, 2, 2, 2, 2)),
    "vgg16_1x1": VGG((*_three(2, 2), (3, 3, 1), (3, 3, 1), (3, 3, 1))),
    "vgg16": VGG(_three(2, 2, 3, 3, 3), published=keras.applications.VGG16),
    "vgg19": VGG(_three(2, 2, 4, 4, 4), published=keras.applications.VGG19),
}
