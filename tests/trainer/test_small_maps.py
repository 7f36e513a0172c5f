"""Convolutions as products against TensorFlow's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.small_maps import as_products, convolve

SHAPES = [  # map, window, strides, padding, channels
    ((1, 1), (3, 3), (1, 1), "same", 6),  # one place
    ((3, 3), (3, 3), (1, 1), "valid", 6),
    ((4, 4), (3, 3), (2, 2), "valid", 6),  # one place that leaves the last row out
    ((2, 2), (3, 3), (2, 2), "same", 6),
    ((2, 2), (7, 7), (2, 2), "same", 6),
    ((5, 3), (1, 1), (1, 1), "same", 6),  # 1x1 windows
    ((2, 2), (5, 5), (1, 1), "same", 6),  # the rim of the window never meets a pixel
    ((2, 4), (7, 3), (1, 1), "same", 6),
    ((1, 4), (4, 2), (1, 1), "same", 6),
    ((3, 3), (7, 7), (1, 1), "same", 96),
    ((2, 2), (3, 3), (1, 1), "same", 64),  # products for the gradient
    ((4, 3), (3, 3), (1, 1), "same", 64),
    ((6, 7), (3, 2), (1, 1), "valid", 128),
    ((5, 4), (3, 3), (2, 2), "same", 192),
    ((9, 9), (3, 3), (1, 1), "same", 8),  # TensorFlow's own
]
SIZES = [f"{m[0]}x{m[1]}-{w[0]}x{w[1]}-{s[0]}-{p}" for m, w, s, p, _ in SHAPES]


def tensors(shape, kind: str) -> tuple[tf.Tensor, tf.Tensor]:
    size, window, _, _, channels = shape
    random = np.random.default_rng(0)
    maps, kernel = (
        random.normal(size=(8, *size, channels)),
        random.normal(size=(*window, channels, 5)),
    )
    return tf.constant(maps, kind), tf.constant(kernel, kind)


def outputs_and_gradients(operation, maps, kernel) -> list[np.ndarray]:
    def run():
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            outputs = operation(maps, kernel)
            loss = tf.reduce_sum(outputs * outputs)
        return [outputs, *tape.gradient(loss, [maps, kernel])]

    return [np.array(tensor, "float64") for tensor in tf.function(run, autograph=False)()]


@pytest.mark.parametrize(("kind", "rounding"), [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("shape", SHAPES, ids=SIZES)
def test_outputs_and_gradients_are_those_of_tensorflow(shape, kind, rounding):
    _, _, strides, padding, _ = shape
    maps, kernel = tensors(shape, kind)
    ours = outputs_and_gradients(lambda x, k: convolve(x, k, strides, padding), maps, kernel)
    theirs = outputs_and_gradients(
        lambda x, k: tf.nn.conv2d(x, k, strides, padding.upper()), maps, kernel
    )
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=rounding, atol=rounding * abs(other).max())


@pytest.mark.parametrize("shape", SHAPES, ids=SIZES)
def test_bfloat16_gives_what_float32_gives_but_for_rounding(shape):
    """Where no tap lies on a pixel, the gradient is 0: there oneDNN leaves noise, or NaN."""
    _, _, strides, padding, _ = shape

    def operation(x, k):
        return convolve(x, k, strides, padding)

    exact = outputs_and_gradients(operation, *tensors(shape, "float32"))
    rounded = outputs_and_gradients(operation, *tensors(shape, "bfloat16"))
    for one, other in zip(rounded, exact, strict=True):
        np.testing.assert_allclose(one, other, atol=0.03 * abs(other).max())
        assert not one[other == 0].any()


def test_a_layer_is_itself_again_after_the_block():
    inputs = keras.Input((2, 2, 64))
    layer = keras.layers.Conv2D(64, 3, padding="same")
    model = keras.Model(inputs, layer(inputs))
    maps = tf.random.normal((4, 2, 2, 64))
    before = model(maps)
    with as_products(model):
        assert "convolution_op" in vars(layer)
        np.testing.assert_allclose(model(maps), before, rtol=1e-5, atol=1e-6)
    assert "convolution_op" not in vars(layer)
    np.testing.assert_array_equal(model(maps), before)


@pytest.mark.parametrize(
    "layer",
    [
        keras.layers.Conv2D(8, 3, padding="same", dilation_rate=2),
        keras.layers.Conv2D(8, 3, padding="same", groups=2),
        keras.layers.DepthwiseConv2D(3, padding="same"),
    ],
    ids=["dilated", "grouped", "depthwise"],
)
def test_other_convolutions_are_left_alone(layer):
    inputs = keras.Input((2, 2, 8))
    model = keras.Model(inputs, layer(inputs))
    with as_products(model):
        assert "convolution_op" not in vars(layer)
