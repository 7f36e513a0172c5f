"""The inception module: Szegedy et al. 2014, figure 2, in both its forms."""

from dataclasses import dataclass

import keras
from keras import layers

from trainer.layers import ConvBN


@dataclass(frozen=True)
class Widths:
    """Channels of a module's four branches; pairs are (narrowed, output)."""

    conv1: int
    conv3: tuple[int, int]
    conv5: tuple[int, int]
    pool: int


def inception(
    x: keras.KerasTensor, widths: Widths, conv: ConvBN, name: str, naive: bool = False
) -> keras.KerasTensor:
    """Look at `x` through windows of 1, 3 and 5 pixels and a pooling, side by side.

    The bottleneck form narrows the channels before each wide window and after the pooling; the
    naive form does neither, so that its pooling passes on all channels of `x`.
    """
    branches = [
        conv(x, widths.conv1, 1, name=f"{name}_1x1"),
        _window(x, widths.conv3, 3, conv, f"{name}_3x3", naive),
        _window(x, widths.conv5, 5, conv, f"{name}_5x5", naive),
        _pool(x, widths.pool, conv, f"{name}_pool", naive),
    ]
    return layers.Concatenate(name=f"{name}_concat")(branches)


def _window(
    x: keras.KerasTensor,
    widths: tuple[int, int],
    kernel: int,
    conv: ConvBN,
    name: str,
    naive: bool,
) -> keras.KerasTensor:
    narrow, filters = widths
    if not naive:
        x = conv(x, narrow, 1, name=f"{name}_reduce")
    return conv(x, filters, kernel, name=name)


def _pool(
    x: keras.KerasTensor, filters: int, conv: ConvBN, name: str, naive: bool
) -> keras.KerasTensor:
    x = layers.MaxPooling2D(3, 1, padding="same", name=name)(x)
    return x if naive else conv(x, filters, 1, name=f"{name}_project")
