"""Layers that Keras lacks and that the papers of the zoo need. Images are channels-last."""

from typing import Any

import keras
from keras import layers, ops

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
