"""Every listing of the course, built in plain Keras, computes what the zoo's network computes."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import Sequential
from keras.layers import (
    Activation,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    MaxPooling2D,
    add,
    concatenate,
)

from trainer import zoo

Listing = Callable[[], keras.Model]
IRIS: dict[str, Any] = {"features": 4, "num_classes": 3}
MNIST: dict[str, Any] = {"image_size": (28, 28), "channels": 1, "num_classes": 10}
BLOCK: dict[str, Any] = {"image_size": (28, 28), "channels": 3, "num_classes": 10}
LINEAR = {"stem": 192, "activation": "linear"}


def dense() -> keras.Model:
    return Sequential([Input((4,)), Dense(50, "relu"), Dense(3, "softmax")])


def two_hidden_layers() -> keras.Model:
    hidden = [Dense(50, "sigmoid"), Dense(30, "sigmoid")]
    return Sequential([Input((4,)), *hidden, Dense(3, "softmax")])


def side_by_side() -> keras.Model:
    inputs = Input((4,))
    hidden = concatenate([Dense(units, "relu")(inputs) for units in (50, 80, 30)])
    return keras.Model(inputs, Dense(3, "softmax")(hidden))


def mnist(kernel: int) -> keras.Model:
    return Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(32, kernel, activation="relu"),
            MaxPooling2D(),
            Dropout(0.1),
            Conv2D(64, 3, activation="relu"),
            MaxPooling2D(),
            Dropout(0.25),
            Flatten(),
            Dense(128, "relu"),
            Dropout(0.5),
            Dense(10, "softmax"),
        ]
    )


def lenet() -> keras.Model:
    return Sequential(
        [
            Input((28, 28, 1)),
            Conv2D(6, 5, activation="relu"),
            AveragePooling2D(2),
            Conv2D(16, 5, activation="relu"),
            AveragePooling2D(2),
            Flatten(),
            Dense(120, "relu"),
            Dense(84, "relu"),
            Dense(10, "softmax"),
        ]
    )


def alexnet(side: int, units: int) -> keras.Model:
    same = {"activation": "relu", "padding": "same"}
    return Sequential(
        [
            Input((side, side, 3)),
            Conv2D(96, 11, strides=4, **same),
            MaxPooling2D(3, 2),
            BatchNormalization(),
            Conv2D(256, 5, **same),
            MaxPooling2D(3, 2),
            BatchNormalization(),
            Conv2D(384, 3, **same),
            Conv2D(384, 3, **same),
            Conv2D(256, 3, **same),
            Flatten(),
            Dense(units, "relu"),
            Dropout(0.5),
            Dense(units, "relu"),
            Dropout(0.5),
            Dense(10, "softmax"),
        ]
    )


def vgg19() -> keras.Model:
    model = Sequential([Input((32, 32, 3))])
    for filters, depth in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(depth):
            model.add(Conv2D(filters, 3, activation="relu", padding="same"))
        model.add(MaxPooling2D(2))
    for layer in (Flatten(), Dense(64, "relu"), Dense(64, "relu"), Dense(10, "softmax")):
        model.add(layer)
    return model


def headed(inputs: Any, block: Any) -> keras.Model:
    return keras.Model(inputs, Dense(10, "softmax")(GlobalAveragePooling2D()(block)))


def residual() -> keras.Model:
    inputs = Input((28, 28, 3))
    x = Conv2D(128, 3, padding="same", activation="relu")(inputs)
    y = Conv2D(64, 3, padding="same", activation="relu")(x)
    y = Conv2D(128, 3, padding="same")(y)
    return headed(inputs, Activation("relu")(add([y, x])))


def naive() -> keras.Model:
    inputs = Input((28, 28, 3))
    x = Dense(192)(inputs)
    windows = [Conv2D(f, k, padding="same")(x) for f, k in ((64, 1), (128, 3), (32, 5))]
    pooled = MaxPooling2D(3, strides=1, padding="same")(x)
    return headed(inputs, concatenate([*windows, pooled]))


def bottleneck() -> keras.Model:
    inputs = Input((28, 28, 3))
    x = Dense(192)(inputs)
    plain = Conv2D(64, 1, padding="same")(x)
    three = Conv2D(128, 3, padding="same")(Conv2D(96, 1, padding="same")(x))
    five = Conv2D(32, 5, padding="same")(Conv2D(16, 1, padding="same")(x))
    pooled = MaxPooling2D(3, strides=1, padding="same")(x)
    return headed(inputs, concatenate([plain, three, five, Conv2D(32, 1, padding="same")(pooled)]))


def transfer() -> keras.Model:
    trunk = keras.applications.ResNet50(input_shape=(64, 64, 3), include_top=False, weights=None)
    head = [Flatten(), Dense(16, "relu"), Dense(3, "softmax")]
    return Sequential([Input((64, 64, 3)), trunk, *head])


LISTINGS: dict[str, tuple[Listing, str, dict[str, Any]]] = {
    "dense": (dense, "mlp", IRIS),
    "two_hidden_layers": (
        two_hidden_layers, "mlp", IRIS | {"units": (50, 30), "activation": "sigmoid"},
    ),
    "side_by_side": (side_by_side, "mlp_wide", IRIS),
    "mnist_typed": (lambda: mnist(3), "mnist_cnn", MNIST | {"first_kernel": 3}),
    "mnist_printed": (lambda: mnist(5), "mnist_cnn", MNIST),
    "lenet": (lenet, "lenet5", MNIST | {"activation": "relu"}),
    "alexnet_small": (
        lambda: alexnet(32, 64),
        "alexnet",
        {"image_size": (32, 32), "num_classes": 10, "norm": "batch", "classifier": (64, 64)},
    ),
    "alexnet": (
        lambda: alexnet(224, 64),
        "alexnet",
        {"image_size": (224, 224), "num_classes": 10, "norm": "batch", "classifier": (64, 64)},
    ),
    "vgg19": (
        vgg19, "vgg19", {"image_size": (32, 32), "num_classes": 10, "classifier": (64, 64)},
    ),
    "residual": (residual, "residual_block", BLOCK),
    "inception_naive": (naive, "inception_naive", BLOCK | LINEAR),
    "inception": (bottleneck, "inception_bottleneck", BLOCK | LINEAR),
    "transfer": (
        transfer,
        "applications/resnet50",
        {
            "image_size": (64, 64), "num_classes": 3, "include_top": False, "pooling": "flatten",
            "classifier": (16,),
        },
    ),
}  # fmt: skip
LONG = {"transfer"}  # to build


@pytest.mark.parametrize(
    "listing", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in LISTINGS]
)
def test_a_listing_and_the_zoo_compute_the_same_with_the_same_weights(listing):
    write, name, options = LISTINGS[listing]
    keras.utils.set_random_seed(0)
    theirs, ours = write(), zoo.build(name, **options)
    random = np.random.default_rng(0)
    drawn = [uneven(weight, random) for weight in theirs.weights]
    theirs.set_weights(drawn)
    ours.set_weights(drawn)
    inputs = random.normal(size=(2, *theirs.input_shape[1:])).astype("float32")
    expected = np.asarray(theirs(inputs))
    assert expected.std() > 1e-4  # an answer that depends on its input
    np.testing.assert_allclose(ours(inputs), expected, rtol=0, atol=1e-6)


def uneven(weight: keras.Variable, random: np.random.Generator) -> np.ndarray:
    """Move biases and statistics off their 0 and 1, which would hide where they are applied."""
    value = weight.numpy()
    if value.ndim > 1:
        return value
    return value + random.uniform(-0.5, 0.5, value.shape).astype("float32")
