"""The fully connected end that most families share: hidden dense layers and the output layers."""

import keras
from keras import layers

from trainer.dropout import Dropout
from trainer.zoo.architecture import Options


def hidden(
    x: keras.KerasTensor, units: int, options: Options, name: str, batch_norm: bool = False
) -> keras.KerasTensor:
    """Add a dense layer with its normalisation, activation and dropout."""
    x = layers.Dense(
        units,
        use_bias=not batch_norm,  # the normalisation has its own offset
        kernel_initializer=options.initializer,
        name=name,
    )(x)
    if batch_norm:
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    x = layers.Activation(options.activation, name=f"{name}_act")(x)
    return dropout(x, options.dropout, f"{name}_drop")


def dropout(x: keras.KerasTensor, rate: float, name: str) -> keras.KerasTensor:
    """Drop `rate` of the values while training; at rate 0 add no layer."""
    return Dropout(rate, name=name)(x) if rate else x


def classify(
    x: keras.KerasTensor, num_classes: int, options: Options, prefix: str = ""
) -> keras.KerasTensor:
    """Add logits and softmax, both float32 under every precision policy.

    Half precision would round probabilities near 0 and 1, and with them the loss.
    """
    x = layers.Dense(
        num_classes,
        kernel_initializer=options.initializer,
        dtype="float32",
        name=f"{prefix}logits",
    )(x)
    return layers.Activation("softmax", dtype="float32", name=f"{prefix}probabilities")(x)
